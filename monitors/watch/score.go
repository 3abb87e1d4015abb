package watch

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
)

// Score is what one column of one slice came to in one window, as its record says it.
type Score struct {
	Monitor string       `json:"monitor"`
	Model   string       `json:"model"`
	Kind    alert.Kind   `json:"kind"`
	Column  string       `json:"column"`
	Slice   string       `json:"slice,omitempty"`
	Check   string       `json:"check,omitempty"` // which of the kind's checks, as null_share
	Window  alert.Window `json:"window"`
	// Revision tells scores of the same monitor, series and window apart: the one with the highest counts.
	Revision  int      `json:"revision,omitempty"`
	Against   string   `json:"against"`
	Method    string   `json:"method"`
	Score     Number   `json:"score"`  // the distance by its formula
	Effect    Number   `json:"effect"` // without what chance gives: what the threshold is for
	Threshold float64  `json:"threshold"`
	P         Number   `json:"p"`
	PAdjusted Number   `json:"p_adjusted"` // for all tests of the window
	Level     float64  `json:"level"`      // at or below it the column has changed significantly
	NRef      uint64   `json:"n_ref"`
	NCur      uint64   `json:"n_cur"`
	NEffRef   Number   `json:"n_eff_ref"`
	NEffCur   Number   `json:"n_eff_cur"`
	Outcome   string   `json:"outcome"`
	Coverage  *Number  `json:"coverage,omitempty"` // of a score by labels: the share of the inferences that have theirs
	Movers    []Mover  `json:"movers,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}

// Series is what the score is of, within its monitor.
func (s *Score) Series() alert.Series {
	return alert.Series{Kind: s.Kind, Column: s.Column, Slice: s.Slice, Check: s.Check}
}

// Query is the command that prints the score of a series in the window that ends at end, and no other.
func Query(monitor string, s alert.Series, end int64) string {
	slice := s.Slice
	if slice == "" {
		slice = "none"
	}
	q := "freshet monitor scores " + monitor + " --kind " + string(s.Kind)
	if s.Check != "" {
		q += " --check " + quoted(s.Check)
	}
	if s.Column != "" {
		q += " --column " + quoted(s.Column)
	}
	return q + " --slice " + quoted(slice) + " --windows 1 --until " + time.UnixMicro(end).UTC().Format(time.RFC3339Nano)
}

// quoted is a word as a shell takes it: slices' values come from users' data.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=.:") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Mover is a bin and its share of both sides.
type Mover struct {
	Bin string  `json:"bin"`
	Ref float64 `json:"ref"`
	Cur float64 `json:"cur"`
}

// Number is a figure that may be none; null then.
type Number = alert.Number

func (m *monitor) score(c *comparison, level float64) Score {
	r := c.result
	s := Score{
		Monitor: m.Name, Model: m.Model.Name, Kind: c.series.Kind, Column: c.series.Column, Slice: c.series.Slice, Window: c.window, Against: c.against,
		Method: c.column.Method, Threshold: c.column.Threshold, P: Number(r.P), PAdjusted: Number(r.PAdjusted), Level: level,
		NRef: r.NRef, NCur: r.NCur, NEffRef: Number(r.NEffRef), NEffCur: Number(r.NEffCur), Outcome: string(r.Outcome), Notes: r.Notes,
	}
	if len(r.Scores) > 0 {
		s.Score, s.Effect = Number(r.Scores[0].Score), Number(r.Scores[0].Effect)
	}
	for _, mv := range r.Movers {
		s.Movers = append(s.Movers, Mover{mv.Bin, mv.Ref, mv.Cur})
	}
	return s
}

// verdict is what the alerts are told of a score whose p-value is adjusted; group is whose episodes it belongs to.
func (s *Score) verdict(group string, sources []string) alert.Verdict {
	outcome := drift.Outcome(s.Outcome)
	v := alert.Verdict{
		Series: s.Series(), Group: group, Sources: sources, Effect: float64(s.Effect), Threshold: s.Threshold, Lower: lowerCutoff * s.Threshold,
		Significant: float64(s.PAdjusted) <= s.Level, Enough: outcome != drift.TooFewRows && outcome != drift.NoRows,
		Evidence: alert.Evidence{
			Method: s.Method, Score: s.Score, P: s.P, Against: s.Against, Note: strings.Join(s.Notes, "; "),
			Current: alert.Sample{N: int64(s.NCur), NEff: s.NEffCur}, Reference: alert.Sample{N: int64(s.NRef), NEff: s.NEffRef},
		},
	}
	for _, mv := range s.Movers {
		v.Evidence.Movers = append(v.Evidence.Movers, alert.Mover{Bin: mv.Bin, Reference: alert.Number(mv.Ref), Current: alert.Number(mv.Cur)})
	}
	v.Evidence.Query = Query(s.Monitor, s.Series(), s.Window.End)
	return v
}

// scoreRecord is a score as its record has it: with nothing left out, and with its window and what moved once more as the offline
// tables have them (config.ScoreLog).
type scoreRecord struct {
	*Score
	Slice       string   `json:"slice"`
	Check       string   `json:"check"`
	Revision    int      `json:"revision"`
	WindowStart int64    `json:"window_start"`
	WindowEnd   int64    `json:"window_end"`
	Moved       []string `json:"moved,omitempty"`
}

// Encode writes the score as a record's value.
func (s *Score) Encode() ([]byte, error) {
	r := scoreRecord{Score: s, Slice: s.Slice, Check: s.Check, Revision: s.Revision, WindowStart: s.Window.Start, WindowEnd: s.Window.End}
	for _, m := range s.Movers {
		r.Moved = append(r.Moved, fmt.Sprintf("%s: %.3g -> %.3g", m.Bin, m.Ref, m.Cur))
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a score of monitor %s: %w", s.Monitor, err)
	}
	return b, nil
}

// DecodeScore reads what Encode wrote.
func DecodeScore(text []byte) (Score, error) {
	var s Score
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("decode a score: %w", err)
	}
	return s, nil
}
