package feature

// newFirst returns first: the value of the first event, in Order, of any scalar type; null over no values. Exact.
func newFirst(s AggregatorSpec) Aggregator { return newStamped(s.In, -1) }
