package feature

import "fmt"

// approxQuantile is approx_quantile: the value of rank floor(q*(n-1)) of the n values in ascending order, counted
// from 0, of int64 or float64, as float64; null over no values. It is a DDSketch: a result is within 1 % of the value
// of that rank, and the least and the largest value are exact; ddsketch.go states what happens to values over a very
// wide range.
//
// State: nil, or a sketch (see ddsketch.go), at most 1280 bytes.
type approxQuantile struct {
	varying
	typ Type
	q   float64
}

func approxQuantileType(s AggregatorSpec) (Type, error) {
	if err := s.check("q", Int64, Float64); err != nil {
		return Null, err
	}
	if !(s.Q >= 0 && s.Q <= 1) {
		return Null, fmt.Errorf("aggregate %s needs `q` from 0 to 1, not %v", s.Name, s.Q)
	}
	return Float64, nil
}

func newApproxQuantile(s AggregatorSpec) Aggregator { return approxQuantile{typ: s.In, q: s.Q} }

func (approxQuantile) maxBytes() int { return ddsMaxBytes }

// Add implements Aggregator.
func (a approxQuantile) Add(state []byte, v *Value, _ *Order) []byte {
	if a.typ == Int64 {
		return ddsAdd(state, float64(v.Int64()))
	}
	return ddsAdd(state, v.Float64()+0) // -0 becomes 0
}

// Merge implements Aggregator.
func (approxQuantile) Merge(dst, src []byte) []byte {
	switch {
	case len(src) == 0:
		return dst
	case len(dst) == 0:
		return append(dst, src...)
	}
	return ddsMerge(dst, src)
}

// Result implements Aggregator.
func (a approxQuantile) Result(state []byte) Value {
	if len(state) == 0 {
		return Value{}
	}
	return Float64Value(ddsQuantile(state, a.q))
}

// Validate implements Aggregator.
func (approxQuantile) Validate(state []byte) error {
	if len(state) == 0 {
		return nil
	}
	return ddsValidate(state)
}
