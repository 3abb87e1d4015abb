package cli

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/rowbytes"
	"github.com/freshet-io/freshet/offline/spill"
	"github.com/freshet-io/freshet/offline/train"
)

// eventFunc takes an inference: a row of the model's source, and its event time in microseconds UTC.
type eventFunc = func(row []feature.Value, at int64) error

// past are inferences that have happened, in any order.
type past interface {
	events(fn eventFunc) error
	warnings() []string // what was left out of the last reading
}

// inOrder gives the inferences of a past in the order of their times, those of one time as they came, in bounded memory.
func inOrder(p past, fn eventFunc) (err error) {
	sorter := spill.New(spill.Options{Buckets: 1})
	defer func() { err = errors.Join(err, sorter.Close()) }()
	w := sorter.Writer()
	var rec []byte
	n, fields := uint64(0), 0
	err = p.events(func(row []feature.Value, at int64) error {
		rec = binary.BigEndian.AppendUint64(rec[:0], uint64(at)^1<<63)
		rec = binary.BigEndian.AppendUint64(rec, n)
		for i := range row {
			rec = rowbytes.Append(rec, &row[i])
		}
		n, fields = n+1, len(row)
		return w.Add(0, rec)
	})
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	r := sorter.Reader()
	if err := r.Open(0); err != nil {
		return err
	}
	row := make([]feature.Value, fields)
	for {
		rec, err := r.Next()
		if err != nil || rec == nil {
			return err
		}
		rest := rec[16:]
		for i := range row {
			if rest, err = rowbytes.Parse(rest, &row[i]); err != nil {
				return err
			}
		}
		if err := fn(row, int64(binary.BigEndian.Uint64(rec)^1<<63)); err != nil {
			return err
		}
	}
}

// openPast finds what reads recorded inferences by the name of a file, or the query; folder is as openRows has it.
func (a *app) openPast(ctx context.Context, plane *config.Plane, model *config.Model, folder, from string) (past, error) {
	if !isQuery(from) {
		switch ext := strings.ToLower(filepath.Ext(from)); ext {
		case ".ndjson", ".jsonl":
			return &loggedEvents{ctx: ctx, path: from, model: model}, nil
		case ".csv", ".parquet", ".pq":
		default:
			return nil, usageError(fmt.Errorf("%s: recorded inferences are a .ndjson, .csv or .parquet file, not %q", from, ext))
		}
	}
	rows, err := a.openRows(ctx, plane, folder, from)
	if err != nil {
		return nil, err
	}
	return &tabledEvents{ctx: ctx, model: model, rows: rows}, nil
}

// topicEvents are the inferences that a topic has.
type topicEvents struct{ *inferenceRows }

func (t topicEvents) events(fn eventFunc) error { return t.inferenceRows.events(fn) }

// loggedEvents are inferences as the model's server logs them, one JSON object a line.
type loggedEvents struct {
	ctx        context.Context
	path       string
	model      *config.Model
	unreadable uint64
	first      string // why the first of them is
}

func (l *loggedEvents) events(fn eventFunc) error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	rd, err := ingest.NewReader(l.model.Inferences)
	if err != nil {
		return fmt.Errorf("model %s: %w", l.model.Name, err)
	}
	l.unreadable = 0
	written := time.Now() // by now: what happens later is too far ahead, as it would be in a topic
	row := make([]feature.Value, len(l.model.Inferences.Schema))
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, l.model.Inferences.MaxRecordBytes+1)
	for n := 1; lines.Scan(); n++ {
		if n%1024 == 0 && l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if len(lines.Bytes()) == 0 {
			continue
		}
		at, _, bad := rd.Read(&kgo.Record{Value: lines.Bytes(), Timestamp: written}, row)
		if bad == nil && l.model.Inferences.EventTime.Field < 0 {
			return fmt.Errorf("%s: the model's inferences have their records' timestamps, and lines of a file have none: name inferences.event_time", l.path)
		}
		if bad != nil {
			if l.unreadable++; l.unreadable == 1 {
				l.first = fmt.Sprintf("line %d: %v", n, bad)
			}
			continue
		}
		if err := fn(row, at); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	return nil
}

func (l *loggedEvents) warnings() []string {
	if l.unreadable == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s cannot be read, and are left out; the first: %s", l.path, plural(int(l.unreadable), "line", "lines"), l.first)}
}

