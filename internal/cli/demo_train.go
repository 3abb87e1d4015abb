package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/train"
)

// demoSpine is how many flights the demo's training set is of.
const demoSpine = 20_000

// beforeDeparture is when the demo's model predicts a flight's delay. It does not know the flight's own.
const beforeDeparture = time.Hour

// demoSet is the demo's training set, and the files beside it that the printed commands use.
type demoSet struct {
	plane, spine, set string // files
	service           string
	manifest          *train.Manifest
}

// trainDemo waits until the files have every flight, and makes a training set of some of them.
func (a *app) trainDemo(ctx context.Context, flights *demo.Flights, l local, rcv *receiver, r *demoReport) (_ *demoSet, err error) {
	store, err := parquet.Open(ctx, l.plane.Connections.Parquet.URL, parquet.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	began := time.Now()
	for i, sent := range r.sent {
		if err := a.awaitFiles(ctx, store, l.plane.Sources[i], sent); err != nil {
			return nil, err
		}
	}
	r.FilesWaitSeconds = time.Since(began).Seconds()
	d := &demoSet{
		plane: filepath.Join(l.dir, "plane"), spine: filepath.Join(l.dir, "spine.csv"), set: filepath.Join(l.dir, "train.parquet"),
	}
	d.service = demoService
	if len(l.plane.Models) > 0 {
		d.service = l.plane.Models[0].Service.Name
	}
	if err := writeDefinition(d.plane, l, rcv); err != nil {
		return nil, fmt.Errorf("write the demo's definition: %w", err)
	}
	if err := writeSpine(d.spine, flights, r); err != nil {
		return nil, fmt.Errorf("write the demo's spine: %w", err)
	}
	spine, err := train.OpenSpine(d.spine, train.NoLists)
	if err != nil {
		return nil, err
	}
	out, err := train.NewFile(d.set)
	if err != nil {
		return nil, errors.Join(err, spine.Close())
	}
	set, err := train.New(train.Options{
		Plane: l.plane, Service: d.service, Spine: spine, Store: store, Output: out, Dir: l.dir,
		SpineName: d.spine, StoreName: "parquet", OutputName: d.set,
	})
	if err != nil {
		return nil, errors.Join(err, spine.Close())
	}
	stop := a.watchSet(set)
	d.manifest, err = set.Build(ctx)
	stop()
	if err != nil {
		return nil, err
	}
	r.TrainingRows, r.TrainingSeconds = d.manifest.Rows, d.manifest.Seconds
	return d, nil
}

// awaitFiles waits until the sink has written all events.
func (a *app) awaitFiles(ctx context.Context, store *parquet.Store, source *config.Source, events int64) error {
	table := offline.EventsTable(source)
	bar := newProgress(a.Stderr, a.Terminal, "in Parquet", events)
	defer bar.finish()
	for {
		ranges, err := store.Covered(ctx, table)
		if err != nil {
			return err
		}
		var stored int64
		for _, r := range ranges {
			stored += r.End - r.First
		}
		bar.set(stored)
		if stored >= events {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// writeDefinition writes the demo's definition into a folder, for the commands that are printed: the embedded services are named in it, and
// where the plane has monitors, they and their receiver.
func writeDefinition(folder string, l local, rcv *receiver) error {
	connections := fmt.Sprintf("connections:\n  kafka: {brokers: [%q]}\n  parquet: {url: %q}\n", l.conn.Brokers[0], string(l.plane.Connections.Parquet.URL))
	files := map[string]string{"plane.yaml": string(demo.PlaneYAML), "connections.yaml": connections}
	if len(l.plane.Monitors) > 0 {
		files["secret"] = rcv.secret
		files["monitors.yaml"] = os.Expand(string(demo.MonitorsYAML), func(name string) string {
			return map[string]string{webhookVariable: rcv.url, secretVariable: "file:secret"}[name]
		})
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeSpine writes what a data scientist would bring: flights, when their delays are to be predicted, and how late they
// were, which is the label. They are from before the faults.
func writeSpine(file string, flights *demo.Flights, r *demoReport) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(f)
	known := 0
	for flight := range flights.EndingAt(r.lastDeparture) {
		if r.faults.trained(flight.DepartedAt) {
			known++
		}
	}
	step, i := max(1, known/demoSpine), -1
	write := func(cells ...string) { _ = w.Write(cells) } // Error says it below
	write("flight", "carrier", "origin", "dest", "distance", "event_timestamp", "dep_delay")
	rows := 0
	for flight := range flights.EndingAt(r.lastDeparture) {
		if i++; i%step != 0 || rows == demoSpine || !r.faults.trained(flight.DepartedAt) {
			continue
		}
		rows++
		delay := strconv.Itoa(flight.DepDelay)
		if flight.Cancelled {
			delay = ""
		}
		write(flight.Carrier+strconv.Itoa(flight.Number), flight.Carrier, flight.Origin, flight.Dest, strconv.Itoa(flight.Distance),
			flight.DepartedAt.Add(-beforeDeparture).Format(time.RFC3339), delay)
	}
	w.Flush()
	return w.Error()
}

// shownColumns are those of the set that the demo prints.
var shownColumns = []string{"flight", "origin", "dest", "event_timestamp", "dep_delay", "mean_delay_24h", "late_share_24h", "flights_6h", "route_delay_7d", "delay_over_route"}

// print shows a few rows of the set, from all over the year.
func (d *demoSet) print(w io.Writer) error {
	m := d.manifest
	fmt.Fprintf(w, "\nA training set of %s flights with %d features each, as they were an hour before departure, took %.1f s:\n\n",
		thousands(int64(m.Rows)), len(m.Features), m.Seconds)
	rows, err := d.sample(5)
	if err != nil {
		return err
	}
	columns := make([]column, len(shownColumns))
	for i, name := range shownColumns {
		columns[i] = right(name)
	}
	t := newTable(columns...)
	for _, row := range rows {
		t.add(row...)
	}
	return t.print(w)
}

// sample reads some rows of the set.
func (d *demoSet) sample(n int) ([][]string, error) {
	set, err := train.OpenSpine(d.set, train.SkipLists) // a training set is a file of rows like any other
	if err != nil {
		return nil, err
	}
	defer set.Close()
	index := make([]int, len(shownColumns))
	columns := set.Columns()
	for i, name := range shownColumns {
		index[i] = slices.IndexFunc(columns, func(c train.SpineColumn) bool { return c.Name == name })
		if index[i] < 0 {
			return nil, fmt.Errorf("the training set lacks the column %s", name)
		}
	}
	row := make([]feature.Value, len(columns))
	var out [][]string
	for i := uint64(0); len(out) < n; i++ {
		if err := set.Next(row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if i%(d.manifest.Rows/uint64(n)) != d.manifest.Rows/uint64(2*n) {
			continue
		}
		cells := make([]string, len(index))
		for k, at := range index {
			cells[k] = showCell(&row[at])
		}
		out = append(out, cells)
	}
	return out, nil
}

// tryTrain prints what a data scientist and an analyst would do next.
func (d *demoSet) tryTrain(w io.Writer, program string) {
	withSQL, note := program, ""
	if !hasEmbeddedSQL {
		withSQL, note = "bin/freshet-sql", "; `make build` makes the program"
	}
	fmt.Fprintf(w, `
  # the training set again; a manifest beside it says what it was made of
  %s train %s --service %s --spine %s --out again.parquet

  # the worst hours of the year, by SQL over the same files%s
  %s sql "SELECT date_trunc('hour', _event_time) AS hour, count(*) AS flights, round(avg(dep_delay)) AS mean_delay
    FROM events_departures GROUP BY hour HAVING count(*) > 20 ORDER BY mean_delay DESC LIMIT 5" %s
`, program, d.plane, d.service, d.spine, note, withSQL, d.plane)
}

// showCell shows a value of the set: numbers with at most two decimals.
func showCell(v *feature.Value) string {
	switch v.Type() {
	case feature.Null:
		return "null"
	case feature.Float64:
		return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v.Float64(), 'f', 2, 64), "0"), ".")
	case feature.Timestamp:
		return time.UnixMicro(v.Int64()).UTC().Format("2006-01-02 15:04")
	case feature.String:
		return v.Str()
	default:
		return v.String()
	}
}
