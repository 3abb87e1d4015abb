package feature_test

import (
	"math"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"pgregory.net/rapid"
)

// TestLateIsJudgedPerTile: a tile takes events until stream time passes its end + longest window of the hop + hop + skew.
func TestLateIsJudgedPerTile(t *testing.T) {
	const s = feature.Second
	count := feature.AggregatorSpec{Name: "count"}
	l, err := feature.NewLayout(feature.LayoutSpec{AllowedSkew: 7 * s, Features: []feature.FeatureSpec{
		{Name: "a", Agg: count, Window: 90 * s},    // hop 2 s
		{Name: "b", Agg: count, Window: 120 * s},   // hop 2 s, the longest of it
		{Name: "c", Agg: count, Window: 3600 * s},  // hop 60 s
		{Name: "d", Agg: count, Window: 59*s + 11}, // hop 1 s
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tile := range []int64{0, 40 * s, -40 * s} {
		for _, offset := range []int64{0, 1, 2*s - 1} {
			edge := tile + 2*s + 120*s + 2*s + 7*s
			for stream, want := range map[int64]int{
				edge:     1, // only the tile of hop 1 s is gone
				edge + 1: 2,
				edge + s: 2,
			} {
				in := make([]*feature.Value, 4)
				for i := range in {
					in[i] = new(feature.Value)
				}
				e := new(feature.Entity)
				if late := l.Apply(e, &feature.Order{Time: tile + offset}, in, stream); late != want {
					t.Errorf("event at %d, stream time %d: %d late; want %d", tile+offset, stream, late, want)
				}
				c := feature.Cell{Hop: 2, Start: tile}
				if got := l.Expired(c, stream); got != (want == 2) {
					t.Errorf("Expired(%+v, %d) = %v, beside %d late", c, stream, got, want)
				}
			}
		}
	}
}

// TestTrimFollowsStreamTimeAlone: tiles go when stream time passes, and their cells are deleted.
func TestTrimFollowsStreamTimeAlone(t *testing.T) {
	const s = feature.Second
	l, err := feature.NewLayout(feature.LayoutSpec{TTL: 300 * s, Features: []feature.FeatureSpec{
		{Name: "n", Agg: feature.AggregatorSpec{Name: "count"}, Window: 60 * s},
	}})
	if err != nil {
		t.Fatal(err)
	}
	in := []*feature.Value{new(feature.Value)}
	e, cells := new(feature.Entity), store{}
	for i := range int64(5) {
		l.Apply(e, &feature.Order{Time: i * s}, in, 4*s)
	}
	cells.flush(l, e)
	if len(cells) != 6 {
		t.Fatalf("%d cells; want 5 tiles and the entity cell", len(cells))
	}
	l.Trim(e, 2*s+62*s) // the tiles that begin at 0 and 1 s are gone
	l.Trim(e, 0)
	if n := cells.flush(l, e); n != 2 || len(cells) != 4 {
		t.Fatalf("%d changes, %d cells after the trim; want 2 deletions, 4 cells", n, len(cells))
	}
	l.Trim(e, 4*s+l.KeepFor())
	if n := cells.flush(l, e); n != 3 || len(cells) != 1 || e.Empty() {
		t.Fatalf("%d changes, %d cells; want the entity cell to remain until its time is over", n, len(cells))
	}
	l.Trim(e, 4*s+l.KeepFor()+1)
	if !e.Empty() || !l.Dirty(e) {
		t.Fatalf("empty %v, dirty %v after its time is over", e.Empty(), l.Dirty(e))
	}
	if cells.flush(l, e); len(cells) != 0 || l.Dirty(e) {
		t.Fatalf("%d cells remain, dirty %v", len(cells), l.Dirty(e))
	}
	// What expired and was not flushed yet is overwritten by the next event, not deleted after it.
	l.Apply(e, &feature.Order{Time: 0}, in, 0)
	cells.flush(l, e)
	l.Trim(e, 1000*s)
	l.Apply(e, &feature.Order{Time: 1000 * s}, in, 1000*s)
	cells.flush(l, e)
	if back := cells.restore(t, l); back.EventTime() != 1000*s || len(cells) != 2 {
		t.Fatalf("%d cells of an entity at %d", len(cells), back.EventTime())
	}
}

// TestOneCellForOneEvent: a view of one window changes one cell for an event.
func TestOneCellForOneEvent(t *testing.T) {
	l, err := feature.NewLayout(feature.LayoutSpec{TTL: 3600e6, Features: []feature.FeatureSpec{
		{Name: "n", Agg: feature.AggregatorSpec{Name: "count"}, Window: 3600e6},
	}})
	if err != nil {
		t.Fatal(err)
	}
	e, cells := new(feature.Entity), store{}
	for i := range int64(100) {
		l.Apply(e, &feature.Order{Time: i * 10e6}, []*feature.Value{new(feature.Value)}, i*10e6)
		if n := cells.flush(l, e); n != 1 {
			t.Fatalf("event %d changed %d cells", i, n)
		}
	}
}

// TestTailChangesOnlyWithClosedTiles: the tail is rewritten when a tile closes or a closed one is corrected.
func TestTailChangesOnlyWithClosedTiles(t *testing.T) {
	l, err := feature.NewLayout(feature.LayoutSpec{AllowedSkew: 60e6, Features: []feature.FeatureSpec{
		{Name: "n", Agg: feature.AggregatorSpec{Name: "count"}, Window: 60e6},
	}})
	if err != nil {
		t.Fatal(err)
	}
	e := new(feature.Entity)
	for i, step := range []struct {
		time int64
		want bool
	}{
		{0, false},
		{999_999, false}, // the first tile
		{1e6, true},
		{1e6, false},
		{1_500_000, false}, // it closes
		{999_999, true},
		{1e6, false}, // it is corrected
		{-1, true},
		{1_999_999, false}, // one appears before it
		{3e6, true},
		{2e6, true}, // one appears between
	} {
		l.Apply(e, &feature.Order{Time: step.time}, []*feature.Value{new(feature.Value)}, 3e6)
		if e.TailChanged() != step.want {
			t.Errorf("step %d, event at %d: tail changed %v", i, step.time, e.TailChanged())
		}
		e.ClearTailChanged()
	}
}

// TestTimesOutOfRange: an event whose time no calendar has is dropped whole and counted; nothing overflows at the bounds.
func TestTimesOutOfRange(t *testing.T) {
	l, err := feature.NewLayout(feature.LayoutSpec{Features: []feature.FeatureSpec{
		{Name: "n", Agg: feature.AggregatorSpec{Name: "count"}, Window: 3600e6},
		{Name: "ever", Agg: feature.AggregatorSpec{Name: "count"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	in := []*feature.Value{new(feature.Value), new(feature.Value)}
	for _, time := range []int64{math.MinInt64, feature.MinTime - 1, feature.MaxTime + 1, math.MaxInt64} {
		e := new(feature.Entity)
		if late := l.Apply(e, &feature.Order{Time: time}, in, time); late != 1 || !e.Empty() {
			t.Errorf("event at %d: %d late, empty %v", time, late, e.Empty())
		}
	}
	windows, err := feature.NewLayout(feature.LayoutSpec{Features: []feature.FeatureSpec{
		{Name: "n", Agg: feature.AggregatorSpec{Name: "count"}, Window: 3600e6},
		{Name: "of_day", Agg: feature.AggregatorSpec{Name: "count"}, Window: 86400e6},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, time := range []int64{feature.MinTime, feature.MaxTime} {
		for _, l := range []*feature.Layout{l, windows} {
			e, cells := new(feature.Entity), store{}
			l.Apply(e, &feature.Order{Time: time}, in, time)
			cells.flush(l, e)
			back := cells.restore(t, l)
			var r feature.Reader
			out := make([]feature.Value, 2)
			if st, ts := r.ReadEntity(l, back, time, []int{0, 1}, out); st != feature.Present || ts != time || out[0].Int64() != 1 || out[1].Int64() != 1 {
				t.Errorf("event at %d, read then: %v at %d, %v", time, st, ts, out)
			}
		}
		e := new(feature.Entity)
		l.Apply(e, &feature.Order{Time: time}, in, time)
		var r feature.Reader
		out := make([]feature.Value, 2)
		for _, at := range []int64{math.MinInt64, math.MaxInt64} {
			if st, ts := r.ReadEntity(l, e, at, []int{0, 1}, out); st != feature.Present || ts != time || out[1].Int64() != 1 {
				t.Errorf("event at %d, read at %d: %v at %d, %v", time, at, st, ts, out)
			}
		}
	}
}

// TestWorstCaseOfFullEntity: every tile that can be kept, each in its cell, comes to what was told.
func TestWorstCaseOfFullEntity(t *testing.T) {
	count := feature.AggregatorSpec{Name: "count"}
	for _, windows := range [][]int64{{60e6}, {60e6, 3600e6}, {60e6, 3600e6, 86400e6}} {
		var spec feature.LayoutSpec
		var in []*feature.Value
		for i, w := range windows {
			spec.Features = append(spec.Features, feature.FeatureSpec{Name: string(rune('a' + i)), Agg: count, Window: w})
			in = append(in, new(feature.Value))
		}
		l, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		e, now := new(feature.Entity), int64(86400e6)*1000
		for _, w := range windows {
			for k := range int64(70) {
				l.Apply(e, &feature.Order{Time: now - k*feature.Hop(w, false), Offset: k}, in, now)
			}
		}
		cells, stored := store{}, 0
		cells.flush(l, e)
		for _, value := range cells {
			stored += len(value)
		}
		if told, _ := l.WorstCase(); stored > told || stored < told*9/10 {
			t.Errorf("windows %v: %d bytes in %d cells; told were %d", windows, stored, len(cells), told)
		}
	}
}

func TestNewLayoutRefuses(t *testing.T) {
	count := feature.AggregatorSpec{Name: "count"}
	for _, tc := range []struct {
		spec feature.LayoutSpec
		want string
	}{
		{feature.LayoutSpec{}, "no features"},
		{feature.LayoutSpec{TTL: -1, Features: []feature.FeatureSpec{{Name: "a", Agg: count}}}, "ttl of -1"},
		{feature.LayoutSpec{AllowedSkew: -1, Features: []feature.FeatureSpec{{Name: "a", Agg: count}}}, "allowed skew of -1"},
		{feature.LayoutSpec{Features: []feature.FeatureSpec{{Name: "a", Agg: count, Window: -5}}}, `feature "a": window of -5`},
		{feature.LayoutSpec{Features: []feature.FeatureSpec{{Name: "a", Agg: count, Window: 1 << 62}}}, `feature "a": window of`},
		{feature.LayoutSpec{Features: []feature.FeatureSpec{{Name: "a", Agg: count}, {Name: "a", Agg: count}}}, `two features are named "a"`},
		{feature.LayoutSpec{Features: []feature.FeatureSpec{{Name: "a"}}}, `feature "a": type null`},
		{feature.LayoutSpec{Features: []feature.FeatureSpec{{Name: "a", Type: feature.Int64, Window: 5}}}, "has no window"},
		{feature.LayoutSpec{Features: []feature.FeatureSpec{{Name: "a", Agg: feature.AggregatorSpec{Name: "cuont"}}}}, `feature "a": unknown aggregate "cuont"`},
	} {
		if _, err := feature.NewLayout(tc.spec); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("NewLayout(%+v) = %v; want %q", tc.spec, err, tc.want)
		}
	}
}

// TestWorstCase: no entity is larger than what is told of its layout.
func TestWorstCase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		l, err := feature.NewLayout(spec)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "pages") {
			feature.PageAlways(l, 512)
		}
		e := new(feature.Entity)
		for _, ev := range drawEvents(t, spec, 60) {
			l.Apply(e, &ev.at, ev.in, ev.stream)
		}
		cells, stored := store{}, 0
		cells.flush(l, e)
		for _, value := range cells {
			stored += len(value)
		}
		var v feature.Version
		head, tail := l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)
		var r partsReader
		if _, _, err := r.read(l, head, tail, e.EventTime(), allFeatures(l), make([]feature.Value, l.NumFeatures())); err != nil {
			t.Fatal(err)
		}
		if entity, lookup := l.WorstCase(); stored > entity || r.bytes > lookup {
			t.Fatalf("%d bytes stored, %d looked up; told were %d and %d", stored, r.bytes, entity, lookup)
		}
	})
}