// tabledEvents are the rows of a file or a query with a column for each field of the inferences, and their time.
type tabledEvents struct {
	ctx     context.Context
	model   *config.Model
	rows    *rowSource
	missing []string
}

func (t *tabledEvents) events(fn eventFunc) (err error) {
	defer func() { err = errors.Join(err, t.rows.Close()) }()
	s, err := t.rows.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	cols := s.Columns()
	at, read, err := t.time(cols)
	if err != nil {
		return err
	}
	fields := t.bind(cols)
	in, row := make([]feature.Value, len(cols)), make([]feature.Value, len(t.model.Inferences.Schema))
	for n := 1; ; n++ {
		if n%1024 == 0 && t.ctx.Err() != nil {
			return t.ctx.Err()
		}
		if err := s.Next(in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		us, err := read(&in[at])
		if err != nil {
			return fmt.Errorf("%s: row %d, column %s: %w", t.rows.name(), n, cols[at].Name, err)
		}
		for i, f := range fields {
			if f.at >= 0 {
				row[i] = f.value(&in[f.at], nil)
			}
		}
		if err := fn(row, us); err != nil {
			return err
		}
	}
}

// time finds the column of the event time: that of the inferences' own field, or that of an offline table.
func (t *tabledEvents) time(cols []train.SpineColumn) (int, func(*feature.Value) (int64, error), error) {
	names := []string{offline.EventTime, "event_timestamp", "timestamp"}
	if f := t.model.Inferences.EventTime.Field; f >= 0 {
		names = slices.Insert(names, 0, t.model.Inferences.Schema[f].Name)
	}
	for _, name := range names {
		i := slices.IndexFunc(cols, func(c train.SpineColumn) bool { return c.Name == name })
		if i < 0 {
			continue
		}
		if unit := t.unit(name); unit > 0 && !cols[i].Text && cols[i].Type == feature.Int64 {
			return i, func(v *feature.Value) (int64, error) { return scaled(v, unit) }, nil
		}
		read, err := train.Times(cols[i], nil)
		return i, read, err
	}
	return 0, nil, fmt.Errorf("%s: there is no column of the event time (%s)", t.rows.name(), strings.Join(names, ", "))
}

// unit is how many microseconds one of the event time field is, if it is a number.
func (t *tabledEvents) unit(name string) int64 {
	et := t.model.Inferences.EventTime
	if et.Field < 0 || t.model.Inferences.Schema[et.Field].Name != name {
		return 0
	}
	switch et.Format {
	case config.UnixSecond:
		return 1e6
	case config.UnixMilli:
		return 1e3
	case config.UnixMicro:
		return 1
	}
	return 0
}

func scaled(v *feature.Value, unit int64) (int64, error) {
	if v.IsNull() {
		return 0, errors.New("the time is null")
	}
	if n := v.Int64(); n > math.MaxInt64/2/unit || n < math.MinInt64/2/unit {
		return 0, fmt.Errorf("%d is no time", n)
	}
	return v.Int64() * unit, nil
}

// bind finds each field's column; at is -1 for one that is not there.
func (t *tabledEvents) bind(cols []train.SpineColumn) []found {
	out := make([]found, len(t.model.Inferences.Schema))
	t.missing = nil
	for i, f := range t.model.Inferences.Schema {
		out[i] = found{name: f.Name, at: slices.IndexFunc(cols, func(c train.SpineColumn) bool { return c.Name == f.Name }), to: f.Type}
		switch {
		case out[i].at >= 0:
			out[i].col = cols[out[i].at]
		case i != t.model.ID && i != t.model.Inferences.EventTime.Field:
			t.missing = append(t.missing, f.Name)
		}
	}
	return out
}

func (t *tabledEvents) warnings() []string {
	if len(t.missing) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("there is no column %s: null in every row", strings.Join(t.missing, ", "))}
}

// trainedOn makes the baseline of a definition from a file of training rows or a query, in memory.
func (a *app) trainedOn(ctx context.Context, plane *config.Plane, model *config.Model, d baseline.Definition, folder, from string) (_ *baseline.Baseline, err error) {
	rows, err := a.openRows(ctx, plane, folder, from)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r := &trainingRows{ctx: ctx, open: rows.open, seen: func(int64) {}}
	missing, err := r.bind(model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if len(missing) > 0 {
		a.warn([]string{fmt.Sprintf("%s does not have %s: not watched", from, strings.Join(missing, ", "))})
	}
	d.From = from
	return baseline.Make(r.definition(d), r.each)
}
