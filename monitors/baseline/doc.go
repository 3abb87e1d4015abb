// Package baseline holds the statistics of the data that a version of a model was trained on: the bins of each column,
// how many values each had, and the same of each slice. Baselines are made here from rows, and written as records of a
// compacted topic and read from there; who reads the rows, and produces and consumes the records, is elsewhere.
//
// A baseline is replaced as a whole, never changed: each is one build, and profiles that were counted on the bins of
// another build are not mixed with its own.
package baseline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// Baseline is one build of a baseline.
type Baseline struct {
	Name    string
	Model   string
	Version string // of the model; "" serves every version that has no baseline of its own
	Build   int64  // when it was made, microseconds UTC: later builds replace earlier ones
	From    string // what it was made from, for people
	Rows    uint64
	Columns []Column
	Slices  []Slice // in the order of field and value
	// Variation is of what inferences the columns' dispersions are (Learn); nil if none is known.
	Variation *Variation
}

// Column is one column of all rows.
type Column struct {
	Name    string
	Type    feature.Type
	Profile *profile.Profile
	// Dispersion is how much more the counts of a stream's rows, of all slices together, vary over time than those of independent
	// rows; nil where that is not known (Baseline.Variation).
	Dispersion *significance.Dispersion
}

// Slice is the rows with one value of a slice field. Profiles has one for each column, on the same bins.
type Slice struct {
	Field, Value string
	Rows         uint64
	Profiles     []*profile.Profile
}

// Column returns the index of a column; -1 if the baseline has none of that name.
func (b *Baseline) Column(name string) int {
	return slices.IndexFunc(b.Columns, func(c Column) bool { return c.Name == name })
}

// Slice returns a slice by the name that SliceName gives; nil if the baseline has none.
func (b *Baseline) Slice(name string) *Slice {
	for i := range b.Slices {
		if s := &b.Slices[i]; SliceName(s.Field, s.Value) == name {
			return s
		}
	}
	return nil
}

// Profile returns the profile of a column, of all rows (slice "") or of a slice; nil if there is none.
func (b *Baseline) Profile(column int, slice string) *profile.Profile {
	if slice == "" {
		return b.Columns[column].Profile
	}
	if s := b.Slice(slice); s != nil {
		return s.Profiles[column]
	}
	return nil
}

// SliceName is how a slice is called in profiles, scores and alerts.
func SliceName(field, value string) string { return field + "=" + value }

// MaxSlices bounds the values of one slice field that a baseline keeps: the most frequent.
const MaxSlices = 50

// maxTracked bounds the values of a slice field that are counted while the most frequent are looked for. What comes new
// when it is full is not counted: such a field does not divide rows into slices that anyone watches.
const maxTracked = 10_000

// Rows gives every row of the reference to fn: one value for each column, and one for each slice field. It is called
// up to twice, and must give the same rows each time.
type Rows func(fn func(values []feature.Value, fields []feature.Value) error) error

// Definition says what a baseline is made of.
type Definition struct {
	Name, Model, Version string
	Build                int64 // microseconds UTC
	From                 string
	Columns              []Column // without profiles
	Fields               []string // whose values make slices
	Options              profile.Options
}

// Make reads the rows and makes a baseline of them: bins from all rows, then counts of all rows and of each slice.
func Make(d Definition, rows Rows) (*Baseline, error) {
	b := &Baseline{Name: d.Name, Model: d.Model, Version: d.Version, Build: d.Build, From: d.From, Columns: slices.Clone(d.Columns)}
	m := maker{b: b, fields: d.Fields, values: make([]map[string]uint64, len(d.Fields))}
	for i := range m.values {
		m.values[i] = map[string]uint64{}
	}
	for _, c := range b.Columns {
		bb, err := profile.NewBuilder(c.Type, d.Options)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		m.builders = append(m.builders, bb)
	}
	if err := rows(m.first); err != nil {
		return nil, err
	}
	if b.Rows == 0 {
		return nil, fmt.Errorf("baseline %s: there are no rows", d.Name)
	}
	if err := m.prepare(); err != nil {
		return nil, err
	}
	if !m.again {
		return b, nil
	}
	read := b.Rows
	b.Rows = 0
	if err := rows(m.second); err != nil {
		return nil, err
	}
	if b.Rows != read {
		return nil, fmt.Errorf("baseline %s: there were %d rows at first and %d at the second reading", d.Name, read, b.Rows)
	}
	return b, nil
}

type maker struct {
	b        *Baseline
	fields   []string
	builders []*profile.Builder
	values   []map[string]uint64 // of each field: rows by value
	slices   []map[string]*Slice // of each field
	again    bool                // a second reading is needed
}

func (m *maker) first(values, fields []feature.Value) error {
	m.b.Rows++
	for i := range m.builders {
		m.builders[i].Add(&values[i])
	}
	for i := range fields {
		if v := &fields[i]; v.Type() == feature.String {
			if _, known := m.values[i][v.Str()]; known {
				m.values[i][v.Str()]++
			} else if len(m.values[i]) < maxTracked {
				m.values[i][strings.Clone(v.Str())] = 1 // a row's strings may be gone after the call
			}
		}
	}
	return nil
}

// prepare fixes the bins and the slices.
func (m *maker) prepare() error {
	bins := make([]*profile.Bins, len(m.builders))
	for i, bb := range m.builders {
		var err error
		if bins[i], err = bb.Bins(); err != nil {
			return fmt.Errorf("column %s: %w", m.b.Columns[i].Name, err)
		}
		m.again = m.again || !bb.Complete()
	}
	for i, field := range m.fields {
		of := map[string]*Slice{}
		for _, v := range mostFrequent(m.values[i], MaxSlices) {
			m.b.Slices = append(m.b.Slices, Slice{Field: field, Value: v})
		}
		m.slices = append(m.slices, of)
	}
	for i := range m.b.Slices {
		s := &m.b.Slices[i]
		for _, b := range bins {
			s.Profiles = append(s.Profiles, profile.New(b, false))
		}
		m.slices[slices.Index(m.fields, s.Field)][s.Value] = s
		m.again = true
	}
	for i, bb := range m.builders {
		var err error
		if m.b.Columns[i].Profile = profile.New(bins[i], true); m.again {
			continue
		}
		if m.b.Columns[i].Profile, err = bb.Profile(true); err != nil {
			return fmt.Errorf("column %s: %w", m.b.Columns[i].Name, err)
		}
	}
	return nil
}

func (m *maker) second(values, fields []feature.Value) error {
	m.b.Rows++
	for i := range values {
		m.b.Columns[i].Profile.Add(&values[i])
	}
	for i := range fields {
		if v := &fields[i]; v.Type() == feature.String {
			if s := m.slices[i][v.Str()]; s != nil {
				s.Rows++
				for k := range values {
					s.Profiles[k].Add(&values[k])
				}
			}
		}
	}
	return nil
}

// mostFrequent returns the values that are the most frequent, in their own order.
func mostFrequent(counts map[string]uint64, most int) []string {
	all := make([]string, 0, len(counts))
	for v := range counts {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b string) int {
		switch {
		case counts[a] > counts[b]:
			return -1
		case counts[a] < counts[b]:
			return 1
		case a < b:
			return -1
		}
		return 1
	})
	all = all[:min(len(all), most)]
	slices.Sort(all)
	return all
}
