package served

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/rowbytes"
	"github.com/freshet-io/freshet/offline/train"
)

// timeColumn is the spine's time. No join key and no request field has a name like it.
const timeColumn = "_asked_at"

// spine has for each inference a row at the time of its lookup, and one for each moment around it.
type spine struct {
	rows    []*inference
	shifts  []int64 // microseconds
	columns []train.SpineColumn
	from    []int // of each column but the time, its place in a row of inferences; -1: null
	next    int
	model   *config.Model
}

func newSpine(m *config.Monitor, rows []*inference) *spine {
	s := &spine{rows: rows, shifts: []int64{0}, columns: []train.SpineColumn{{Name: timeColumn, Type: feature.Timestamp}}, from: []int{-1}, model: m.Model}
	if d := m.ValueSkew.Timing.Microseconds(); d > 0 {
		s.shifts = append(s.shifts, -d, -d/2, d/2, d)
	}
	add := func(name string, t feature.Type, field int) {
		if !slices.ContainsFunc(s.columns, func(c train.SpineColumn) bool { return c.Name == name }) {
			s.columns = append(s.columns, train.SpineColumn{Name: name, Type: t})
			s.from = append(s.from, field)
		}
	}
	for _, k := range m.Model.JoinKeys {
		add(k.Name, k.Type, k.Field)
	}
	for _, q := range m.Model.Service.Request {
		if c := requestColumn(m.Model, q.Name); c != nil {
			add(q.Name, q.Type, c.Field)
		} else {
			add(q.Name, q.Type, -1)
		}
	}
	return s
}

// Columns implements train.Spine.
func (s *spine) Columns() []train.SpineColumn { return s.columns }

// Next implements train.Spine.
func (s *spine) Next(row []feature.Value) error {
	i, shift := s.next/len(s.shifts), s.next%len(s.shifts)
	if i == len(s.rows) {
		return io.EOF
	}
	s.next++
	row[0] = feature.TimestampValue(s.rows[i].at + s.shifts[shift])
	for c := 1; c < len(row); c++ {
		if row[c] = (feature.Value{}); s.from[c] >= 0 {
			row[c] = s.rows[i].values[s.from[c]]
		}
	}
	return nil
}

// Close implements train.Spine.
func (s *spine) Close() error { return nil }

// judge is an output that compares the features of a spine's rows with what was served, instead of keeping them.
type judge struct {
	spine    *spine
	columns  []config.Column
	skew     *config.ValueSkew
	result   *valueskew.Result
	row      int
	computed []valueskew.Computed // by column, of the inference at hand
	table    *offline.Table       // of the inferences
}

// Text implements train.Output.
func (j *judge) Text() bool { return false }

// Begin implements train.Output.
func (j *judge) Begin(context.Context, []train.SpineColumn, []offline.Column) error {
	j.computed = make([]valueskew.Computed, len(j.columns))
	j.table = offline.InferencesTable(j.spine.model)
	return nil
}

// Write implements train.Output.
func (j *judge) Write(_, features []feature.Value) error {
	i, shift := j.row/len(j.spine.shifts), j.row%len(j.spine.shifts)
	j.row++
	for k := range j.columns {
		v, err := own(&features[j.columns[k].Feature])
		if err != nil {
			return err
		}
		if c := &j.computed[k]; shift == 0 {
			*c = valueskew.Computed{At: v, Around: c.Around[:0]}
		} else {
			c.Around = append(c.Around, v)
		}
	}
	if shift == len(j.spine.shifts)-1 {
		j.judge(j.spine.rows[i])
	}
	return nil
}

func (j *judge) judge(one *inference) {
	for k := range j.columns {
		c := &j.columns[k]
		value := &one.values[c.Field]
		mistyped := one.mistyped[j.table.Columns[c.Field].Name]
		o := valueskew.Judge(value, mistyped, &j.computed[k], j.skew.Tolerance)
		j.result.Features[k].Add(o, func() valueskew.Sample {
			s := valueskew.Sample{At: one.at, Entity: j.entity(one), Served: value.String(), Computed: j.computed[k].At.String()}
			if mistyped {
				s.Served = "a value of another type"
			}
			if id := j.spine.model.ID; id >= 0 {
				s.ID = one.values[id].Str()
			}
			return s
		})
	}
}

// Commit implements train.Output: there is nothing to keep.
func (j *judge) Commit(context.Context, *train.Manifest) error { return nil }

// Abort implements train.Output.
func (j *judge) Abort() error { return nil }

// own copies a value, whose text is the set's.
func own(v *feature.Value) (out feature.Value, err error) {
	if t := v.Type(); t != feature.String && t != feature.Bytes && !t.IsList() {
		return *v, nil
	}
	_, err = rowbytes.Parse(rowbytes.Append(nil, v), &out)
	return out, err
}

func (j *judge) entity(one *inference) string {
	var parts []string
	for _, k := range j.spine.model.JoinKeys {
		parts = append(parts, k.Name+"="+one.values[k.Field].String())
	}
	return strings.Join(parts, " ")
}
