package feature_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"pgregory.net/rapid"
)

var stateTypes = []feature.Type{feature.Bool, feature.Int64, feature.Float64, feature.String, feature.Bytes, feature.Timestamp}

// allSpecs returns a spec for every aggregation over every type that it takes.
func allSpecs() []feature.AggregatorSpec {
	var specs []feature.AggregatorSpec
	for _, name := range feature.Aggregations() {
		for _, in := range append(stateTypes, feature.Null) {
			s := feature.AggregatorSpec{Name: name, In: in}
			switch name {
			case "approx_quantile":
				s.Q = 0.75
			case "last_n":
				s.N = 3
			case "top_k":
				s.K = 3
			}
			if _, _, err := feature.NewAggregator(s); err == nil {
				specs = append(specs, s)
			}
		}
	}
	return specs
}

// drawValue draws a value of a type, small enough in variety that values repeat.
func drawValue(t *rapid.T, typ feature.Type) feature.Value {
	small := rapid.Int64Range(-3, 5)
	switch typ {
	case feature.Bool:
		return feature.BoolValue(rapid.Bool().Draw(t, "bool"))
	case feature.Int64:
		if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
			return feature.Int64Value(rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, math.MaxInt64 / 2}).Draw(t, "int64"))
		}
		return feature.Int64Value(small.Draw(t, "int64"))
	case feature.Float64:
		if rapid.Bool().Draw(t, "fraction") {
			return feature.Float64Value(rapid.Float64Range(-1e6, 1e6).Draw(t, "float64"))
		}
		return feature.Float64Value(float64(small.Draw(t, "float64")) / 8)
	case feature.String:
		return feature.StringValue(strings.Repeat("é", int(small.Draw(t, "string")+3)))
	case feature.Bytes:
		return feature.BytesValue(strings.Repeat("\x00\xff", int(small.Draw(t, "bytes")+3)))
	case feature.Timestamp:
		return feature.TimestampValue(small.Draw(t, "timestamp") * 1e15)
	}
	vs := make([]feature.Value, rapid.IntRange(0, 3).Draw(t, "length"))
	for i := range vs {
		vs[i] = drawValue(t, typ.Elem())
	}
	return feature.ListValue(typ.Elem(), vs)
}

var stateWindows = []int64{1, 999_999, 1e6, 7e6, 30e6, 60e6, 61e6, 120e6, 720e6, 3600e6, 86400e6}

// drawSpec draws a view.
func drawSpec(t *rapid.T) feature.LayoutSpec {
	specs := allSpecs()
	spec := feature.LayoutSpec{
		TTL:         rapid.SampledFrom([]int64{0, 0, 1, 5e6, 60e6, 600e6, 7200e6}).Draw(t, "ttl"),
		AllowedSkew: rapid.SampledFrom([]int64{0, 1, 3e6, 300e6}).Draw(t, "skew"),
	}
	windowsOnly := rapid.Bool().Draw(t, "windows only")
	windows := rapid.SliceOfN(rapid.SampledFrom(stateWindows), 1, 3).Draw(t, "windows")
	names := rapid.Permutation([]string{"e", "b", "d", "a", "c", "f"}).Draw(t, "names")
	for i := range rapid.IntRange(1, 6).Draw(t, "features") {
		f := feature.FeatureSpec{Name: names[i]}
		kind := rapid.IntRange(0, 4).Draw(t, "kind")
		switch {
		case kind == 0 && !windowsOnly:
			f.Type = rapid.SampledFrom(stateTypes).Draw(t, "type")
			if rapid.IntRange(0, 3).Draw(t, "list") == 0 {
				f.Type = feature.ListOf(f.Type)
			}
		default:
			f.Agg = rapid.SampledFrom(specs).Draw(t, "aggregate")
			if kind != 1 || windowsOnly {
				f.Window = rapid.SampledFrom(windows).Draw(t, "window")
			}
		}
		spec.Features = append(spec.Features, f)
	}
	return spec
}

