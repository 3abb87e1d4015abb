package feature_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

// benchSpec has count, sum and max over each window.
func benchSpec(windows ...int64) feature.LayoutSpec {
	spec := feature.LayoutSpec{AllowedSkew: 300e6}
	for i, w := range windows {
		for _, agg := range []feature.AggregatorSpec{
			{Name: "count"}, {Name: "sum", In: feature.Float64}, {Name: "max", In: feature.Float64},
		} {
			spec.Features = append(spec.Features, feature.FeatureSpec{Name: fmt.Sprintf("%s_%d", agg.Name, i), Agg: agg, Window: w})
		}
	}
	return spec
}

// eightSpec has eight features over one hour.
func eightSpec() feature.LayoutSpec {
	spec := feature.LayoutSpec{}
	for _, agg := range []feature.AggregatorSpec{
		{Name: "count"},
		{Name: "sum", In: feature.Float64},
		{Name: "mean", In: feature.Float64},
		{Name: "min", In: feature.Float64},
		{Name: "max", In: feature.Float64},
		{Name: "variance", In: feature.Float64},
		{Name: "sum", In: feature.Int64},
		{Name: "last", In: feature.Int64},
	} {
		spec.Features = append(spec.Features, feature.FeatureSpec{Name: agg.Name + agg.In.String(), Agg: agg, Window: 3600e6})
	}
	return spec
}

