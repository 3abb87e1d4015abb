package feature

func newMax(s AggregatorSpec) Aggregator { return extreme{typ: s.In} }
