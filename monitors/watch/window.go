package watch

import (
	"fmt"
	"slices"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// window is what was counted in a span of time on the bins of a baseline. Its panes stay encoded, and a column of a slice
// is read when it is its turn: all of a wide model at once would be several times what is kept of it.
type window struct {
	alert.Window
	baseline *baseline.Baseline
	pane     int64
	panes    map[paneKey]*pane // those of the baseline, of other times and builds too
}

// window returns the window of a length that ends at end.
func (w *Watch) window(b *baseline.Baseline, size, end int64) *window {
	return &window{Window: alert.Window{Start: end - size, End: end}, baseline: b, pane: w.pane, panes: w.panes[b.Name]}
}

// at returns a slice's pane that starts at a time; nil if nothing was counted in it on the baseline's build.
func (x *window) at(start int64, slice string) *pane {
	if p := x.panes[paneKey{start, slice}]; p != nil && p.build == x.baseline.Build {
		return p
	}
	return nil
}

// slices are those of the baseline and of what came in the window, in order, that of all rows first.
func (x *window) slices() []string {
	names := baselineSlices(x.baseline)
	for k := range x.panes {
		if k.start >= x.Start && k.start < x.End && x.at(k.start, k.slice) != nil {
			names = append(names, k.slice)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// baselineSlices are the slices of the baseline, that of all rows first.
func baselineSlices(b *baseline.Baseline) []string {
	names := []string{""}
	for i := range b.Slices {
		names = append(names, baseline.SliceName(b.Slices[i].Field, b.Slices[i].Value))
	}
	return names
}

// sample is a column of a slice of a window: the sum of its panes and the counts of each. The sum is an empty profile if nothing of
// it came.
type sample struct {
	drift.Side
	starts []int64 // of the panes
	window *window
	column *watched
	at     int // the column, in the baseline
	slice  string
}

// sample reads a column of a slice.
func (x *window) sample(column *watched, at int, slice string) (*sample, error) {
	bins := x.baseline.Columns[at].Profile.Bins()
	s := &sample{window: x, column: column, at: at, slice: slice}
	for start := x.Start; start < x.End; start += x.pane { // panes in the order of time
		p := x.at(start, slice)
		if p == nil || len(p.columns[at]) == 0 {
			continue
		}
		part, err := profile.Decode(bins, p.columns[at])
		if err != nil {
			return nil, fmt.Errorf("pane of column %s: %w", column.name, err)
		}
		s.starts = append(s.starts, start)
		if s.Profile == nil {
			s.Profile, s.Panes = part, append(s.Panes, slices.Clone(part.Counts.Counts())) // the others are added to it
			continue
		}
		s.Panes = append(s.Panes, part.Counts.Counts())
		if err := s.Profile.Merge(part); err != nil {
			return nil, err
		}
	}
	if s.Profile == nil {
		s.Profile = profile.New(bins, false)
	}
	return s, nil
}

// known is how the column's rows vary over time, if the baseline knows it: better than the panes of a window can tell. Rows of the
// baseline are taken to depend on each other as the stream's do. Of slices it is not known.
func (s *sample) known() *significance.Dispersion {
	if s.slice != "" {
		return nil
	}
	return s.window.baseline.Columns[s.at].Dispersion
}

// knownOfWindows is known as it counts for two windows, if the baseline says of what time it is. One made of inferences by an earlier
// version does not, and that may be shorter than a window: then its own panes tell more.
func (s *sample) knownOfWindows() *significance.Dispersion {
	if v := s.window.baseline.Variation; v == nil || v.Rows == 0 {
		return nil
	}
	return s.known()
}

// reference is what the baseline has of the column and the slice; nil if it does not have the slice.
func (s *sample) reference() *profile.Profile { return s.window.baseline.Profile(s.at, s.slice) }

func (s *sample) series(kind alert.Kind) alert.Series {
	return alert.Series{Kind: kind, Column: s.column.name, Slice: s.slice}
}

// each gives every column of a monitor in every slice of a window to fn, as far as the training data had the column: else there
// are no bins to count on.
func (w *Watch) each(m *monitor, b *baseline.Baseline, win *window, fn func(*sample) error) error {
	if !testsWindows(m.Monitor) {
		return nil
	}
	for _, slice := range win.slices() {
		for i := range m.columns {
			c := &m.columns[i]
			at := b.Column(c.name)
			if at < 0 {
				continue
			}
			s, err := win.sample(c, at, slice)
			if err == nil {
				err = fn(s)
			}
			if err != nil {
				return fmt.Errorf("column %s, slice %q: %w", c.name, slice, err)
			}
		}
	}
	return nil
}
