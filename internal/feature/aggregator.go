package feature

import (
	"fmt"
	"slices"
	"strings"
)

// Aggregator computes one aggregate function over values of one input type. It is stateless and safe for concurrent
// use; a partial state is bytes that the caller owns, and those bytes are the stored format: what Add and Merge leave
// in a state is what goes to the changelog, the local store and Redis. Every fixed-width number in a state is
// little-endian, orders excepted (see Order).
//
// The laws, within the rounding or bound that each aggregation states: merging is associative and commutative; the
// order of arrival does not change the result; a state equals the merge of the states of any split of its events.
type Aggregator interface {
	// Width is the number of bytes of every state, whose empty state is all zero bytes; or 0 for an aggregation whose
	// states vary in size, whose empty state is nil.
	Width() int

	// Add folds the value of the event at `at` into state and returns the state, which for a fixed width is the same
	// slice changed in place, and else may be a new one (grown as append does). v is never null and always finite; it
	// is nil for a count of events. Add does not keep v's memory.
	Add(state []byte, v *Value, at *Order) []byte

	// Merge folds src into dst and returns dst under the rule of Add. Callers merge in time order, src after dst. src
	// is not changed or kept. Both must be valid states.
	Merge(dst, src []byte) []byte

	// Fold merges n states of a fixed-width aggregation, in order, into dst: state i is
	// states[i*stride : i*stride+Width()]. It is Merge in a tight loop, for reads over many tiles. Aggregations of
	// varying size do not implement it (they panic).
	Fold(dst, states []byte, stride, n int)

	// Result returns the value of a state: null, or of the type that the Aggregation states. The value shares no
	// memory with state.
	Result(state []byte) Value

	// Validate reports why bytes read from outside are not a state of this aggregation. After a nil return no other
	// method panics on them. An empty or nil state of varying size is valid. Of a fixed width any bytes can be folded,
	// merged and asked for their result without a panic, which is what a read of a blob relies on; only what they say is
	// then anything.
	Validate(state []byte) error
}

// AggregatorSpec names an aggregation and its parameters, as a definition does.
type AggregatorSpec struct {
	Name string  // a name in Aggregations()
	In   Type    // the type of `of`; Null where the aggregation counts events
	Q    float64 // approx_quantile: the quantile, 0 <= Q <= 1
	N    int     // last_n: how many, 1 to MaxLastN
	K    int     // top_k: how many, 1 to MaxTopK
}

// An aggregation is one line of the table in aggregations.go.
type aggregation struct {
	name string
	// out returns the type of the result for a spec, and refuses what the aggregation does not take with an error
	// that names the field of the definition and what is allowed.
	out func(AggregatorSpec) (Type, error)
	// make returns the aggregator of a spec that out accepted.
	make func(AggregatorSpec) Aggregator
	// sketch marks an aggregation whose states are large: its windows have 12 hops instead of 60.
	sketch bool
}

// NewAggregator returns the aggregator of a spec and the type of its results.
func NewAggregator(spec AggregatorSpec) (Aggregator, Type, error) {
	a, err := findAggregation(spec.Name)
	if err != nil {
		return nil, Null, err
	}
	out, err := a.out(spec)
	if err != nil {
		return nil, Null, err
	}
	return a.make(spec), out, nil
}

// Aggregations returns the names of all aggregations, sorted.
func Aggregations() []string {
	names := make([]string, 0, len(aggregations))
	for _, a := range aggregations {
		names = append(names, a.name)
	}
	slices.Sort(names)
	return names
}

// IsSketch reports whether windows of the named aggregation are kept in 12 hops instead of 60.
func IsSketch(name string) bool {
	a, err := findAggregation(name)
	return err == nil && a.sketch
}

func findAggregation(name string) (*aggregation, error) {
	for i := range aggregations {
		if aggregations[i].name == name {
			return &aggregations[i], nil
		}
	}
	return nil, fmt.Errorf("unknown aggregate %q; aggregates are %s", name, strings.Join(Aggregations(), ", "))
}
