package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/freshet-io/freshet/monitors/alert"
)

// Check is what something else than the panes has found out about a monitor: a whole evaluation of one lane of its own,
// as of the labels that have come or of a tick of the clock. Who makes it counts on Kafka alone: a check that is written
// twice is evaluated once, for ends of windows only grow in a lane (alert.A1).
type Check struct {
	Monitor string
	// Lane is the sequence of evaluations that it belongs to; not "windows", which is that of the panes. Without one
	// nothing is evaluated: it has only scores, which correct earlier ones.
	Lane     string
	Window   alert.Window
	For      int             // windows in a row before an alert fires; 0: the monitor's
	Verdicts []alert.Verdict // of everything that the lane watches
	// Scores are published as they are; Monitor and Model are filled in, and Window where it is empty. Those of an
	// evaluation that was counted before are published only if they have a revision.
	Scores []Score
}

// windowsLane is the lane of the windows that are judged from panes.
const windowsLane = "windows"

type checkJSON struct {
	Monitor  string        `json:"monitor"`
	Lane     string        `json:"lane,omitempty"`
	Window   alert.Window  `json:"window"`
	For      int           `json:"for,omitempty"`
	Verdicts []verdictJSON `json:"verdicts,omitempty"`
	Scores   []Score       `json:"scores,omitempty"`
}

type verdictJSON struct {
	alert.Series
	Group       string         `json:"group,omitempty"`
	Sources     []string       `json:"sources,omitempty"`
	Effect      effect         `json:"effect"`
	Threshold   effect         `json:"threshold"`
	Lower       effect         `json:"lower,omitempty"`
	Significant bool           `json:"significant,omitempty"`
	Enough      bool           `json:"enough,omitempty"`
	Evidence    alert.Evidence `json:"evidence"`
}

// effect is a figure that may be infinite, which is worse than any other and not the same as none.
type effect float64

func (e effect) MarshalJSON() ([]byte, error) {
	switch x := float64(e); {
	case math.IsInf(x, 1):
		return []byte(`"inf"`), nil
	case math.IsInf(x, -1):
		return []byte(`"-inf"`), nil
	}
	return alert.Number(e).MarshalJSON()
}

func (e *effect) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case `"inf"`:
		*e = effect(math.Inf(1))
		return nil
	case `"-inf"`:
		*e = effect(math.Inf(-1))
		return nil
	}
	return (*alert.Number)(e).UnmarshalJSON(text)
}

func (c *Check) encode() ([]byte, error) {
	doc := checkJSON{Monitor: c.Monitor, Lane: c.Lane, Window: c.Window, For: c.For, Scores: c.Scores}
	for _, v := range c.Verdicts {
		doc.Verdicts = append(doc.Verdicts, verdictJSON{
			v.Series, v.Group, v.Sources, effect(v.Effect), effect(v.Threshold), effect(v.Lower), v.Significant, v.Enough, v.Evidence,
		})
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode a check of monitor %s: %w", c.Monitor, err)
	}
	return text, nil
}

func decodeCheck(text []byte) (Check, error) {
	var doc checkJSON
	if err := json.Unmarshal(text, &doc); err != nil {
		return Check{}, fmt.Errorf("decode a check: %w", err)
	}
	c := Check{Monitor: doc.Monitor, Lane: doc.Lane, Window: doc.Window, For: doc.For, Scores: doc.Scores}
	for _, v := range doc.Verdicts {
		c.Verdicts = append(c.Verdicts, alert.Verdict{
			Series: v.Series, Group: v.Group, Sources: v.Sources, Effect: float64(v.Effect), Threshold: float64(v.Threshold), Lower: float64(v.Lower),
			Significant: v.Significant, Enough: v.Enough, Evidence: v.Evidence,
		})
	}
	return c, nil
}

// evaluation is what the alerts are told of a check.
func (w *Watch) evaluation(m *monitor, c *Check) alert.Evaluation {
	e := alert.Evaluation{
		Monitor: m.Name, Model: w.model.Name, Origin: w.origin, Lane: c.Lane, Window: c.Window, At: w.progress.clock, For: c.For, Verdicts: c.Verdicts,
	}
	if e.For == 0 {
		e.For = m.For
	}
	return e
}

// addChecks keeps checks for the next Advance. An error names one that no Advance could evaluate, and none is kept then.
func (w *Watch) addChecks(checks []Check) error {
	for i := range checks {
		c := &checks[i]
		m := w.monitor(c.Monitor)
		switch {
		case m == nil:
			continue
		case c.Lane == windowsLane:
			return fmt.Errorf("a check of monitor %s: the lane %q is that of its panes", c.Monitor, c.Lane)
		case c.Lane == "" && len(c.Verdicts) > 0:
			return errors.New("a check of monitor " + c.Monitor + " has verdicts and no lane")
		case c.Lane == "":
			continue
		}
		if err := m.alerts.Accepts(w.evaluation(m, c)); err != nil {
			return fmt.Errorf("a check of monitor %s: %w", c.Monitor, err)
		}
	}
	for _, c := range checks {
		if w.monitor(c.Monitor) == nil {
			w.unknown++
		} else {
			w.checks = append(w.checks, c)
		}
	}
	return nil
}

// UnknownChecks is how many checks came of monitors that are not defined, since this Watch was made.
func (w *Watch) UnknownChecks() uint64 { return w.unknown }

// evaluateChecks evaluates the checks that were added, in their order.
func (w *Watch) evaluateChecks() ([]Judgement, error) {
	var out []Judgement
	for i := range w.checks {
		c := &w.checks[i]
		m := w.monitor(c.Monitor)
		j := Judgement{Monitor: m.Monitor, Window: c.Window, Check: true}
		if err := w.evaluate(m, c, &j); err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	w.checks = nil
	return out, nil
}

// evaluate evaluates a check, of whoever has made it.
func (w *Watch) evaluate(m *monitor, c *Check, j *Judgement) error {
	counted := false
	if c.Lane != "" {
		next, res, err := m.alerts.Evaluate(w.evaluation(m, c))
		if err != nil {
			return fmt.Errorf("monitor %s, lane %s: %w", m.Name, c.Lane, err)
		}
		if counted = !res.Dropped; counted {
			m.alerts, j.Messages = next, res.Messages
			w.changed[monitorRecord(m.Name)] = struct{}{}
		}
	}
	for _, s := range c.Scores {
		if !counted && s.Revision == 0 {
			continue
		}
		s.Monitor, s.Model = m.Name, w.model.Name
		if s.Window == (alert.Window{}) {
			s.Window = c.Window
		}
		j.Scores = append(j.Scores, s)
	}
	return nil
}
