package profile

// Window is the profile of a rolling window over panes. Its counts slide: the pane that comes is added, the one that goes
// is subtracted. Everything else is merged anew from the panes when it is asked for. The panes are the caller's to
// leave unchanged while they are in the window.
type Window struct {
	counts *Counts
	panes  []*Profile
}

// NewWindow returns an empty window.
func NewWindow(b *Bins) *Window { return &Window{counts: NewCounts(b)} }

// Push adds the next pane.
func (w *Window) Push(pane *Profile) error {
	if err := w.counts.Add(&pane.Counts); err != nil {
		return err
	}
	w.panes = append(w.panes, pane)
	return nil
}

// Pop takes the oldest pane out, nil if there is none.
func (w *Window) Pop() (*Profile, error) {
	if len(w.panes) == 0 {
		return nil, nil
	}
	pane := w.panes[0]
	if err := w.counts.Subtract(&pane.Counts); err != nil {
		return nil, err
	}
	w.panes = append(w.panes[:0], w.panes[1:]...)
	return pane, nil
}

// Counts returns the counts of all panes. The caller does not change them; they hold until the window moves.
func (w *Window) Counts() *Counts { return w.counts }

// Panes returns the panes, the oldest first. The caller does not change the slice.
func (w *Window) Panes() []*Profile { return w.panes }

// PaneCounts returns each pane's counts by bin, the oldest first: what the effective sample size is estimated from.
func (w *Window) PaneCounts() [][]uint64 {
	out := make([][]uint64, len(w.panes))
	for i, p := range w.panes {
		out[i] = p.Counts.Counts()
	}
	return out
}

// Profile returns the profile of all panes together.
func (w *Window) Profile(sketch bool) (*Profile, error) {
	p := New(w.counts.bins, sketch)
	for _, pane := range w.panes {
		if err := p.Merge(pane); err != nil {
			return nil, err
		}
	}
	return p, nil
}
