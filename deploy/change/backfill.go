package change

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/offline"
)

// Backfill says what history is loaded.
type Backfill struct {
	Source  string
	From    []Rows
	SkipBad bool // load the good rows of files that have bad ones
}

// BadRow is a row that the source's rules refuse.
type BadRow struct {
	File   string `json:"file"`
	Row    int64  `json:"row"` // from 1, headings not counted
	Reason string `json:"reason"`
}

// Backfilled is what was loaded.
type Backfilled struct {
	Rows  int64    `json:"rows"`
	Bad   int64    `json:"bad_rows"`
	First []BadRow `json:"first_bad_rows"` // at most maxBadRows
	Built []string `json:"built"`
}

const (
	maxBadRows    = 20
	backfillBatch = 20_000
)

var (
	// ErrBadRows is wrapped by the refusal to load files with rows that the source refuses.
	ErrBadRows = errors.New("rows are refused")
	// ErrNoSource is wrapped by the refusal of a source that the plane does not have.
	ErrNoSource = errors.New("the plane has no such source")
)

// Backfill loads rows as events that were before Kafka into the offline stores and builds the source's views anew.
// A file is known by what is in it, a query by its rows in whatever order: loading them again changes nothing. Nothing is loaded unless every row is good, or bad
// ones may be left out.
func (c *Change) Backfill(ctx context.Context, b Backfill, tell func(Progress)) (_ *Backfilled, err error) {
	src, err := c.source(b.Source)
	if err != nil {
		return nil, err
	}
	if len(c.stores) == 0 {
		return nil, errors.New("a backfill goes to the offline stores: name connections.parquet or connections.clickhouse")
	}
	p, err := c.Plan(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range p.Views {
		if v.view != nil && v.view.Source == src && v.Action != Keep {
			return nil, fmt.Errorf("feature view %q is not as defined (%s): run freshet apply first", v.View, v.Action)
		}
	}
	out := &Backfilled{First: []BadRow{}, Built: []string{}}
	inputs, err := c.openAll(ctx, src, b.From)
	defer func() { err = errors.Join(err, closeAll(inputs)) }()
	if err != nil {
		return out, err
	}
	for _, in := range inputs {
		if err := c.judge(src, in, out, nil); err != nil {
			return out, err
		}
	}
	if out.Bad > 0 && !b.SkipBad {
		return out, fmt.Errorf("%d of %d %w; nothing was loaded; --skip-bad loads the others", out.Bad, out.Rows+out.Bad, ErrBadRows)
	}
	if err := c.prepareTables(ctx); err != nil {
		return out, err
	}
	for _, in := range inputs {
		if err := c.load(ctx, src, in); err != nil {
			return out, err
		}
	}
	return out, c.rebuildAll(ctx, src, p, out, tell)
}

func (c *Change) source(name string) (*config.Source, error) {
	var names []string
	for _, s := range c.plane.Sources {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("%w: %s%s", ErrNoSource, name, spell.Suggest(name, names))
}

// rebuildAll builds a source's views anew, with what was loaded.
func (c *Change) rebuildAll(ctx context.Context, src *config.Source, p *Plan, out *Backfilled, tell func(Progress)) error {
	rebuild := &Plan{}
	for _, s := range p.found.Views {
		if s.View.Source != src || s.Starts == nil {
			continue
		}
		v := ViewPlan{View: s.View.Name, Action: Rebuild, view: s.View}
		if err := c.planHistory(ctx, &v, s.Starts); err != nil {
			return err
		}
		if v.store == nil {
			v.store = &c.stores[0]
		}
		rebuild.Views = append(rebuild.Views, v)
	}
	if err := c.permits(rebuild); err != nil {
		return fmt.Errorf("the rows are loaded, the views are not built: %w", err)
	}
	for _, v := range rebuild.Views {
		if err := c.build(ctx, v.view, v.store, tell); err != nil {
			return err
		}
		out.Built = append(out.Built, v.View)
	}
	if len(out.Built) == 0 { // perhaps nothing has ever run
		return nil
	}
	return c.builder.Mark(ctx, c.online)
}

// load writes rows to every store, in ranges that are the same each time.
func (c *Change) load(ctx context.Context, src *config.Source, in *input) error {
	name, number, err := in.id()
	if err != nil {
		return err
	}
	t := offline.EventsTable(src)
	b := &offline.Batch{}
	b.Reset(len(t.Columns))
	r := offline.Range{Topic: offline.BackfillPrefix + name, Partition: number}
	flush := func(end int64) error {
		r.End = end
		for _, s := range c.stores {
			if err := s.Write(ctx, t, r, b); err != nil {
				return fmt.Errorf("%s: load %s: %w", s.Name, in.name, err)
			}
		}
		r.First = end
		b.Reset(len(t.Columns))
		return nil
	}
	var rows int64
	err = c.judge(src, in, &Backfilled{}, func(n, at int64, row []feature.Value) error {
		rows = n + 1
		if n-r.First >= backfillBatch {
			if err := flush(r.First + backfillBatch); err != nil {
				return err
			}
		}
		for i := range row {
			b.Values = append(b.Values, row[i].Clone())
		}
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at, Topic: r.Topic, Partition: number, Offset: n})
		return nil
	})
	if err != nil || rows == 0 {
		return err
	}
	return flush(rows)
}

// judge reads rows and judges them as records of the source are judged. good is called with each that is; nil: rows are counted
// only.
func (c *Change) judge(src *config.Source, in *input, out *Backfilled, good func(n, at int64, row []feature.Value) error) error {
	rd, err := ingest.NewReader(src)
	if err != nil {
		return err
	}
	row := make([]feature.Value, len(src.Schema))
	now := c.opts.Now()
	return in.each(func(r *inputRow) error {
		if r.bad != nil {
			out.bad(in.name, r.place, r.bad.Error())
			return nil
		}
		rec := &kgo.Record{Value: r.text, Timestamp: now}
		if r.at != noTime {
			rec.Timestamp = time.UnixMicro(r.at)
		}
		at, _, bad := rd.Read(rec, row)
		if bad != nil {
			out.bad(in.name, r.place, bad.Error())
			return nil
		}
		out.Rows++
		if good == nil {
			return nil
		}
		return good(r.n, at, row)
	})
}

func (o *Backfilled) bad(file string, n int64, reason string) {
	o.Bad++
	if len(o.First) < maxBadRows {
		o.First = append(o.First, BadRow{file, n + 1, strings.TrimSpace(reason)})
	}
}
