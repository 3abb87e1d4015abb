package feature

import (
	"fmt"
	"strings"
)

// scalars are the types of values that an aggregation can keep or hash.
var scalars = []Type{Bool, Int64, Float64, String, Bytes, Timestamp}

// check refuses a spec whose `of` has none of the types, and any parameter other than `takes` ("q", "n", "k" or "").
func (s AggregatorSpec) check(takes string, types ...Type) error {
	if err := s.checkParameters(takes); err != nil {
		return err
	}
	for _, t := range types {
		if s.In == t {
			return nil
		}
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	list := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	if s.In == Null {
		return fmt.Errorf("aggregate %s needs `of`, of type %s", s.Name, list)
	}
	return fmt.Errorf("aggregate %s needs `of` of type %s, not %s", s.Name, list, s.In)
}

// checkParameters refuses every parameter that is set and is not the one that the aggregation takes.
func (s AggregatorSpec) checkParameters(takes string) error {
	for _, p := range [...]struct {
		name string
		set  bool
	}{{"q", s.Q != 0}, {"n", s.N != 0}, {"k", s.K != 0}} {
		if p.set && p.name != takes {
			return fmt.Errorf("aggregate %s takes no `%s`", s.Name, p.name)
		}
	}
	return nil
}

// checkCount refuses a count parameter (`n` or `k`) outside 1 to most.
func (s AggregatorSpec) checkCount(field string, n, most int) error {
	if n < 1 || n > most {
		return fmt.Errorf("aggregate %s needs `%s` from 1 to %d, not %d", s.Name, field, most, n)
	}
	return nil
}
