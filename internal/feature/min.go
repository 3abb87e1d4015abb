package feature

func newMin(s AggregatorSpec) Aggregator { return extreme{typ: s.In, flip: ^uint64(0)} }
