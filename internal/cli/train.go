package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/train"
)

const trainLong = `Train makes a training set: for each row of a spine the features of a feature service as of the row's time, equal to what
a lookup at that time would have returned. It reads the sources' events from the offline store and computes the features
with the code that serves them.

A spine is a CSV or Parquet file, or a SELECT, which the engine answers that 'freshet sql' asks. It has a column for each join key, a time
(event_timestamp or timestamp, with a zone), the request fields of the service, and whatever else is to be kept, such as
a label. Beside the result stands a JSON manifest of what it was made of.`

// trainFlags are the flags of train.
type trainFlags struct {
	connections, service, spine, out, store string
	timestamp, zone, tmp, memory            string
	full, asServed                          bool
}

func (a *app) trainCommand() *cobra.Command {
	var o trainFlags
	cmd := &cobra.Command{
		Use:   "train FILE... --service NAME --spine SPINE --out SET",
		Short: "Make a training set that equals serving",
		Long:  trainLong,
		Example: `  freshet train plane.yaml --service delay_model --spine spine.csv --out train.parquet
  freshet train plane.yaml --service delay_model --spine "SELECT * FROM labels" --out clickhouse:delay_training`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, flag := range []struct{ name, value string }{{"service", o.service}, {"spine", o.spine}, {"out", o.out}} {
				if flag.value == "" {
					return usageError(fmt.Errorf("--%s is missing", flag.name))
				}
			}
			return a.train(cmd.Context(), args, o)
		},
	}
	addConnections(cmd, &o.connections)
	f := cmd.Flags()
	f.StringVar(&o.service, "service", "", "the feature service whose features are wanted")
	f.StringVar(&o.spine, "spine", "", "a .csv or .parquet file, or a SELECT")
	f.StringVar(&o.out, "out", "", "a .csv or .parquet file, or clickhouse:TABLE; its manifest is beside it")
	f.StringVar(&o.store, "store", "", "where the events are: a folder, or a URL as of connections (default the definition's: parquet, else clickhouse)")
	f.StringVar(&o.timestamp, "timestamp", "", "the spine's column of the time (default event_timestamp, else timestamp)")
	f.StringVar(&o.zone, "zone", "", "the zone of times that name none, as Europe/Berlin or UTC (default: such a time is an error)")
	f.BoolVar(&o.full, "full-feature-names", false, "call features view__feature, as lookups do")
	f.BoolVar(&o.asServed, "as-served", false, "use only events that had arrived by then")
	f.StringVar(&o.tmp, "tmp", "", "folder of temporary files (default the system's)")
	f.StringVar(&o.memory, "memory", "", "memory of the join, as 512MiB (default 160MiB)")
	return cmd
}

func (a *app) train(ctx context.Context, files []string, f trainFlags) (err error) {
	plane, err := a.loadPlane(files, f.connections)
	if err != nil {
		return err
	}
	o := train.Options{
		Plane: plane, Service: f.service, TimeColumn: f.timestamp, FullNames: f.full, AsServed: f.asServed, Dir: f.tmp,
		SpineName: f.spine, OutputName: f.out,
	}
	if o.Zone, err = zoneFlag(f.zone); err != nil {
		return usageError(err)
	}
	if o.Memory, err = memoryFlag(f.memory); err != nil {
		return usageError(err)
	}
	at, err := storePlane(plane, f.store)
	if err != nil {
		return err
	}
	store, name, err := a.openStore(ctx, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	o.Store, o.StoreName = store, name
	if o.Output, err = trainOutput(plane, f.out); err != nil {
		return err
	}
	rows, err := a.openRows(ctx, at, "", f.spine)
	if err != nil {
		return fmt.Errorf("--spine: %w", err)
	}
	rows.dir, rows.lists = f.tmp, train.NoLists
	defer func() { err = errors.Join(err, rows.Close()) }()
	if o.Spine, err = rows.open(); err != nil {
		return err
	}
	set, err := train.New(o)
	if err != nil {
		err = errors.Join(err, o.Spine.Close())
		if unknown := (*train.UnknownServiceError)(nil); errors.As(err, &unknown) {
			return notFound(err)
		}
		return err
	}
	if a.Getenv("GOMEMLIMIT") == "" {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(train.MemoryLimit(o.Memory)))
	}
	stop := a.watchSet(set)
	m, err := set.Build(ctx)
	stop()
	if err != nil {
		return err
	}
	return a.printSet(m)
}

