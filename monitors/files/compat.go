package files

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/compat"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
)

// rawMemory bounds the bytes of values that compatibility modes hold at once, unless one column alone has more: other
// tools bin the values themselves, so those of a column are all in memory.
const rawMemory = 512 << 20

// raw keeps the values of one column.
type raw struct {
	numbers []float64
	labels  []string
	known   map[string]string
}

func (r *raw) AddFloat64s(values []float64) { r.numbers = append(r.numbers, values...) }

func (r *raw) AddString(s string, count uint64) {
	kept, ok := r.known[s]
	if !ok {
		if r.known == nil {
			r.known = map[string]string{}
		}
		kept = strings.Clone(s)
		r.known[kept] = kept
	}
	for range count {
		r.labels = append(r.labels, kept)
	}
}

func (r *raw) AddNulls(uint64)    {}
func (r *raw) AddMistyped(uint64) {}

// compatible adds the scores of compatibility modes to the columns, each by its tool's own binning of the values.
func compatible(ctx context.Context, ref, cur columns.File, cols []*drift.Column, o Options, progress Progress) error {
	var todo []*drift.Column
	for _, c := range cols {
		if r, k := c.Profiles(); r != nil && k != nil && len(o.Modes) > 0 {
			todo = append(todo, c)
		}
	}
	for len(todo) > 0 {
		n, memory := 0, uint64(0)
		for n < len(todo) && (n == 0 || memory < rawMemory) {
			memory += 16 * (todo[n].NRef + todo[n].NCur)
			n++
		}
		if err := compatibleOf(ctx, ref, cur, todo[:n], o, progress); err != nil {
			return err
		}
		todo = todo[n:]
	}
	return nil
}

func compatibleOf(ctx context.Context, ref, cur columns.File, cols []*drift.Column, o Options, progress Progress) error {
	sides := [2][]raw{make([]raw, len(cols)), make([]raw, len(cols))}
	for s, f := range []columns.File{ref, cur} {
		var wants []columns.Want
		for i, c := range cols {
			p, _ := c.Profiles()
			b := p.Bins()
			at := slices.IndexFunc(f.Columns(), func(col columns.Column) bool { return col.Name == c.Name })
			text := b.Kind() == profile.Categorical && b.Type() == feature.Int64
			wants = append(wants, columns.Want{Column: at, Type: b.Type(), Text: text, Sink: &sides[s][i]})
		}
		side := []string{"reference, other tools", "current, other tools"}[s]
		if err := f.Read(ctx, wants, stage(progress, side, f, f.Size(wants))); err != nil {
			return err
		}
	}
	for i, c := range cols {
		for _, m := range o.Modes {
			if err := ctx.Err(); err != nil {
				return err
			}
			addMode(c, m, &sides[0][i], &sides[1][i])
		}
		sides[0][i], sides[1][i] = raw{}, raw{}
	}
	return nil
}

// addMode adds the score of one mode; where there is none the column's notes say why.
func addMode(c *drift.Column, m compat.Mode, ref, cur *raw) {
	if !m.Numeric && c.Kind == profile.Numeric || !m.Categorical && c.Kind == profile.Categorical {
		return
	}
	var score float64
	var err error
	if c.Kind == profile.Numeric {
		score, err = m.Numbers(ref.numbers, cur.numbers)
	} else {
		score, err = m.Labels(ref.labels, cur.labels)
	}
	if err != nil {
		c.Notes = append(c.Notes, err.Error())
		return
	}
	p := c.P
	if m.PValue {
		p = score
	}
	c.Others = append(c.Others, drift.OtherScore{Mode: m.Name, Score: score, P: p, Threshold: m.Threshold, Drifted: m.Drifted(score)})
}

// Methods sorts names of methods into the project's own, with their default thresholds unless one is given, and
// compatibility modes. An unknown name is an error that lists what there is.
func Methods(names []string, threshold float64, given bool) (own []drift.Asked, modes []compat.Mode, err error) {
	for _, n := range names {
		if strings.Contains(n, ".") {
			m, err := compat.Lookup(n)
			if err != nil {
				return nil, nil, err
			}
			modes = append(modes, m)
			continue
		}
		a, err := drift.Ask(n)
		if err != nil {
			return nil, nil, fmt.Errorf("%w; or those of other tools, as psi.evidently", err)
		}
		if given {
			a.Threshold = threshold
		}
		own = append(own, a)
	}
	return own, modes, nil
}
