package drift

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet/monitors/distance"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// Outcome is what came of comparing a column.
type Outcome string

// The outcomes.
const (
	Stable      Outcome = "stable"       // the effect is below the threshold, or chance explains it
	Drifted     Outcome = "drifted"      // the effect is at least the threshold and significant
	TypeChanged Outcome = "type_changed" // most values are of another type than the reference's: always a change
	TooFewRows  Outcome = "too_few_rows" // a side has fewer rows than are judged; scores are given and decide nothing
	NoRows      Outcome = "no_rows"      // a side has no rows at all: there are no scores
	Missing     Outcome = "missing"      // the current side does not have the column: always a change
	Extra       Outcome = "extra"        // only the current side has the column: reported, nothing to compare with
	Unsupported Outcome = "unsupported"  // a list or group: reported, not compared
	Exceeded    Outcome = "exceeded"     // of another check than a distance: its figure is at or over the threshold, and significant
)

// Changed reports whether the outcome says that the column is not what it was.
func (o Outcome) Changed() bool {
	return o == Drifted || o == TypeChanged || o == Missing || o == Exceeded
}

// Column is a compared column.
type Column struct {
	Name    string
	Kind    profile.Kind
	Type    string // of the reference's values
	Outcome Outcome
	Notes   []string // what a reader should know: "all reference values are equal"

	Scores []Score      // in the order asked; the first decides
	Others []OtherScore // of compatibility modes; they decide nothing
	// Test is the name of the test of significance, P its p-value, PAdjusted that of the column in its family.
	Test                    string
	P, PAdjusted, Statistic float64
	NRef, NCur              uint64 // rows, nulls among them
	NEffRef, NEffCur        float64
	Movers                  []Mover
	Aligned                 bool // the sides had different bins

	reference, current *profile.Profile
}

// Score is one distance of a column.
type Score struct {
	Method    distance.Method
	Score     float64 // the distance as its formula gives it; NaN where it cannot be measured
	Effect    float64 // the score without what chance gives; what the threshold is compared with
	Null      float64 // what chance gives
	Threshold float64
	Drifted   bool // the effect is at least the threshold and the column's change is significant
}

// OtherScore is a number as another tool computes it, and that tool's own decision.
type OtherScore struct {
	Mode      string
	Score     float64
	P         float64 // the tool's p-value if that is what it computes, else the column's
	Threshold float64 // the tool's default; NaN where it has none that is fixed
	Drifted   bool
}

// Mover is a bin and its share of both sides.
type Mover struct {
	Bin      string
	Ref, Cur float64
}

// Profiles returns the two sides, nil where a column was not compared.
func (c *Column) Profiles() (reference, current *profile.Profile) { return c.reference, c.current }

// judge gives the outcome that does not depend on other columns.
func (c *Column) judge(o Options) {
	c.note()
	present := c.current.Rows() - c.current.Of(profile.Null)
	switch {
	case c.NRef < o.MinSample || c.NCur < o.MinSample:
		c.Outcome = TooFewRows
		c.Notes = append(c.Notes, fmt.Sprintf("fewer than %d rows on a side", o.MinSample))
	case present > 0 && float64(c.current.Of(profile.Mistyped)) >= mistypedShare*float64(present) &&
		float64(c.reference.Of(profile.Mistyped)) < mistypedShare*float64(c.NRef-c.reference.Of(profile.Null)):
		c.Outcome = TypeChanged
		c.Notes = append(c.Notes, fmt.Sprintf("%d of %d values are no %s", c.current.Of(profile.Mistyped), present, c.Type))
	default:
		c.Outcome = Stable
	}
}

// note says what is particular about the sides.
func (c *Column) note() {
	for _, s := range []struct {
		name string
		p    *profile.Profile
	}{{"reference", c.reference}, {"current", c.current}} {
		rows := s.p.Rows()
		switch m := s.p.Moments(); {
		case s.p.Of(profile.Null) == rows:
			c.Notes = append(c.Notes, "all "+s.name+" values are null")
		case s.p.Of(profile.NaN) == rows-s.p.Of(profile.Null):
			c.Notes = append(c.Notes, "all "+s.name+" values are NaN")
		case c.Kind == profile.Numeric && m.N > 1 && m.Min == m.Max:
			c.Notes = append(c.Notes, "all "+s.name+" values are equal")
		}
		if n := s.p.Of(profile.PosInf) + s.p.Of(profile.NegInf); n > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%d %s values are infinite", n, s.name))
		}
	}
	if u := c.current.Unseen(); u.Distinct > 0 {
		note := fmt.Sprintf("about %d categories that have no bin of their own", u.Distinct)
		if u.Distinct == 1 {
			note = "one category that has no bin of its own"
		}
		c.Notes = append(c.Notes, note)
		if c.current.Bins().Regular() == 0 {
			c.Notes = append(c.Notes, "no category stands out: only nulls and types are compared")
		}
	}
}

