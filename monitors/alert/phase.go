package alert

import "fmt"

// Phase is where a series stands.
type Phase int

// The phases.
const (
	Normal     Phase = iota
	Pending          // bad, not for k windows yet
	Firing           // bad for k windows
	Recovering       // firing, good by now, not for k windows yet
	Missing          // too few samples for k windows
)

var phaseNames = [...]string{"normal", "pending", "firing", "recovering", "no_data"}

func (p Phase) String() string {
	if p < 0 || int(p) >= len(phaseNames) {
		return fmt.Sprintf("phase %d", int(p))
	}
	return phaseNames[p]
}

// MarshalText writes the phase's name.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a phase's name.
func (p *Phase) UnmarshalText(text []byte) error {
	for i, name := range phaseNames {
		if name == string(text) {
			*p = Phase(i)
			return nil
		}
	}
	return fmt.Errorf("no phase %q", text)
}

// active tells whether a series belongs in an episode.
func (p Phase) active() bool { return p == Firing || p == Recovering }

// run counts disjoint windows (A2).
type run struct {
	Count int   `json:"count,omitempty"`
	Last  int64 `json:"last,omitempty"` // end of the last window that counted
}

func (r run) add(w Window) run {
	if r.Count == 0 || w.Start >= r.Last {
		return run{r.Count + 1, w.End}
	}
	return r
}

// series is what is remembered of one series. One that is normal and lacks nothing is not kept at all.
type series struct {
	Series
	Group   string   `json:"group,omitempty"`
	Sources []string `json:"sources,omitempty"`
	Lane    string   `json:"lane,omitempty"`
	Phase   Phase    `json:"phase"`
	From    int64    `json:"from,omitempty"`   // start of the first window of the bad run that led here
	Latest  int64    `json:"latest,omitempty"` // start of the last window with a verdict
	Run     run      `json:"run,omitzero"`     // towards firing when pending, towards normal when recovering
	Lacking run      `json:"lacking,omitzero"` // windows with too few samples since the last judged one
	Absent  run      `json:"absent,omitzero"`  // windows without a verdict
}

// kept tells whether there is anything to remember.
func (s *series) kept() bool { return s.Phase != Normal || s.Lacking.Count > 0 }

// judged moves the series on by a verdict about w (A3, A4); k is the number of counted windows.
func (s *series) judged(j judgement, w Window, k int) {
	s.Absent, s.Latest = run{}, w.Start
	if j == unknown {
		s.Lacking = s.Lacking.add(w)
		if s.Lacking.Count >= k && (s.Phase == Normal || s.Phase == Pending) {
			s.Phase, s.Run, s.From = Missing, run{}, 0
		}
		return
	}
	s.Lacking = run{}
	if s.Phase.active() {
		s.judgedActive(j, w, k)
		return
	}
	if j != bad {
		s.Phase, s.Run, s.From = Normal, run{}, 0
		return
	}
	if s.Phase != Pending {
		s.Phase, s.Run, s.From = Pending, run{}, w.Start
	}
	s.Run = s.Run.add(w)
	if s.Run.Count >= k {
		s.Phase, s.Run = Firing, run{}
	}
}

func (s *series) judgedActive(j judgement, w Window, k int) {
	if j != good {
		s.Phase, s.Run = Firing, run{}
		return
	}
	s.Phase, s.Run = Recovering, s.Run.add(w)
	if s.Run.Count >= k {
		s.Phase, s.Run, s.From = Normal, run{}, 0
	}
}

// unmentioned notes that an evaluation of the series' lane had no verdict of it, and tells whether it is to be forgotten
// (A5).
func (s *series) unmentioned(w Window, k int) bool {
	s.Absent = s.Absent.add(w)
	return s.Absent.Count >= k
}
