package watch

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/profile"
)

// WindowProfile is how one column of one slice was distributed in a window that was judged, as its record says it
// (config.WindowLog).
type WindowProfile struct {
	Monitor  string   `json:"monitor"`
	Model    string   `json:"model"`
	Start    int64    `json:"window_start"` // microseconds UTC
	End      int64    `json:"window_end"`
	Baseline string   `json:"baseline"`
	Column   string   `json:"column"`
	Slice    string   `json:"slice"` // "": all rows
	Rows     uint64   `json:"rows"`
	Nulls    uint64   `json:"nulls"`
	Mean     *Number  `json:"mean"` // of the finite numbers; nil without any
	StdDev   *Number  `json:"stddev"`
	Min      *Number  `json:"min"`
	Max      *Number  `json:"max"`
	Bins     []string `json:"bins"` // that have rows on either side
	Counts   []uint64 `json:"counts"`
	// Reference is what the baseline has in the bins; nil if it does not know the slice.
	Reference []uint64 `json:"reference,omitempty"`
}

// windowProfiles are the profiles of a window, until they are written down.
type windowProfiles struct {
	baseline *baseline.Baseline
	columns  []int // of the baseline
	slices   map[string][]*profile.Profile
}

// profilesOf returns what is written down of a window. Of windows that overlap it is those that end at a whole number of
// windows since the epoch: each inference is in one of them, and they can be added up.
func profilesOf(m *monitor, b *baseline.Baseline, cur *window) *windowProfiles {
	if cur.End%m.Size.Microseconds() != 0 || len(cur.slices) == 0 {
		return nil
	}
	out := &windowProfiles{baseline: b, slices: map[string][]*profile.Profile{}}
	for i := range m.columns {
		if at := b.Column(m.columns[i].name); at >= 0 {
			out.columns = append(out.columns, at)
		}
	}
	for slice, s := range cur.slices {
		out.slices[slice] = s.profiles
	}
	return out
}

// Profiles are the profiles of the window that are to be written down, in the order of their slices and columns: none of a window that
// overlaps one which has them, and of a judgement of other things than panes.
func (j *Judgement) Profiles() []WindowProfile {
	p := j.profiles
	if p == nil {
		return nil
	}
	var out []WindowProfile
	for _, slice := range slices.Sorted(maps.Keys(p.slices)) {
		for _, at := range p.columns {
			if of := p.slices[slice][at]; of != nil {
				out = append(out, windowProfile(j, p.baseline, at, slice, of))
			}
		}
	}
	return out
}

func windowProfile(j *Judgement, b *baseline.Baseline, at int, slice string, of *profile.Profile) WindowProfile {
	out := WindowProfile{
		Monitor: j.Monitor.Name, Model: j.Monitor.Model.Name, Start: j.Window.Start, End: j.Window.End, Baseline: b.Name,
		Column: b.Columns[at].Name, Slice: slice, Rows: of.Rows(), Nulls: of.Of(profile.Null), Bins: []string{}, Counts: []uint64{},
	}
	if m := of.Moments(); m.N > 0 {
		number := func(x float64) *Number { return (*Number)(&x) }
		out.Mean, out.StdDev, out.Min, out.Max = number(m.Mean), number(math.Sqrt(m.Variance())), number(m.Min), number(m.Max)
	}
	ref := b.Profile(at, slice)
	for i, n := range of.Counts.Counts() {
		if n == 0 && (ref == nil || ref.Counts.Counts()[i] == 0) {
			continue
		}
		out.Bins, out.Counts = append(out.Bins, of.Bins().Name(i)), append(out.Counts, n)
		if ref != nil {
			out.Reference = append(out.Reference, ref.Counts.Counts()[i])
		}
	}
	return out
}

// Encode writes the profile as a record's value.
func (p *WindowProfile) Encode() ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode a profile of monitor %s: %w", p.Monitor, err)
	}
	return b, nil
}