// drawEvents draws events around the edges of hops and windows: in order, late, of equal times, ahead.
func drawEvents(t *rapid.T, spec feature.LayoutSpec, n int) []oracleEvent {
	now := rapid.SampledFrom([]int64{0, -5e6, -1e15, 1.7e15, 1.7e15 + 123_456}).Draw(t, "start")
	stream := now
	events := make([]oracleEvent, n)
	for i := range events {
		f := rapid.SampledFrom(spec.Features).Draw(t, "feature")
		hop, w := int64(1e6), int64(60e6)
		if f.Window > 0 {
			hop, w = oracleHop(&f), f.Window
		}
		now += rapid.SampledFrom([]int64{0, 1, hop / 3, hop, 3 * hop, w, w + hop}).Draw(t, "pass")
		time := now
		switch rapid.IntRange(0, 7).Draw(t, "place") {
		case 0:
			time = oracleFloor(time, hop) + rapid.Int64Range(-1, 1).Draw(t, "edge")
		case 1:
			time -= rapid.Int64Range(0, 3).Draw(t, "windows") * w
		case 2:
			time -= rapid.Int64Range(0, 2*(w+2*hop+spec.AllowedSkew)).Draw(t, "late")
		case 3:
			time += rapid.Int64Range(0, spec.AllowedSkew).Draw(t, "ahead")
		case 4:
			if i > 0 {
				time = events[rapid.IntRange(0, i-1).Draw(t, "same")].at.Time
			}
		}
		stream = max(stream, time)
		e := oracleEvent{stream: stream, at: feature.Order{
			Time: time, Ordinal: uint8(rapid.IntRange(0, 2).Draw(t, "ordinal")),
			Partition: rapid.Int32Range(-1, 2).Draw(t, "partition"), Offset: int64(1000 - 7*i),
		}}
		for _, f := range spec.Features {
			var v *feature.Value
			typ := f.Agg.In
			if f.Agg.Name == "" {
				typ = f.Type
			}
			switch k := rapid.IntRange(0, 7).Draw(t, "input"); {
			case k == 0:
			case k == 1 || typ == feature.Null:
				v = new(feature.Value)
			default:
				x := drawValue(t, typ)
				v = &x
			}
			e.in = append(e.in, v)
		}
		events[i] = e
	}
	return events
}

// allFeatures returns the indices of all features of a layout.
func allFeatures(l *feature.Layout) []int {
	want := make([]int, l.NumFeatures())
	for i := range want {
		want[i] = i
	}
	return want
}

// drawTimes draws read times around the edges of windows, as far back as blobs answer.
func drawTimes(t *rapid.T, o *oracle) []int64 {
	times := []int64{o.stream}
	for range 6 {
		f := rapid.SampledFrom(o.spec.Features).Draw(t, "read feature")
		hop, w := int64(1e6), int64(1e6)
		if f.Window > 0 {
			hop, w = oracleHop(&f), f.Window
		}
		e := rapid.SampledFrom(o.events).Draw(t, "read event")
		at := rapid.SampledFrom([]int64{o.stream, e.at.Time, e.at.Time + o.spec.TTL, oracleFloor(e.at.Time, hop) + w}).Draw(t, "read at")
		at += rapid.SampledFrom([]int64{0, 1, -1, hop, hop - 1, hop + 1, w}).Draw(t, "read shift")
		times = append(times, max(at, o.stream-o.spec.AllowedSkew))
	}
	return times
}

func checkRead(t *rapid.T, what string, o *oracle, at int64, st feature.Status, ts int64, got []feature.Value) {
	t.Helper()
	wantSt, wantTs, want := o.read(at)
	if st != wantSt || ts != wantTs {
		t.Fatalf("%s at %d: %v at %d; want %v at %d", what, at, st, ts, wantSt, wantTs)
	}
	for i := range want {
		if !want[i].matches(got[i]) {
			t.Fatalf("%s at %d: feature %d (%+v) is %v; want %v within %g", what, at, i, o.spec.Features[i], got[i], want[i].v, want[i].tol)
		}
	}
}

// store is what a changelog keeps.
type store map[string][]byte

func (s store) flush(l *feature.Layout, e *feature.Entity) (cells int) {
	var scratch []byte
	l.Flush(e, &scratch, func(c feature.Cell, value []byte) {
		cells++
		key := storeKey(c)
		if value == nil {
			delete(s, key)
		} else {
			s[key] = bytes.Clone(value)
		}
	})
	return cells
}

