package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// The definition of every feature once more, as plain loops over raw events.

// row is an event's fields: int64, float64, string, or nil.
type row map[string]any

// event is a row with its place in the order of events.
type event struct {
	row
	at        int64 // microseconds
	partition int32
	offset    int64
}

func inOrder(a, b *event) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
}

// feature is one feature's definition. An aggregate of "" is the latest event's value.
type feature struct {
	name, aggregate string
	of              func(row) any
	where           func(row) bool
	window          time.Duration // 0: all of time
	q               float64
	n               int
}

func field(name string) func(row) any { return func(r row) any { return r[name] } }

func present(name string) func(row) bool { return func(r row) bool { return r[name] != nil } }

// view is a feature view's definition.
type view struct {
	name     string
	joinKeys []string
	where    func(row) bool
	features []feature
}

// windowStart is the first moment of a window as of t: floor(t-W) to the hop, which is W/60, or W/12 for sketches, rounded
// up to whole seconds.
func windowStart(t int64, window time.Duration, parts int64) int64 {
	const second = 1_000_000
	w := window.Microseconds()
	hop := (w + parts*second - 1) / (parts * second) * second
	start := t - w
	return start - ((start%hop)+hop)%hop
}

// values returns what the feature aggregates as of t, of events in order.
func (f *feature) values(es []*event, t int64) []any {
	start := int64(math.MinInt64)
	if f.window > 0 {
		parts := int64(60)
		switch f.aggregate {
		case "approx_distinct", "approx_quantile", "top_k":
			parts = 12
		}
		start = windowStart(t, f.window, parts)
	}
	var out []any
	for _, e := range es {
		if e.at < start || f.where != nil && !f.where(e.row) {
			continue
		}
		var v any = int64(1)
		if f.of != nil {
			v = f.of(e.row)
		}
		if v != nil || f.aggregate == "" {
			out = append(out, v)
		}
	}
	return out
}

// check compares what a lookup gave with the definition.
func (f *feature) check(got json.RawMessage, status string, es []*event, t int64) error {
	want := f.result(f.values(es, t))
	if want == nil {
		if status != "NULL_VALUE" || string(got) != "null" {
			return fmt.Errorf("%s %s, want null", status, got)
		}
		return nil
	}
	if status != "PRESENT" {
		return fmt.Errorf("%s %s, want %v", status, got, want)
	}
	switch w := want.(type) {
	case float64:
		var x float64
		if err := json.Unmarshal(got, &x); err != nil || math.Abs(x-w) > f.tolerance(w) {
			return fmt.Errorf("%s, want %v", got, w)
		}
	case int64:
		var x int64
		if err := json.Unmarshal(got, &x); err != nil || math.Abs(float64(x-w)) > f.tolerance(float64(w)) {
			return fmt.Errorf("%s, want %d", got, w)
		}
	default:
		if text, err := json.Marshal(w); err != nil || string(got) != string(text) {
			return fmt.Errorf("%s, want %s", got, text)
		}
	}
	return nil
}

// tolerance is how far a value may be from the definition.
func (f *feature) tolerance(want float64) float64 {
	switch f.aggregate {
	case "sum", "mean":
		return 1e-9 * math.Abs(want)
	case "variance", "stddev":
		return 1e-7 + 1e-9*math.Abs(want) // of a few equal values the mean's rounding is all there is
	case "approx_quantile":
		return 0.01*math.Abs(want) + 1e-9
	case "approx_distinct":
		return math.Floor(0.06 * want) // four standard errors; small numbers are exact
	}
	return 0
}

// result aggregates the values, in their order.
func (f *feature) result(vs []any) any {
	switch f.aggregate {
	case "count":
		return int64(len(vs))
	case "approx_distinct":
		return int64(len(frequencies(vs)))
	}
	if len(vs) == 0 {
		return nil
	}
	switch f.aggregate {
	case "", "last":
		return vs[len(vs)-1]
	case "first":
		return vs[0]
	case "last_n":
		return floatsWithPoint(vs[max(0, len(vs)-f.n):])
	case "sum":
		return sum(vs)
	case "mean":
		mean, _ := moments(vs)
		return mean
	case "variance":
		_, variance := moments(vs)
		return variance
	case "stddev":
		_, variance := moments(vs)
		return math.Sqrt(variance)
	case "min":
		return slices.MinFunc(vs, compare)
	case "max":
		return slices.MaxFunc(vs, compare)
	case "approx_quantile":
		sorted := slices.SortedFunc(slices.Values(vs), compare)
		return number(sorted[int(f.q*float64(len(vs)-1))])
	case "top_k":
		return mostFrequent(vs, f.n)
	}
	panic("no such aggregate: " + f.aggregate)
}

func number(v any) float64 {
	if n, ok := v.(int64); ok {
		return float64(n)
	}
	return v.(float64)
}

func compare(a, b any) int {
	if s, ok := a.(string); ok {
		return cmp.Compare(s, b.(string))
	}
	return cmp.Compare(number(a), number(b))
}

func sum(vs []any) any {
	if _, ok := vs[0].(int64); ok {
		var total int64
		for _, v := range vs {
			total += v.(int64)
		}
		return total
	}
	var total float64
	for _, v := range vs {
		total += v.(float64)
	}
	return total
}

// moments are the mean and the variance of the population, in two passes.
func moments(vs []any) (mean, variance float64) {
	n := float64(len(vs))
	for _, v := range vs {
		mean += number(v) / n
	}
	for _, v := range vs {
		variance += (number(v) - mean) * (number(v) - mean) / n
	}
	return mean, variance
}

func frequencies(vs []any) map[any]int {
	m := map[any]int{}
	for _, v := range vs {
		m[v]++
	}
	return m
}

func mostFrequent(vs []any, k int) []any {
	m := frequencies(vs)
	var out []any
	for v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b any) int { return cmp.Or(-cmp.Compare(m[a], m[b]), compare(a, b)) })
	return out[:min(k, len(out))]
}

// floatsWithPoint makes whole floats print as lookups do, so that they stay floats for their readers.
func floatsWithPoint(vs []any) []any {
	out := slices.Clone(vs)
	for i, v := range vs {
		if x, ok := v.(float64); ok && x == math.Trunc(x) {
			out[i] = json.Number(fmt.Sprintf("%.1f", x))
		}
	}
	return out
}
