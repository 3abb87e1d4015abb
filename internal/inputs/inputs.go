// Package inputs turns a row of a source's fields into what a feature view folds in: which events the view counts, and
// for each of its features the value that the event adds. Stream processors and training sets share it, so that one
// definition has one meaning. Reading rows, and folding the inputs into state, are others' matter.
package inputs

import (
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// Counts are what did not go as the definition hoped.
type Counts struct {
	EvalErrors int // expressions that failed: null, and false in a condition
	NotFinite  int // NaN and infinities, which are not aggregated
	TooLong    int // strings and bytes that are too long to be kept
}

// Evaluator computes the inputs of one view. It is used by one goroutine at a time.
type Evaluator struct {
	view    *config.View
	longest []int // bytes of a string or bytes value that each feature takes; 0 for no bound
	values  []*feature.Value
	scratch []feature.Value
	counts  Counts
}

// New returns the evaluator of a view.
func New(v *config.View) *Evaluator {
	e := &Evaluator{view: v, values: make([]*feature.Value, len(v.Features)), scratch: make([]feature.Value, len(v.Features))}
	for _, f := range v.Features {
		e.longest = append(e.longest, feature.MaxInputBytes(f.Spec))
	}
	return e
}

// Accepts reports whether the view counts an event with this row at all. A condition that is null or fails is false.
func (e *Evaluator) Accepts(row []feature.Value) bool {
	if e.view.Where == nil {
		return true
	}
	pass, ok := e.view.Where.Test(row)
	if !ok {
		e.counts.EvalErrors++
	}
	return pass
}

// anEvent is the input of a count of events.
var anEvent = feature.BoolValue(true)

// Evaluate computes the input of every feature from the row of an event that the view accepts, as feature.Layout.Apply
// takes them: nil where the event does not count, a pointer to a null where its value is null. The result is valid, and
// may alias the row, until the next call.
func (e *Evaluator) Evaluate(row []feature.Value) []*feature.Value {
	for i := range e.view.Features {
		f := &e.view.Features[i]
		e.values[i] = nil
		if f.Where != nil {
			pass, ok := f.Where.Test(row)
			if !ok {
				e.counts.EvalErrors++
			}
			if !pass {
				continue
			}
		}
		if f.Of == nil {
			e.values[i] = &anEvent
			continue
		}
		val, ok := f.Of.Eval(row, &e.scratch[i])
		if !ok {
			e.counts.EvalErrors++
		}
		if f.Aggregate != "" && !val.Finite() {
			e.counts.NotFinite++
			continue
		}
		if n := e.longest[i]; n > 0 && len(val.Str()) > n {
			e.counts.TooLong++
			continue
		}
		e.values[i] = val
	}
	return e.values
}

// TakeCounts returns what was counted since the last call.
func (e *Evaluator) TakeCounts() Counts {
	c := e.counts
	e.counts = Counts{}
	return c
}

// Fields returns the fields of the source's schema that the view reads: those of its expressions, ascending. Its join keys
// are not among them unless an expression reads them.
func Fields(v *config.View) []int {
	var used []bool
	mark := func(fields []int) {
		for _, f := range fields {
			for len(used) <= f {
				used = append(used, false)
			}
			used[f] = true
		}
	}
	if v.Where != nil {
		mark(v.Where.Reads())
	}
	for i := range v.Features {
		if f := &v.Features[i]; f.Where != nil {
			mark(f.Where.Reads())
		}
		if f := &v.Features[i]; f.Of != nil {
			mark(f.Of.Reads())
		}
	}
	var out []int
	for f, u := range used {
		if u {
			out = append(out, f)
		}
	}
	return out
}