// judged reports whether the column's test belongs to the family.
func (c *Column) judged() bool {
	return c.Outcome == Stable || c.Outcome == Drifted || c.Outcome == TypeChanged
}

// Family decides over the columns of one evaluation together: which are significant at a level for all of them, and so
// have drifted if their effect reaches the threshold. Columns that were too small to be judged are not in it. others are
// the p-values of what else is tested in the evaluation; it returns these adjusted.
func Family(columns []*Column, alpha float64, others ...float64) []float64 {
	var family []*Column
	p := slices.Clone(others)
	for _, c := range columns {
		if c.judged() {
			family, p = append(family, c), append(p, c.P)
		}
	}
	all := significance.Adjust(p)
	for i, adjusted := range all[len(others):] {
		c := family[i]
		c.PAdjusted = adjusted
		for k := range c.Scores {
			s := &c.Scores[k]
			s.Drifted = c.Outcome == TypeChanged || adjusted <= alpha && s.Effect >= s.Threshold
		}
		switch {
		case c.Outcome == TypeChanged:
		case len(c.Scores) > 0 && c.Scores[0].Drifted:
			c.Outcome = Drifted
		default:
			c.Outcome = Stable
		}
	}
	return all[:len(others)]
}

// number is a float64 that JSON may have no form for; it is null then.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if n-n != 0 {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// scoreJSON is a score as programs read it.
type scoreJSON struct {
	Score     number      `json:"score"`
	PValue    number      `json:"p_value"`
	NRef      uint64      `json:"n_ref"`
	NCur      uint64      `json:"n_cur"`
	Drifted   bool        `json:"drifted"`
	Effect    number      `json:"effect"`
	Threshold number      `json:"threshold"`
	PAdjusted number      `json:"p_adjusted"` // of the column in its family
	NEffRef   number      `json:"n_eff_ref"`
	NEffCur   number      `json:"n_eff_cur"`
	Outcome   Outcome     `json:"outcome"`
	Movers    []moverJSON `json:"movers"`
	Notes     []string    `json:"notes,omitempty"`
}

type moverJSON struct {
	Bin string `json:"bin"`
	Ref number `json:"ref"`
	Cur number `json:"cur"`
}

// MarshalJSON writes {method: {score, p_value, n_ref, n_cur, drifted, ...}}. A column that was not compared has one
// entry, "outcome", without a score.
func (c *Column) MarshalJSON() ([]byte, error) {
	out := map[string]scoreJSON{}
	base := scoreJSON{
		PValue: number(c.P), PAdjusted: number(c.PAdjusted), NRef: c.NRef, NCur: c.NCur, NEffRef: number(c.NEffRef), NEffCur: number(c.NEffCur),
		Outcome: c.Outcome, Movers: []moverJSON{}, Notes: c.Notes,
	}
	for _, m := range c.Movers {
		base.Movers = append(base.Movers, moverJSON{m.Bin, number(m.Ref), number(m.Cur)})
	}
	for _, s := range c.Scores {
		e := base
		e.Score, e.Effect, e.Threshold, e.Drifted = number(s.Score), number(s.Effect), number(s.Threshold), s.Drifted
		out[string(s.Method)] = e
	}
	for _, o := range c.Others {
		e := base
		e.Score, e.Effect, e.Threshold, e.PValue, e.Drifted = number(o.Score), number(o.Score), number(o.Threshold), number(o.P), o.Drifted
		out[o.Mode] = e
	}
	if len(out) == 0 {
		return plain(map[string]any{"outcome": map[string]any{
			"score": nil, "p_value": nil, "n_ref": c.NRef, "n_cur": c.NCur, "drifted": c.Outcome.Changed(), "outcome": c.Outcome, "notes": c.Notes,
		}})
	}
	return plain(out)
}

// plain is JSON in which bins keep their < and >.
func plain(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return buf.Bytes(), err
}
