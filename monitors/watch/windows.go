package watch

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"

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

// windowProfiles are the profiles of a window, until they are taken: in the order of slices and columns.
type windowProfiles []*sample

// add takes up a column of a slice that is written down. Of windows that overlap it is those that end at a whole number of
// windows since the epoch: each inference is in one of them, and they can be added up.
func (p *windowProfiles) add(m *monitor, of *sample) {
	if of.window.End%m.Size.Microseconds() == 0 && len(of.starts) > 0 {
		whole := *of
		whole.Panes, whole.starts = nil, nil // the sum is written down
		*p = append(*p, &whole)
	}
}

// TakeProfiles gives the profiles of the window that are to be written down, in the order of their slices and columns: none of a window
// that overlaps one which has them, of a judgement of other things than panes, and of a Watch that keeps none (Watch.KeepProfiles).
// The judgement lets go of each that it has given: they are most of what it holds.
func (j *Judgement) TakeProfiles() iter.Seq[WindowProfile] {
	return func(yield func(WindowProfile) bool) {
		for len(j.profiles) > 0 {
			of := j.profiles[0]
			j.profiles[0], j.profiles = nil, j.profiles[1:]
			if !yield(windowProfile(j, of.window.baseline, of.at, of.slice, of.Profile)) {
				return
			}
		}
	}
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
