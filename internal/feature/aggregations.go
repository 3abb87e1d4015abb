package feature

// aggregations is every aggregate function that a definition can name.
var aggregations = []aggregation{
	{name: "count", out: countType, make: newCount},
	{name: "sum", out: sumType, make: newSum},
	{name: "mean", out: meanType, make: newMean},
	{name: "min", out: extremeType, make: newMin},
	{name: "max", out: extremeType, make: newMax},
	{name: "variance", out: momentsType, make: newVariance},
	{name: "stddev", out: momentsType, make: newStddev},
	{name: "first", out: stampedType, make: newFirst},
	{name: "last", out: stampedType, make: newLast},
	{name: "last_n", out: lastNType, make: newLastN},
	{name: "approx_distinct", out: approxDistinctType, make: newApproxDistinct, sketch: true},
	{name: "approx_quantile", out: approxQuantileType, make: newApproxQuantile, sketch: true},
	{name: "top_k", out: topKType, make: newTopK, sketch: true},
}
