package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/baseline"
)

// inferenceRows are a model's inferences of a time, as far as its topic had them at first.
type inferenceRows struct {
	ctx          context.Context
	opts         []kgo.Opt
	model        *config.Model
	version      string    // only those of this version; "": all
	since, until time.Time // zero: any
	limit        uint64    // of rows; 0: all
	seen         func(records int64)
	spans        map[int32]kafka.Span

	of string // version of the row that was given last

	// Of the last reading.
	unreadable, otherVersion uint64
}

const (
	// aheadOfStamp is how much later than its Kafka timestamp an inference may say that it happened.
	aheadOfStamp = time.Hour
	// behindStamp is how much earlier it may say so where so many records come later that these are not looked at.
	behindStamp = time.Hour
)

// within reads of what time the inferences are.
func (r *inferenceRows) within(f createFlags, now time.Time) (err error) {
	if r.since, err = parseWhen(f.since, now); err != nil {
		return usageError(fmt.Errorf("--since: %w", err))
	}
	if f.until != "" {
		if r.until, err = parseWhen(f.until, now); err != nil {
			return usageError(fmt.Errorf("--until: %w", err))
		}
		if !r.since.Before(r.until) {
			return usageError(fmt.Errorf("--until %s is not after --since %s", f.until, f.since))
		}
	}
	return nil
}

// find fixes what is read and returns how many records that is.
func (r *inferenceRows) find(client *kgo.Client) (records int64, err error) {
	topic, from := r.model.Inferences.Topic, r.since
	if !from.IsZero() {
		from = from.Add(-aheadOfStamp)
	}
	if r.spans, err = kafka.Committed(r.ctx, client, topic, from); err != nil {
		if errors.Is(err, kafka.ErrNoTopic) {
			err = notFound(err)
		}
		return 0, err
	}
	return r.records(), nil
}

// cut leaves out of what is read the records that came long after the time, and returns how many records are left.
func (r *inferenceRows) cut(client *kgo.Client) (records int64, err error) {
	if err := kafka.Cut(r.ctx, client, r.model.Inferences.Topic, r.spans, r.until.Add(behindStamp)); err != nil {
		return 0, err
	}
	return r.records(), nil
}

func (r *inferenceRows) records() (n int64) {
	for _, s := range r.spans {
		n += s.To - s.From
	}
	return n
}

// errEnough ends a reading that has as many rows as are wanted.
var errEnough = errors.New("enough rows")

// each is a baseline.Rows.
func (r *inferenceRows) each(fn rowFunc) error {
	values, fields := make([]feature.Value, len(r.model.Columns)), make([]feature.Value, len(r.model.Slices))
	return r.events(func(row []feature.Value, _ int64) error {
		for i, c := range r.model.Columns {
			values[i] = row[c.Field]
		}
		for i, f := range r.model.Slices {
			fields[i] = row[f].Clone() // it names a slice, for longer than the record is there
		}
		return fn(values, fields)
	})
}

// events gives every row with its event time. It reads one partition after the other, so that a limit gives the same rows
// each time.
func (r *inferenceRows) events(fn eventFunc) error {
	rd, err := ingest.NewReader(r.model.Inferences)
	if err != nil {
		return fmt.Errorf("model %s: %w", r.model.Name, err)
	}
	r.unreadable, r.otherVersion = 0, 0
	row := make([]feature.Value, len(r.model.Inferences.Schema))
	records, rows := int64(0), uint64(0)
	for _, p := range slices.Sorted(maps.Keys(r.spans)) {
		err := kafka.ReadSpans(r.ctx, r.opts, r.model.Inferences.Topic, map[int32]kafka.Span{p: r.spans[p]}, func(rec *kgo.Record) error {
			if records++; records%1024 == 0 {
				r.seen(records)
			}
			at, ok := r.wanted(rd, rec, row)
			if !ok {
				return nil
			}
			if err := fn(row, at); err != nil {
				return err
			}
			if rows++; rows == r.limit {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wanted reads a record and reports whether it is a row, and of which time.
func (r *inferenceRows) wanted(rd *ingest.Reader, rec *kgo.Record, row []feature.Value) (at int64, ok bool) {
	at, _, bad := rd.Read(rec, row)
	if bad != nil {
		r.unreadable++
		return 0, false
	}
	if at < r.since.UnixMicro() || !r.until.IsZero() && at >= r.until.UnixMicro() {
		return 0, false
	}
	r.of = ""
	if v := r.model.Version; v >= 0 && row[v].Type() == feature.String {
		r.of = row[v].Str()
	}
	if r.version != "" && r.of != r.version {
		r.otherVersion++
		return 0, false
	}
	return at, true
}

// warnings say what was left out.
func (r *inferenceRows) warnings() (out []string) {
	if r.unreadable > 0 {
		out = append(out, fmt.Sprintf("%s of %s cannot be read, and are left out", plural(int(r.unreadable), "record", "records"), r.model.Inferences.Topic))
	}
	if r.otherVersion > 0 {
		out = append(out, fmt.Sprintf("%s not of version %s, and left out", plural(int(r.otherVersion), "inference is", "inferences are"), r.version))
	}
	return out
}

// definition is the baseline that the rows make.
func (r *inferenceRows) definition(d baseline.Definition) baseline.Definition {
	for _, c := range r.model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	for _, f := range r.model.Slices {
		d.Fields = append(d.Fields, r.model.Inferences.Schema[f].Name)
	}
	return d
}
