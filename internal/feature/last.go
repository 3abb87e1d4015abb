package feature

// newLast returns last: the value of the last event, in Order, of any scalar type; null over no values. Exact.
func newLast(s AggregatorSpec) Aggregator { return newStamped(s.In, 1) }
