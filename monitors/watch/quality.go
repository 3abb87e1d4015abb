package watch

import (
	"fmt"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
)

// qualityTable says of each check of data quality which bins have its bad values, none for columns that it is not for, and
// what it calls them.
var qualityTable = []struct {
	name, noun string
	bins       func(*profile.Bins) []int
}{
	{"null_share", "null", func(b *profile.Bins) []int { return []int{b.At(profile.Null)} }},
	{"out_of_range", "outside of the training data's range", outOfRange},
	{"unseen", "of categories without a bin", func(b *profile.Bins) []int {
		if b.Kind() != profile.Categorical || b.Regular() == 0 {
			return nil
		}
		return []int{b.At(profile.Other)}
	}},
	{"type_errors", "of another type", func(b *profile.Bins) []int { return []int{b.At(profile.Mistyped)} }},
	{"not_finite", "NaN or infinite", func(b *profile.Bins) []int {
		if b.Kind() != profile.Numeric {
			return nil
		}
		return []int{b.At(profile.NaN), b.At(profile.PosInf), b.At(profile.NegInf)}
	}},
}

// outOfRange are the bins below and above all of the reference, where these are two.
func outOfRange(b *profile.Bins) []int {
	if b.Kind() != profile.Numeric || b.Underflow() == b.Overflow() {
		return nil
	}
	return []int{b.Underflow(), b.Overflow()}
}

// badShare is one check of one column and slice: how often its bad values are in a window, and were in the baseline.
type badShare struct {
	series    alert.Series
	column    *watched
	noun      string
	threshold float64
	ref, cur  significance.Part
	p         float64
	adjusted  float64 // in the family of the window
	movers    []Mover
	outcome   drift.Outcome
	notes     []string
}

func (q *badShare) effect() float64 { return q.cur.Count/max(1, q.cur.N) - q.ref.Count/max(1, q.ref.N) }

// testQuality tests every check of data quality that a monitor makes of a column of a slice.
func testQuality(m *monitor, cur *sample) ([]*badShare, error) {
	ref := cur.reference()
	if ref == nil {
		return nil, nil
	}
	var out []*badShare
	for _, check := range m.Quality {
		q, err := badShares(check, ref, cur.Side)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", check.Name, err)
		}
		if q != nil {
			q.series, q.column = cur.series(alert.Quality), cur.column
			q.series.Check = check.Name
			q.judge(uint64(m.MinSample))
			out = append(out, q)
		}
	}
	return out, nil
}

// badShares makes a check of a column; nil if it is not for columns of its kind.
func badShares(check config.QualityCheck, ref *profile.Profile, cur drift.Side) (*badShare, error) {
	for _, row := range qualityTable {
		if row.name != check.Name {
			continue
		}
		bins := row.bins(ref.Bins())
		if bins == nil {
			return nil, nil
		}
		q := &badShare{noun: row.noun, threshold: check.Threshold}
		q.ref, q.cur = part(ref.Counts.Counts(), bins), part(cur.Profile.Counts.Counts(), bins)
		panes := make([][]uint64, len(cur.Panes))
		for i, p := range cur.Panes {
			of := part(p, bins)
			panes[i] = []uint64{uint64(of.Count), uint64(of.N - of.Count)}
		}
		var df float64
		if q.ref.N > 0 && q.cur.N > 0 {
			q.ref.NEff, q.cur.NEff, df = significance.Sizes(q.ref.N, significance.Dispersion{Effect: 1}, q.cur.N, significance.CategoricalDispersion(panes))
		}
		for _, i := range bins {
			r, c := ref.Counts.Counts()[i], cur.Profile.Counts.Counts()[i]
			if r+c > 0 {
				q.movers = append(q.movers, Mover{Bin: ref.Bins().Name(i), Ref: float64(r) / max(1, q.ref.N), Cur: float64(c) / max(1, q.cur.N)})
			}
		}
		for i, u := range cur.Profile.Unseen().Categories {
			if check.Name == "unseen" && i < movers {
				q.notes = append(q.notes, fmt.Sprintf("%q at least %d times", u.Name, u.Count))
			}
		}
		var err error
		q.p, err = significance.ShareRise(q.ref, q.cur, df)
		q.adjusted = q.p
		return q, err
	}
	return nil, fmt.Errorf("no check of data quality has this name")
}

func part(counts []uint64, bins []int) significance.Part {
	var p significance.Part
	for _, n := range counts {
		p.N += float64(n)
	}
	for _, i := range bins {
		p.Count += float64(counts[i])
	}
	return p
}

// judge says what does not depend on the other tests of the window.
func (q *badShare) judge(least uint64) {
	q.notes = append([]string{fmt.Sprintf("%.0f of %.0f values are %s, %.0f of %.0f in the baseline", q.cur.Count, q.cur.N, q.noun, q.ref.Count, q.ref.N)}, q.notes...)
	switch n := float64(least); {
	case q.cur.N == 0 || q.ref.N == 0:
		q.outcome = drift.NoRows
	case q.cur.N < n || q.ref.N < n:
		q.outcome = drift.TooFewRows
	default:
		q.outcome = drift.Stable
	}
}

func (q *badShare) judged() bool { return q.outcome == drift.Stable || q.outcome == drift.Exceeded }

// decide says what follows from the adjusted p-value.
func (q *badShare) decide(level float64) {
	if q.judged() && q.adjusted <= level && q.effect() >= q.threshold {
		q.outcome = drift.Exceeded
	}
}

func (q *badShare) score(m *monitor, win alert.Window, level float64) Score {
	return Score{
		Monitor: m.Name, Model: m.Model.Name, Kind: q.series.Kind, Column: q.series.Column, Slice: q.series.Slice, Check: q.series.Check, Window: win,
		Against: "baseline " + m.Bins.Name, Method: significance.TestShare, Score: Number(q.cur.Count / max(1, q.cur.N)), Effect: Number(q.effect()), Threshold: q.threshold,
		P: Number(q.p), PAdjusted: Number(q.adjusted), Level: level, NRef: uint64(q.ref.N), NCur: uint64(q.cur.N), NEffRef: Number(q.ref.NEff), NEffCur: Number(q.cur.NEff),
		Outcome: string(q.outcome), Movers: q.movers, Notes: q.notes,
	}
}
