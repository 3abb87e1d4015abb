package feature_test

import (
	"cmp"
	"math"
	"math/big"
	"slices"

	"github.com/freshet-io/freshet/internal/feature"
)

// oracleEvent is one event as it arrived: its place, the input of each feature, and the stream time it met.
type oracleEvent struct {
	at     feature.Order
	in     []*feature.Value
	stream int64
}

// oracle is the definition of a view in plain loops over raw events: no tile, no partial state.
type oracle struct {
	spec   feature.LayoutSpec
	events []oracleEvent
	stream int64 // of the last event or Trim
}

// oracleFloor is the largest multiple of h that is not after t.
func oracleFloor(t, h int64) int64 {
	k := new(big.Int)
	k.Div(big.NewInt(t), big.NewInt(h)) // Euclidean: floors for a positive h
	return k.Int64() * h
}

// oracleHop is w/60 (w/12 for sketches) rounded up to whole seconds, at least one.
func oracleHop(f *feature.FeatureSpec) int64 {
	parts := 60.0
	if slices.Contains([]string{"approx_distinct", "approx_quantile", "top_k"}, f.Agg.Name) {
		parts = 12
	}
	return max(1, int64(math.Ceil(float64(f.Window)/1e6/parts))) * 1e6
}

// longest returns the longest window of a hop.
func (o *oracle) longest(hop int64) (w int64) {
	for i := range o.spec.Features {
		if f := &o.spec.Features[i]; f.Window > 0 && oracleHop(f) == hop {
			w = max(w, f.Window)
		}
	}
	return w
}

// tooLate reports whether the tile of an event is no longer kept at a stream time.
func (o *oracle) tooLate(time, hop, stream int64) bool {
	end := oracleFloor(time, hop) + hop
	return stream > end+o.longest(hop)+hop+o.spec.AllowedSkew
}

// late returns how many tile updates an event loses at a stream time.
func (o *oracle) late(time, stream int64) (n int) {
	hops := map[int64]bool{}
	for i := range o.spec.Features {
		if f := &o.spec.Features[i]; f.Window > 0 {
			hops[oracleHop(f)] = true
		}
	}
	for h := range hops {
		if o.tooLate(time, h, stream) {
			n++
		}
	}
	return n
}

func (o *oracle) lifetime() bool {
	return slices.ContainsFunc(o.spec.Features, func(f feature.FeatureSpec) bool { return f.Window == 0 })
}

// timestamp is the largest event time that the state still knows: a kept tile's, or within the life of the entity cell.
func (o *oracle) timestamp() (int64, bool) {
	var longest, hop int64
	for i := range o.spec.Features {
		if f := &o.spec.Features[i]; f.Window > 0 {
			longest, hop = max(longest, f.Window), max(hop, oracleHop(f))
		}
	}
	t, ok := int64(0), false
	for i := range o.events {
		e := &o.events[i]
		known := o.lifetime() ||
			o.spec.TTL > longest && e.at.Time >= o.stream-(o.spec.TTL+hop+o.spec.AllowedSkew)
		for j := range o.spec.Features {
			if f := &o.spec.Features[j]; f.Window > 0 && !o.tooLate(e.at.Time, oracleHop(f), o.stream) {
				known = true
			}
		}
		if known && (!ok || e.at.Time > t) {
			t, ok = e.at.Time, true
		}
	}
	return t, ok
}

// read evaluates every feature at t.
func (o *oracle) read(t int64) (feature.Status, int64, []expected) {
	out := make([]expected, len(o.spec.Features))
	ts, ok := o.timestamp()
	if !ok {
		return feature.NotFound, feature.NoTime, out
	}
	covered := o.lifetime() || o.spec.TTL > 0 && t-ts <= o.spec.TTL
	for i := range o.spec.Features {
		if f := &o.spec.Features[i]; f.Window > 0 && ts >= oracleFloor(t-f.Window, oracleHop(f)) {
			covered = true
		}
	}
	if !covered {
		return feature.NotFound, feature.NoTime, out
	}
	if o.spec.TTL > 0 && t-ts > o.spec.TTL {
		return feature.OutsideMaxAge, ts, out
	}
	for i := range o.spec.Features {
		f := &o.spec.Features[i]
		if f.Agg.Name == "" {
			out[i] = exactly(o.latest(i))
		} else {
			out[i] = oracleAggregate(f.Agg, o.values(i, f, t))
		}
	}
	return feature.Present, ts, out
}

// latest returns feature i of the event of the highest order.
func (o *oracle) latest(i int) feature.Value {
	last := slices.MaxFunc(o.events, func(a, b oracleEvent) int { return a.at.Compare(&b.at) })
	if last.in[i] == nil {
		return feature.Value{}
	}
	return *last.in[i]
}

// values returns what feature i aggregates at t, by order.
func (o *oracle) values(i int, f *feature.FeatureSpec, t int64) []feature.Value {
	in := slices.Clone(o.events)
	slices.SortFunc(in, func(a, b oracleEvent) int { return a.at.Compare(&b.at) })
	var vs []feature.Value
	for k := range in {
		e := &in[k]
		if f.Window > 0 && (e.at.Time < oracleFloor(t-f.Window, oracleHop(f)) || o.tooLate(e.at.Time, oracleHop(f), o.stream)) {
			continue
		}
		if v := e.in[i]; v != nil && (f.Agg.In == feature.Null || !v.IsNull()) {
			vs = append(vs, *v)
		}
	}
	return vs
}

