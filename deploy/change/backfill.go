package change

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/train"
)

// Backfill says what history is loaded.
type Backfill struct {
	Source  string
	Files   []string // .csv or .parquet
	SkipBad bool     // load the good rows of files that have bad ones
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

// Backfill loads rows of files as events that were before Kafka into the offline stores and builds the source's views anew.
// A file is known by what is in it: loading it again changes nothing. Nothing is loaded unless every row is good, or bad
// ones may be left out.
func (c *Change) Backfill(ctx context.Context, b Backfill, tell func(Progress)) (*Backfilled, error) {
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
	for _, f := range b.Files {
		if err := c.eachRow(ctx, src, f, out, nil); err != nil {
			return out, err
		}
	}
	if out.Bad > 0 && !b.SkipBad {
		return out, fmt.Errorf("%d of %d %w; nothing was loaded; --skip-bad loads the others", out.Bad, out.Rows+out.Bad, ErrBadRows)
	}
	if err := c.prepareTables(ctx); err != nil {
		return out, err
	}
	for _, f := range b.Files {
		if err := c.load(ctx, src, f); err != nil {
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
	return c.builder.Mark(ctx, c.online)
}

// load writes a file's rows to every store, in ranges that are the same each time.
func (c *Change) load(ctx context.Context, src *config.Source, file string) error {
	name, number, err := digest(file)
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
				return fmt.Errorf("%s: load %s: %w", s.Name, file, err)
			}
		}
		r.First = end
		b.Reset(len(t.Columns))
		return nil
	}
	var rows int64
	err = c.eachRow(ctx, src, file, &Backfilled{}, func(n, at int64, row []feature.Value) error {
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

// digest names a file by its content: in full for people and tables, and as the number that stands for its partition.
func digest(file string) (name string, number int32, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("read %s: %w", file, err)
	}
	sum := h.Sum(nil)
	return hex.EncodeToString(sum[:16]), int32(binary.BigEndian.Uint32(sum) >> 1), nil
}

// eachRow reads a file and judges its rows as records of the source are judged. good is called with each that is, counted
// from 0; nil: rows are counted only.
func (c *Change) eachRow(ctx context.Context, src *config.Source, file string, out *Backfilled, good func(n, at int64, row []feature.Value) error) error {
	in, err := train.OpenSpine(file)
	if err != nil {
		return err
	}
	defer in.Close()
	fields, err := fieldColumns(src, in.Columns(), file)
	if err != nil {
		return err
	}
	rd, err := ingest.NewReader(src)
	if err != nil {
		return err
	}
	cells, row := make([]feature.Value, len(in.Columns())), make([]feature.Value, len(src.Schema))
	var text []byte
	now := c.opts.Now()
	for n := int64(0); ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := in.Next(cells)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s row %d: %w", file, n+1, err)
		}
		text = appendRow(text[:0], src, in.Columns(), cells, fields)
		rec := &kgo.Record{Value: text, Timestamp: now}
		if src.EventTime.Field < 0 {
			rec.Timestamp, err = cellTime(&in.Columns()[fields[len(src.Schema)]], &cells[fields[len(src.Schema)]])
			if err != nil {
				out.bad(file, n, err.Error())
				continue
			}
		}
		at, _, bad := rd.Read(rec, row)
		if bad != nil {
			out.bad(file, n, bad.Error())
			continue
		}
		out.Rows++
		if good != nil {
			if err := good(n, at, row); err != nil {
				return err
			}
		}
	}
}

func (o *Backfilled) bad(file string, n int64, reason string) {
	o.Bad++
	if len(o.First) < maxBadRows {
		o.First = append(o.First, BadRow{file, n + 1, strings.TrimSpace(reason)})
	}
}
