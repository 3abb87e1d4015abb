package watch

import (
	"fmt"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/significance/tail"
)

// ValueSkewLane is the lane of the checks of served values. Its windows do not overlap.
const ValueSkewLane = "value_skew"

// mismatchShare is the method of a value skew: its score is the share of values that differ.
const mismatchShare = "mismatch_share"

// ValueSkew returns the check of a window in which served values were compared with computed ones.
//
// The effect is the share of the compared values that are other ones, or null on one side alone. It is significant if so many
// are improbable where the threshold's share is all there is (by the binomial distribution, shared out over the features),
// which is to say that the lower bound of the share's confidence interval is at the threshold or over it. The inferences were
// drawn with equal chances, so this holds for the window however much its rows depend on each other.
func ValueSkew(m *config.Monitor, w alert.Window, r *valueskew.Result) (Check, error) {
	expect, err := Expect(m)
	if err != nil {
		return Check{}, err
	}
	c := Check{Monitor: m.Name, Lane: ValueSkewLane, Window: w}
	for i := range r.Features {
		f := &r.Features[i]
		s := skewScore(f, m, w, len(r.Features), expect.Level)
		if r.Unkeyed > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%d more inferences have no join key", r.Unkeyed))
		}
		source := newWatched(m.Model, config.Watched{Column: column(m.Model, f.Column)})
		c.Scores = append(c.Scores, s)
		c.Verdicts = append(c.Verdicts, alert.Verdict{
			Series: s.Series(), Group: source.group(), Sources: source.sources, Effect: float64(s.Effect), Threshold: s.Threshold, Lower: lowerCutoff * s.Threshold,
			Significant: float64(s.PAdjusted) <= s.Level, Enough: s.NCur > 0, Evidence: skewEvidence(&s),
		})
	}
	return c, nil
}

func column(m *config.Model, name string) int {
	for i := range m.Columns {
		if m.Columns[i].Name == name {
			return i
		}
	}
	return 0
}

func skewScore(f *valueskew.Feature, m *config.Monitor, w alert.Window, tests int, level float64) Score {
	n, k := f.Rows(), f.Differ()
	s := Score{
		Monitor: m.Name, Model: m.Model.Name, Kind: alert.ValueSkew, Column: f.Column, Window: w, Against: "the offline path", Method: mismatchShare,
		Threshold: m.ValueSkew.Threshold, P: 1, PAdjusted: 1, Level: level, NRef: uint64(n), NCur: uint64(n), NEffRef: Number(n), NEffCur: Number(n),
		Outcome: string(drift.NoRows),
	}
	if n == 0 {
		return s
	}
	share := func(o valueskew.Outcome) float64 { return float64(f.Counts[o]) / float64(n) }
	s.Score = Number(float64(k) / float64(n))
	s.Effect = s.Score
	if k > 0 {
		s.P = Number(tail.Binomial(float64(n), s.Threshold, float64(k)))
	}
	s.PAdjusted = min(1, s.P*Number(tests))
	if s.Outcome = string(drift.Stable); float64(s.Effect) >= s.Threshold && float64(s.PAdjusted) <= level {
		s.Outcome = string(drift.Drifted)
	}
	for _, o := range []valueskew.Outcome{valueskew.Mismatch, valueskew.Missing, valueskew.Timing} {
		if f.Counts[o] > 0 {
			s.Movers = append(s.Movers, Mover{Bin: o.String(), Cur: share(o)})
			s.Notes = append(s.Notes, samples(f, o))
		}
	}
	return s
}

// samples says how many values came to an outcome, and shows some.
func samples(f *valueskew.Feature, o valueskew.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d of %d", o, f.Counts[o], f.Rows())
	for i, s := range f.Samples[o] {
		sep := ", "
		if i == 0 {
			sep = "; as "
		}
		b.WriteString(sep)
		if s.ID != "" {
			fmt.Fprintf(&b, "id %s ", clipped(s.ID))
		}
		fmt.Fprintf(&b, "(%s at %s) served %s, computed %s", clipped(s.Entity), time.UnixMicro(s.At).UTC().Format("2006-01-02T15:04:05.000000Z"),
			clipped(s.Served), clipped(s.Computed))
	}
	return b.String()
}

// clipped bounds what comes from the data: values may be of any length.
func clipped(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

func skewEvidence(s *Score) alert.Evidence {
	e := alert.Evidence{
		Method: s.Method, Score: s.Score, P: s.PAdjusted, Against: s.Against, Note: strings.Join(s.Notes, "; "),
		Current: alert.Sample{N: int64(s.NCur), NEff: s.NEffCur}, Reference: alert.Sample{N: int64(s.NRef), NEff: s.NEffRef},
		Query: Query(s.Monitor, s.Series(), s.Window.End),
	}
	for _, m := range s.Movers {
		e.Movers = append(e.Movers, alert.Mover{Bin: m.Bin, Current: alert.Number(m.Cur)})
	}
	return e
}