// expected is a value, and by how much a float64 or a count may be off.
type expected struct {
	v   feature.Value
	tol float64
}

func exactly(v feature.Value) expected { return expected{v: v} }

func (x expected) matches(got feature.Value) bool {
	if x.tol == 0 || x.v.IsNull() || got.IsNull() || x.v.Type() != got.Type() {
		return x.v.Equal(&got)
	}
	if x.v.Type() == feature.Int64 {
		return math.Abs(float64(x.v.Int64()-got.Int64())) <= x.tol
	}
	return math.Abs(x.v.Float64()-got.Float64()) <= x.tol
}

func oracleFloat(v *feature.Value) float64 {
	if v.Type() == feature.Float64 {
		return v.Float64()
	}
	return float64(v.Int64())
}

// oracleAggregate computes an aggregate over values in order.
func oracleAggregate(a feature.AggregatorSpec, vs []feature.Value) expected {
	switch a.Name {
	case "count":
		return exactly(feature.Int64Value(int64(len(vs))))
	case "approx_distinct":
		return expected{v: feature.Int64Value(int64(len(oracleCounts(vs)))), tol: 2}
	}
	if len(vs) == 0 {
		return expected{}
	}
	switch a.Name {
	case "sum", "mean", "variance", "stddev":
		return oracleMoments(a, vs)
	case "min":
		return exactly(slices.MinFunc(vs, func(a, b feature.Value) int { return a.Compare(&b) }))
	case "max":
		return exactly(slices.MaxFunc(vs, func(a, b feature.Value) int { return a.Compare(&b) }))
	case "first":
		return exactly(vs[0])
	case "last":
		return exactly(vs[len(vs)-1])
	case "last_n":
		return exactly(feature.ListValue(a.In, vs[max(0, len(vs)-a.N):]))
	case "approx_quantile":
		slices.SortFunc(vs, func(a, b feature.Value) int { return cmp.Compare(oracleFloat(&a), oracleFloat(&b)) })
		x := oracleFloat(&vs[int(math.Floor(a.Q*float64(len(vs)-1)))])
		return expected{v: feature.Float64Value(x), tol: math.Abs(x)*0.01 + 1e-12}
	case "top_k":
		return oracleTopK(a, vs)
	}
	panic("the oracle does not know " + a.Name)
}

func oracleMoments(a feature.AggregatorSpec, vs []feature.Value) expected {
	sum, abs, square := new(big.Float).SetPrec(300), 0.0, 0.0
	for i := range vs {
		x := new(big.Float).SetPrec(300)
		if vs[i].Type() == feature.Float64 {
			x.SetFloat64(vs[i].Float64())
		} else {
			x.SetInt64(vs[i].Int64())
		}
		f, _ := x.Float64()
		abs, square = abs+math.Abs(f), square+f*f
		sum.Add(sum, x)
	}
	n := float64(len(vs))
	mean := new(big.Float).SetPrec(300).Quo(sum, big.NewFloat(n))
	switch a.Name {
	case "sum":
		if a.In == feature.Int64 {
			i, _ := sum.Int(nil)
			if !i.IsInt64() {
				return expected{}
			}
			return exactly(feature.Int64Value(i.Int64()))
		}
		f, _ := sum.Float64()
		return expected{v: feature.Float64Value(f), tol: abs*1e-12 + 1e-300}
	case "mean":
		f, _ := mean.Float64()
		return expected{v: feature.Float64Value(f), tol: abs*1e-12 + 1e-300}
	}
	m2 := new(big.Float).SetPrec(300)
	for i := range vs {
		d := new(big.Float).SetPrec(300).SetFloat64(oracleFloat(&vs[i]))
		d.Sub(d, mean)
		m2.Add(m2, d.Mul(d, d))
	}
	f, _ := m2.Quo(m2, big.NewFloat(n)).Float64()
	tol := square/n*1e-9 + 1e-300
	if a.Name == "stddev" {
		// An error of tol in the variance is one of at most sqrt(tol) in its root.
		return expected{v: feature.Float64Value(math.Sqrt(f)), tol: math.Sqrt(tol)}
	}
	return expected{v: feature.Float64Value(f), tol: tol}
}

// oracleCounts counts equal values.
func oracleCounts(vs []feature.Value) map[string]int {
	counts := map[string]int{}
	for i := range vs {
		v := vs[i]
		if v.Type() == feature.Float64 && v.Float64() == 0 {
			v = feature.Float64Value(0)
		}
		counts[v.String()]++
	}
	return counts
}

func oracleTopK(a feature.AggregatorSpec, vs []feature.Value) expected {
	counts := oracleCounts(vs)
	slices.SortFunc(vs, func(a, b feature.Value) int {
		return cmp.Or(cmp.Compare(counts[b.String()], counts[a.String()]), a.Compare(&b))
	})
	vs = slices.CompactFunc(vs, func(a, b feature.Value) bool { return a.Equal(&b) })
	return exactly(feature.ListValue(a.In, vs[:min(len(vs), a.K)]))
}
