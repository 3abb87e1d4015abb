// Package significance says how surprising the difference of two samples of a column is: a rank test for ordered bins, a
// chi-square test for categories, the effective number of values behind dependent rows, control over a family of tests,
// the level that follows from a configured rate of false alarms, and a sequential detector for streams of low volume.
//
// The reference is a sample like the current one, never the truth. Everything here is a function of counts; effects and
// their thresholds are monitors/distance, the tests of other tools are monitors/compat.
package significance

import (
	"errors"
	"fmt"
	"math"
)

// Tests by name, as results state them.
const (
	TestRank        = "anderson_darling"
	TestContingency = "chi_square"
)

// Input is a column's two samples on the same bins.
type Input struct {
	// Ref and Cur are counts by bin, ordered bins (or categories) first, special bins (null, NaN, +Inf, -Inf) from index
	// Special on.
	Ref, Cur []float64
	Special  int
	// NEffRef and NEffCur are the effective sizes of both samples, over all bins; at 0 the counts' sum is taken, as for
	// independent rows.
	NEffRef, NEffCur float64
	// DF is on how many degrees of freedom the effective sizes were estimated, 0 if they are known. An estimate from few
	// panes makes large statistics likelier, and p-values far in the tail much larger.
	DF float64
}

// Result is a test's outcome, with what it was based on.
type Result struct {
	Test string
	// P is the probability of a difference at least as large between samples of one population.
	P float64
	// Statistic is the test's: of a rank test the Anderson-Darling A², of a contingency test Pearson's X².
	Statistic float64
	// NRef and NCur are the counts' sums, NEffRef and NEffCur the effective sizes that P rests on.
	NRef, NCur, NEffRef, NEffCur float64
}

// Tester computes tests. It keeps buffers between them: one goroutine uses it at a time. The zero value is ready.
type Tester struct {
	bins     []bin
	bounds   []bound
	ref, cur []float64
	cells    []cell
}

// specialWeight is the part of the false alarms that goes to changes of the special bins' shares, where there are any.
const specialWeight = 0.2

// Numeric tests a column of ordered bins. The ordered part is compared by ranks; where either side has special bins, the
// division into the ordered part and each of them is compared as categories. These two are independent under the null
// hypothesis, and P is the smaller of their p-values with weights 0.8 and 0.2. If a side has no values P is 1.
func (t *Tester) Numeric(in Input) (Result, error) {
	r, err := in.check(TestRank)
	if err != nil || r.NRef == 0 || r.NCur == 0 {
		return r, err
	}
	var refSpecial, curSpecial float64
	for i := in.Special; i < len(in.Ref); i++ {
		refSpecial += in.Ref[i]
		curSpecial += in.Cur[i]
	}
	ordered, a2 := t.rank(in.Ref[:in.Special], in.Cur[:in.Special],
		r.NEffRef*(1-refSpecial/r.NRef), r.NEffCur*(1-curSpecial/r.NCur), in.DF)
	r.P, r.Statistic = ordered, a2
	if refSpecial+curSpecial == 0 {
		return r, nil
	}
	t.ref = append(append(t.ref[:0], r.NRef-refSpecial), in.Ref[in.Special:]...)
	t.cur = append(append(t.cur[:0], r.NCur-curSpecial), in.Cur[in.Special:]...)
	special, _ := t.contingency(t.ref, t.cur, r.NEffRef, r.NEffCur, in.DF)
	if refSpecial == r.NRef || curSpecial == r.NCur {
		r.P = special // one side has nothing to order
		return r, nil
	}
	r.P = min(1, ordered/(1-specialWeight), special/specialWeight)
	return r, nil
}

// Categorical tests a column of categories; special bins are categories like any other. If a side has no values P is 1.
func (t *Tester) Categorical(in Input) (Result, error) {
	r, err := in.check(TestContingency)
	if err != nil || r.NRef == 0 || r.NCur == 0 {
		return r, err
	}
	r.P, r.Statistic = t.contingency(in.Ref, in.Cur, r.NEffRef, r.NEffCur, in.DF)
	return r, nil
}

func (in Input) check(test string) (Result, error) {
	r := Result{Test: test, P: 1}
	if len(in.Ref) != len(in.Cur) {
		return r, fmt.Errorf("%s test: %d reference bins and %d current ones", test, len(in.Ref), len(in.Cur))
	}
	if in.Special < 0 || in.Special > len(in.Ref) {
		return r, fmt.Errorf("%s test: special bins from %d on, of %d", test, in.Special, len(in.Ref))
	}
	if !(in.DF >= 0) || !(in.NEffRef >= 0) || !(in.NEffCur >= 0) {
		return r, fmt.Errorf("%s test: effective sizes %g and %g on %g degrees of freedom", test, in.NEffRef, in.NEffCur, in.DF)
	}
	for i := range in.Ref {
		if !(in.Ref[i] >= 0) || !(in.Cur[i] >= 0) {
			return r, fmt.Errorf("%s test: %w in bin %d", test, errCount, i)
		}
		r.NRef += in.Ref[i]
		r.NCur += in.Cur[i]
	}
	if math.IsInf(r.NRef+r.NCur, 1) {
		return r, fmt.Errorf("%s test: %w", test, errCount)
	}
	r.NEffRef, r.NEffCur = in.NEffRef, in.NEffCur
	if r.NEffRef == 0 {
		r.NEffRef = r.NRef
	}
	if r.NEffCur == 0 {
		r.NEffCur = r.NCur
	}
	return r, nil
}

var errCount = errors.New("a count is not a finite number from 0 on")