func (s store) restore(t interface{ Fatalf(string, ...any) }, l *feature.Layout) *feature.Entity {
	e := new(feature.Entity)
	seen := map[feature.Cell]bool{}
	one := func(c feature.Cell, _ []byte) {
		if seen[c] {
			t.Fatalf("two cells have tile %+v", c)
		}
		seen[c] = true
	}
	for key, value := range s {
		view, entity, c, err := feature.ParseCellKey([]byte(key))
		if err != nil || view != [8]byte{7} || string(entity) != "key" {
			t.Fatalf("ParseCellKey(%x) = %x, %q, %v", key, view, entity, err)
		}
		if err := l.Restore(e, c, value); err != nil {
			t.Fatalf("Restore(%+v, %x): %v", c, value, err)
		}
		one(c, value)
		if c == headCell {
			if err := feature.HeadTiles(value, one); err != nil {
				t.Fatalf("head cell %x: %v", value, err)
			}
		}
	}
	return e
}

// headCell names the cell of the newest tiles.
var headCell = feature.Cell{Start: 1}

func storeKey(c feature.Cell) string {
	return string(feature.AppendCellKey(nil, [8]byte{7}, []byte("key"), c))
}

// former makes of the head cell what earlier versions have: a cell for each tile.
func (s store) former(t *rapid.T) {
	head, ok := s[storeKey(headCell)]
	if !ok {
		return
	}
	delete(s, storeKey(headCell))
	if err := feature.HeadTiles(head, func(c feature.Cell, own []byte) { s[storeKey(c)] = own }); err != nil {
		t.Fatalf("head cell %x: %v", head, err)
	}
}

// sweep deletes what has expired, as is done to entities that are not in memory.
func (s store) sweep(t *rapid.T, l *feature.Layout, stream int64) {
	for key, value := range s {
		_, _, c, err := feature.ParseCellKey([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if l.ExpiredCell(c, value, stream) {
			delete(s, key)
		}
	}
}

// published is an entity's blobs in the online store, written as a materializer does.
type published struct {
	head, tail []byte
	tailV      feature.Version
	offset     uint64
}

func (p *published) publish(l *feature.Layout, e *feature.Entity) {
	p.offset++
	v := feature.MakeVersion(3, 1, p.offset, 0)
	if e.TailChanged() {
		p.tail, p.tailV = l.AppendTail(nil, e, v), v
		e.ClearTailChanged()
	}
	p.head = l.AppendHead(nil, e, v, p.tailV)
}

// TestStateMatchesOracle: whatever arrives in whatever order, through flushes, restarts and publishes of the head alone,
// reads from memory and from blobs are what plain loops over the raw events say.
func TestStateMatchesOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		l, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "pages") {
			feature.PageAlways(l, 200)
		}
		o := &oracle{spec: spec, stream: math.MinInt64}
		e, cells, online := new(feature.Entity), store{}, new(published)
		var r feature.Reader
		want, got, blob := allFeatures(l), make([]feature.Value, l.NumFeatures()), make([]feature.Value, l.NumFeatures())
		for _, ev := range drawEvents(t, spec, rapid.IntRange(1, 40).Draw(t, "events")) {
			late := l.Apply(e, &ev.at, ev.in, ev.stream)
			if want := o.late(ev.at.Time, ev.stream); late != want {
				t.Fatalf("event at %d, stream time %d: %d late updates; want %d", ev.at.Time, ev.stream, late, want)
			}
			o.events, o.stream = append(o.events, ev), ev.stream
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				cells.flush(l, e)
			case 1:
				cells.flush(l, e)
				restored := cells.restore(t, l)
				checkSame(t, l, e, restored)
				e = restored
			case 2: // it comes from an earlier version
				cells.flush(l, e)
				cells.former(t)
				restored := cells.restore(t, l)
				checkSame(t, l, e, restored)
				e = restored
			case 3: // it leaves memory, and comes back after the sweep
				cells.flush(l, e)
				cells.sweep(t, l, o.stream)
				e = cells.restore(t, l)
			}
			if rapid.Bool().Draw(t, "publish") {
				online.publish(l, e)
			}
			if rapid.IntRange(0, 4).Draw(t, "read") > 0 {
				continue
			}
			online.publish(l, e)
			for _, at := range drawTimes(t, o) {
				st, ts := r.ReadEntity(l, e, at, want, got)
				checkRead(t, "memory", o, at, st, ts, got)
				bst, bts, _, err := r.Read(l, online.head, online.tail, at, want, blob)
				if err != nil || bst != st || bts != ts {
					t.Fatalf("blobs at %d: %v at %d, %v; memory has %v at %d", at, bst, bts, err, st, ts)
				}
				checkRead(t, "blobs", o, at, bst, bts, blob)
				for i := range got {
					if exact(spec.Features[i].Agg) && !got[i].Equal(&blob[i]) {
						t.Fatalf("feature %d at %d: %v from blobs, %v from memory", i, at, blob[i], got[i])
					}
				}
			}
		}
		cells.flush(l, e)
		if n := cells.flush(l, e); n != 0 || l.Dirty(e) {
			t.Fatalf("%d cells changed between two flushes; dirty: %v", n, l.Dirty(e))
		}
		if e.Empty() != (len(cells) == 0) {
			t.Fatalf("entity empty: %v, with %d cells", e.Empty(), len(cells))
		}
	})
}

