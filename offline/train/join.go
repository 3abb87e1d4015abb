package train

import (
	"encoding/binary"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/rowbytes"
	"github.com/freshet-io/freshet/offline/spill"
)

// joiner is the Visitor of one goroutine of one group's replay: it folds an entity's events into the group's views and
// reads them at each probe.
type joiner struct {
	g      *group
	out    *spill.Writer
	bucket func(row uint64) int
	views  []joinView
	reader feature.Reader
	values []feature.Value
	rec    []byte
}

type joinView struct {
	*groupView
	inputs *inputs.Evaluator
	entity feature.Entity
	now    int64 // the largest event time folded in
}

func newJoiner(g *group, out *spill.Writer, bucket func(row uint64) int) *joiner {
	j := &joiner{g: g, out: out, bucket: bucket, values: make([]feature.Value, g.width)}
	for _, v := range g.views {
		j.views = append(j.views, joinView{groupView: v, inputs: inputs.New(v.view)})
	}
	return j
}

// Begin implements replay.Visitor.
func (j *joiner) Begin() error { return j.Erase() }

// Erase implements replay.Visitor.
func (j *joiner) Erase() error {
	for i := range j.views {
		j.views[i].entity, j.views[i].now = feature.Entity{}, feature.NoTime
	}
	return nil
}

// Event implements replay.Visitor.
func (j *joiner) Event(e *replay.Event) error {
	for i := range j.views {
		v := &j.views[i]
		if !v.inputs.Accepts(e.Row) {
			continue
		}
		v.now = max(v.now, e.Order.Time)
		v.view.Layout.Apply(&v.entity, &e.Order, v.inputs.Evaluate(e.Row), v.now)
	}
	return nil
}

// Probe implements replay.Visitor.
func (j *joiner) Probe(at int64, row uint64) error {
	for i := range j.views {
		v := &j.views[i]
		j.reader.ReadEntity(v.view.Layout, &v.entity, at, v.want, j.values[v.slot:])
	}
	j.rec = binary.BigEndian.AppendUint64(j.rec[:0], row)
	for i := range j.values {
		j.rec = rowbytes.Append(j.rec, &j.values[i])
	}
	return j.out.Add(j.bucket(row), j.rec)
}

// End implements replay.Visitor.
func (j *joiner) End() error { return nil }

// results reads a group's rows back in their order.
type results struct {
	sorter *spill.Sorter
	reader *spill.Reader
	bucket int // the next to open
}

// next reads the values of the row with a number into out.
func (r *results) next(row uint64, out []feature.Value) error {
	for {
		var rec []byte
		var err error
		if r.bucket > 0 {
			if rec, err = r.reader.Next(); err != nil {
				return err
			}
		}
		if rec == nil {
			if r.bucket == r.sorter.Buckets() {
				return errLost(row)
			}
			if err := r.reader.Open(r.bucket); err != nil {
				return err
			}
			r.bucket++
			continue
		}
		if binary.BigEndian.Uint64(rec) != row {
			return errLost(row)
		}
		rec = rec[8:]
		for i := range out {
			if rec, err = rowbytes.Parse(rec, &out[i]); err != nil {
				return err
			}
		}
		return nil
	}
}