func zoneFlag(name string) (*time.Location, error) {
	if name == "" {
		return nil, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("--zone: unknown time zone %q; give an IANA name such as Europe/Berlin or UTC", name)
	}
	return zone, nil
}

func memoryFlag(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := config.ParseBytes(text)
	if err == nil && n < 1<<20 {
		err = errors.New("at least 1MiB is needed")
	}
	if err != nil {
		return 0, fmt.Errorf("--memory: %w", err)
	}
	return n, nil
}

// eventStore is an offline store that is read.
type eventStore interface {
	replay.Scanner
	io.Closer
}

// storePlane returns the plane with the store that --store names, if it names one.
func storePlane(plane *config.Plane, name string) (*config.Plane, error) {
	at := *plane
	c := &at.Connections
	switch scheme, _, isURL := strings.Cut(name, "://"); {
	case name == "":
	case isURL && (strings.HasPrefix(scheme, "clickhouse") || strings.HasPrefix(scheme, "http")):
		c.Parquet, c.ClickHouse = nil, &config.ClickHouse{URL: config.Secret(name)}
	case isURL:
		c.Parquet = &config.Parquet{URL: config.Secret(name)}
	default:
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("--store: %w", err)
		}
		folder, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("--store: %w", err)
		}
		c.Parquet = &config.Parquet{URL: fileURL(folder)}
	}
	return &at, nil
}

// openStore opens a plane's store: the Parquet files, else ClickHouse.
func (a *app) openStore(ctx context.Context, plane *config.Plane) (eventStore, string, error) {
	logger, err := a.logger()
	if err != nil {
		return nil, "", err
	}
	switch c := plane.Connections; {
	case c.Parquet != nil:
		s, err := parquet.Open(ctx, c.Parquet.URL, parquet.Options{Logger: logger})
		if err != nil {
			return nil, "", err
		}
		return s, "parquet", nil
	case c.ClickHouse != nil:
		s, err := clickhouse.Open(*c.ClickHouse, clickhouse.Options{Logger: logger})
		if err != nil {
			return nil, "", err
		}
		return s, "clickhouse", nil
	}
	return nil, "", usageError(errors.New("the definition names no offline store (connections.parquet or connections.clickhouse); name one with --store (of a plane of freshet dev: --store .freshet/parquet)"))
}

// tablePrefix begins an output that is a table.
const tablePrefix = "clickhouse:"

func trainOutput(plane *config.Plane, name string) (train.Output, error) {
	table, isTable := strings.CutPrefix(name, tablePrefix)
	if !isTable {
		return train.NewFile(name)
	}
	if plane.Connections.ClickHouse == nil {
		return nil, usageError(errors.New("--out: the definition has no connections.clickhouse for a table"))
	}
	return train.NewTable(plane, *plane.Connections.ClickHouse, table, ".")
}

// watchSet shows how far a set is until the function that it returns is called.
func (a *app) watchSet(set *train.Set) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		var bar *progress
		var shown train.Stage
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				if bar != nil {
					bar.finish()
				}
				return
			case <-tick.C:
			}
			stage, n, total := set.Progress()
			if bar == nil || stage != shown {
				if bar != nil {
					bar.finish()
				}
				bar, shown = newProgress(a.Stderr, a.Terminal, stage.String(), total), stage
			}
			if bar.total = max(total, n); bar.bar != nil {
				bar.bar.ChangeMax64(bar.total)
			}
			bar.set(n)
		}
	}()
	return func() {
		close(done)
		<-gone
	}
}

// printSet says what was made.
func (a *app) printSet(m *train.Manifest) error {
	if a.json() {
		return printJSON(a.Stdout, m)
	}
	var read int64
	for _, s := range m.Sources {
		read += s.Read
	}
	for _, w := range m.Warnings {
		fmt.Fprintf(a.Stderr, "freshet: warning: %s\n", w)
	}
	fmt.Fprintf(a.Stdout, "%s: %s with %s from %s events read in %.1f s\n", m.Output, plural(int(m.Rows), "row", "rows"),
		plural(len(m.Features), "feature", "features"), thousands(read), m.Seconds)
	t := newTable(left("FEATURE"), left("TYPE"), right("NULL"))
	for _, f := range m.Features {
		t.add(f.Name, f.Type, fmt.Sprintf("%.1f %%", 100*f.NullShare))
	}
	return t.print(a.Stdout)
}
