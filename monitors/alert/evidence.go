package alert

import (
	"encoding/json"
	"math"
	"strings"
)

// Number is a figure in a message. What JSON cannot say (NaN, infinities) is null, and reads back as NaN.
type Number float64

// MarshalJSON writes the number, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.finite() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a number or null.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

func (n Number) finite() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// settled makes what JSON cannot say NaN, as it will be when it is read back: a state that was kept must go on exactly
// as one that was not.
func (n Number) settled() Number {
	if !n.finite() {
		return Number(math.NaN())
	}
	return n
}

// Sample is how much was compared: rows, and how many independent ones they are worth.
type Sample struct {
	N    int64  `json:"n"`
	NEff Number `json:"n_eff"`
}

// Mover is a bin or category whose share changed.
type Mover struct {
	Bin       string `json:"bin"`
	Reference Number `json:"reference"` // share in what was compared with, 0 to 1
	Current   Number `json:"current"`   // share in the window
}

// Evidence is what made a series fire, as much as a reader needs to believe it and to look further.
type Evidence struct {
	Series
	Method    string  `json:"method,omitempty"` // as jensen_shannon
	Score     Number  `json:"score"`            // the distance as it is
	Effect    Number  `json:"effect"`           // the distance that was judged, after bias correction
	Threshold Number  `json:"threshold"`
	P         Number  `json:"p"`
	Current   Sample  `json:"current"`
	Reference Sample  `json:"reference"`
	Movers    []Mover `json:"movers,omitempty"` // the three that moved most, most first
	Window    Window  `json:"window"`
	Against   string  `json:"against,omitempty"` // the baseline or the earlier window
	Query     string  `json:"query,omitempty"`   // a command or query that shows the same
	Note      string  `json:"note,omitempty"`    // what else there is to say, as a sample of values that differ
}

const (
	maxMovers = 3
	maxText   = 1024 // bytes of a query or a note
)

// bounded returns the evidence with what the verdict knows filled in and everything of bounded size.
func (e Evidence) bounded(v *Verdict, w Window) Evidence {
	e.Series, e.Window = v.Series, w
	e.Effect, e.Threshold = Number(v.Effect).settled(), Number(v.Threshold).settled()
	e.Score, e.P = e.Score.settled(), e.P.settled()
	e.Current.NEff, e.Reference.NEff = e.Current.NEff.settled(), e.Reference.NEff.settled()
	e.Method, e.Against = canonical(e.Method), canonical(e.Against)
	e.Query, e.Note = clip(strings.ToValidUTF8(e.Query, "�"), maxText), clip(strings.ToValidUTF8(e.Note, "�"), maxText)
	movers := make([]Mover, 0, maxMovers)
	for _, m := range e.Movers[:min(len(e.Movers), maxMovers)] {
		movers = append(movers, Mover{Bin: canonical(m.Bin), Reference: m.Reference.settled(), Current: m.Current.settled()})
	}
	e.Movers = movers
	return e
}