// checkSame fails unless both entities publish equal bytes.
func checkSame(t *rapid.T, l *feature.Layout, a, b *feature.Entity) {
	t.Helper()
	v := feature.MakeVersion(1, 2, 3, 4)
	if x, y := l.AppendTail(nil, a, v), l.AppendTail(nil, b, v); !bytes.Equal(x, y) {
		t.Fatalf("tails differ:\n%x\n%x", x, y)
	}
	if x, y := l.AppendHead(nil, a, v, v), l.AppendHead(nil, b, v, v); !bytes.Equal(x, y) {
		t.Fatalf("heads differ:\n%x\n%x", x, y)
	}
	if !b.TailChanged() && b.EventTime() != feature.NoTime {
		t.Fatal("a restored entity does not ask for its tail to be written")
	}
}

// TestArrivalOrder: the order of arrival does not change what is read, only the rounding of float sums.
func TestArrivalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		l, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		events := drawEvents(t, spec, rapid.IntRange(1, 25).Draw(t, "events"))
		o := &oracle{spec: spec, events: events, stream: events[len(events)-1].stream}
		order := make([]int, len(events))
		for i := range order {
			order[i] = i
		}
		e := new(feature.Entity)
		for _, i := range rapid.Permutation(order).Draw(t, "order") {
			l.Apply(e, &events[i].at, events[i].in, o.stream)
		}
		var r feature.Reader
		got := make([]feature.Value, l.NumFeatures())
		for _, at := range drawTimes(t, o) {
			st, ts := r.ReadEntity(l, e, at, allFeatures(l), got)
			checkRead(t, "permuted", o, at, st, ts, got)
		}
	})
}

// TestReplayIsDeterministic: the same log gives the same bytes, with a restart anywhere.
func TestReplayIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		l, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		events := drawEvents(t, spec, rapid.IntRange(1, 25).Draw(t, "events"))
		crash := rapid.IntRange(0, len(events)-1).Draw(t, "crash")
		a, b, cells := new(feature.Entity), new(feature.Entity), store{}
		for i, ev := range events {
			l.Apply(a, &ev.at, ev.in, ev.stream)
			l.Apply(b, &ev.at, ev.in, ev.stream)
			if i == crash {
				cells.flush(l, b)
				b = cells.restore(t, l)
			}
		}
		v := feature.MakeVersion(1, 0, 9, 0)
		if x, y := l.AppendHead(nil, a, v, v), l.AppendHead(nil, b, v, v); !bytes.Equal(x, y) {
			t.Fatalf("heads differ:\n%x\n%x", x, y)
		}
		if x, y := l.AppendTail(nil, a, v), l.AppendTail(nil, b, v); !bytes.Equal(x, y) {
			t.Fatalf("tails differ:\n%x\n%x", x, y)
		}
	})
}

// TestFeatureOrderIsNotStored: a definition that lists its features in another order reads the same stored bytes.
func TestFeatureOrderIsNotStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		order := make([]int, len(spec.Features))
		for i := range order {
			order[i] = i
		}
		order = rapid.Permutation(order).Draw(t, "order")
		other := spec
		other.Features = nil
		for _, i := range order {
			other.Features = append(other.Features, spec.Features[i])
		}
		l, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		m, err := feature.NewLayout(other)
		if err != nil {
			t.Fatal(err)
		}
		a, b := new(feature.Entity), new(feature.Entity)
		for _, ev := range drawEvents(t, spec, 12) {
			var in []*feature.Value
			for _, i := range order {
				in = append(in, ev.in[i])
			}
			l.Apply(a, &ev.at, ev.in, ev.stream)
			m.Apply(b, &ev.at, in, ev.stream)
		}
		x, y := store{}, store{}
		x.flush(l, a)
		y.flush(m, b)
		if fmt.Sprint(x) != fmt.Sprint(y) {
			t.Fatalf("stored bytes differ:\n%x\n%x", x, y)
		}
	})
}