func mustLayout(t testing.TB, spec feature.LayoutSpec) *feature.Layout {
	l, err := feature.NewLayout(spec)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// inputs returns an input for each feature that points to one value of its type.
func inputs(spec feature.LayoutSpec) []*feature.Value {
	i, f, n := feature.Int64Value(3), feature.Float64Value(2.5), feature.Value{}
	in := make([]*feature.Value, len(spec.Features))
	for k := range spec.Features {
		switch spec.Features[k].Agg.In {
		case feature.Int64:
			in[k] = &i
		case feature.Float64:
			in[k] = &f
		default:
			in[k] = &n
		}
	}
	return in
}

// filled returns an entity with an event every step until.
func filled(l *feature.Layout, in []*feature.Value, step, until int64) *feature.Entity {
	e := new(feature.Entity)
	for t := int64(0); t <= until; t += step {
		l.Apply(e, &feature.Order{Time: t, Ordinal: 1, Offset: t}, in, t)
	}
	return e
}

// TestNoAllocations: the hot paths allocate nothing once an entity has its size.
func TestNoAllocations(t *testing.T) {
	spec := eightSpec()
	spec.Features = append(spec.Features, feature.FeatureSpec{Name: "row", Type: feature.Int64}, feature.FeatureSpec{Name: "ever", Agg: feature.AggregatorSpec{Name: "count"}})
	l, in := mustLayout(t, spec), inputs(spec)
	e := filled(l, in, 20e6, 7200e6)
	at := feature.Order{Time: 7200e6, Ordinal: 1}
	var scratch, head, tail []byte
	l.Flush(e, &scratch, func(feature.Cell, []byte) {})
	v := feature.MakeVersion(1, 2, 3, 4)
	apply := func() {
		at.Time += 20e6
		at.Offset++
		l.Apply(e, &at, in, at.Time)
		l.Flush(e, &scratch, func(feature.Cell, []byte) {})
	}
	for range 200 {
		apply()
	}
	if n := testing.AllocsPerRun(1000, apply); n != 0 {
		t.Errorf("Apply and Flush allocate %v times", n)
	}
	head, tail = l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)
	if n := testing.AllocsPerRun(100, func() { head, tail = l.AppendHead(head[:0], e, v, v), l.AppendTail(tail[:0], e, v) }); n != 0 {
		t.Errorf("AppendHead and AppendTail allocate %v times", n)
	}
	var r feature.Reader
	want, out := allFeatures(l), make([]feature.Value, l.NumFeatures())
	if n := testing.AllocsPerRun(100, func() {
		if _, _, _, err := r.Read(l, head, tail, at.Time, want, out); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Read allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { r.ReadEntity(l, e, at.Time, want, out) }); n != 0 {
		t.Errorf("ReadEntity allocates %v times", n)
	}
}

// TestEntityBytes: what an entity says of its size is about what the heap grows by.
func TestEntityBytes(t *testing.T) {
	for _, tc := range []struct {
		name        string
		spec        feature.LayoutSpec
		step, until int64
		most        int
	}{
		{"one event, one window", benchSpec(3600e6), 1, 0, 150},
		{"one event, three windows", benchSpec(60e6, 3600e6, 86400e6), 1, 0, 260},
		{"an event a minute for an hour, three windows", benchSpec(60e6, 3600e6, 86400e6), 60e6, 3600e6, 3600},
		{"full, eight features", eightSpec(), 60e6, 7200e6, 12000},
	} {
		l, in := mustLayout(t, tc.spec), inputs(tc.spec)
		// Enough of them that what else the heap holds or lets go of meanwhile does not count.
		n := 8 << 20 / tc.most
		entities := make([]*feature.Entity, n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range entities {
			entities[i] = filled(l, in, tc.step, tc.until)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap, told := int(after.HeapAlloc-before.HeapAlloc)/n, entities[0].Bytes()
		t.Logf("%s: %d bytes on the heap, %d told", tc.name, heap, told)
		if heap > tc.most || told > heap*12/10 || told < heap*8/10 {
			t.Errorf("%s: %d bytes on the heap, %d told; want at most %d and both alike", tc.name, heap, told, tc.most)
		}
		runtime.KeepAlive(entities)
	}
}

func BenchmarkApply(b *testing.B) {
	for _, bc := range []struct {
		name string
		spec feature.LayoutSpec
	}{
		{"1hop3aggs", benchSpec(3600e6)},
		{"3hops9aggs", benchSpec(60e6, 3600e6, 86400e6)},
		{"1hop8aggs", eightSpec()},
	} {
		b.Run(bc.name, func(b *testing.B) {
			l, in := mustLayout(b, bc.spec), inputs(bc.spec)
			e := filled(l, in, 60e6, 86400e6)
			at := feature.Order{Time: 86400e6, Ordinal: 1}
			b.ReportAllocs()
			for b.Loop() {
				at.Time += 100_000
				at.Offset++
				l.Apply(e, &at, in, at.Time)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	spec := eightSpec()
	l, in := mustLayout(b, spec), inputs(spec)
	e := filled(l, in, 20e6, 3599e6)
	v := feature.MakeVersion(1, 2, 3, 4)
	head, tail := l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)
	want, out := allFeatures(l), make([]feature.Value, l.NumFeatures())
	var r feature.Reader
	b.Run("blobs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, err := r.Read(l, head, tail, 3599e6, want, out); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(head)+len(tail)), "blob-bytes")
	})
	b.Run("memory", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ReadEntity(l, e, 3599e6, want, out)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, bc := range []struct {
		name string
		spec feature.LayoutSpec
	}{{"1hop3aggs", benchSpec(3600e6)}, {"1hop8aggs", eightSpec()}, {"3hops9aggs", benchSpec(60e6, 3600e6, 86400e6)}} {
		l, in := mustLayout(b, bc.spec), inputs(bc.spec)
		e := filled(l, in, 20e6, 3599e6)
		v := feature.MakeVersion(1, 2, 3, 4)
		var buf []byte
		b.Run("head/"+bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = l.AppendHead(buf[:0], e, v, v)
			}
			b.ReportMetric(float64(len(buf)), "blob-bytes")
		})
		b.Run("tail/"+bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = l.AppendTail(buf[:0], e, v)
			}
			b.ReportMetric(float64(len(buf)), "blob-bytes")
		})
	}
}
