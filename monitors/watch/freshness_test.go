package watch

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
)

// feed is a profiler of the source orders and a watch of its freshness, over time.
type feed struct {
	*plant
	times *SourceTimes
	clock int64
}

func newFeed(t *testing.T, freshness string) *feed {
	p := loadPlane(t, "10m", freshness)
	f := p.Monitors[0].Freshness[0]
	x := &feed{plant: newPlant(t, p, nil), times: NewSourceTimes(f.Source, []int{2}), clock: start}
	x.times.Partitions([]int32{0, 1}, 2)
	return x
}

// event is an order of a country, of a time, in a partition.
func (x *feed) event(partition int32, country string, at int64) {
	v := feature.StringValue(country)
	if country == "" {
		v = feature.Value{}
	}
	x.times.Add(partition, []feature.Value{feature.Int64Value(1), feature.Float64Value(2), v}, at)
}

// tick lets time pass and commits; whole says that everything was read.
func (x *feed) tick(d time.Duration, whole bool) {
	x.t.Helper()
	x.clock += d.Microseconds()
	if whole {
		x.times.Whole(0, x.clock)
		x.times.Whole(1, x.clock)
	}
	d1 := &Delta{Clock: x.clock, Sources: []SourceDelta{x.times.Delta(x.clock)}}
	got, err := DecodeDelta(encoded(x.t, d1))
	if err != nil || !bytes.Equal(encoded(x.t, got), encoded(x.t, d1)) {
		x.t.Fatalf("the delta does not come back: %v", err)
	}
	if err := x.watch.Add(got); err != nil {
		x.t.Fatal(err)
	}
	x.times.Committed()
	x.commit(x.clock)
	x.restart()
}

func (x *feed) said() []string {
	var out []string
	for _, m := range x.messages() {
		if m.Type.Delivered() {
			var of []string
			for _, f := range m.Features {
				of = append(of, f.Slice)
			}
			slices.Sort(of)
			out = append(out, fmt.Sprintf("%s %s %q", m.Status, m.Group, of))
		}
	}
	return out
}

func TestASourceThatGetsOldIsToldOnce(t *testing.T) {
	x := newFeed(t, "freshness: [{source: orders, max_age: 1h}]")
	for range 24 {
		x.event(0, "de", x.clock)
		x.tick(5*time.Minute, true)
	}
	if len(x.said()) > 0 {
		t.Fatalf("the source is fresh: %q", x.said())
	}
	for range 24 {
		x.tick(5*time.Minute, true)
	}
	if want := []string{`firing orders [""]`}; !slices.Equal(x.said(), want) {
		t.Fatalf("messages %q, want %q", x.said(), want)
	}
	e := x.messages()[0].Evidence[0]
	if e.Kind != alert.Freshness || e.Column != "orders" || e.Effect < 1 || e.Effect > 1.2 || e.Note == "" || x.messages()[0].Summary != "inputs: stale data of orders, source orders" {
		t.Errorf("%q, evidence %+v", x.messages()[0].Summary, e)
	}
	for range 3 {
		x.event(1, "de", x.clock)
		x.tick(6*time.Minute, true)
	}
	if got := x.said(); len(got) != 2 || got[1] != `resolved orders [""]` {
		t.Errorf("messages %q", got)
	}
}

// What has not been read may be fresh, and what was never seen is not old.
func TestWhatIsNotReadIsNotOld(t *testing.T) {
	x := newFeed(t, "freshness: [{source: orders, max_age: 1h}]")
	for range 20 {
		x.tick(10*time.Minute, true) // nothing was ever seen
	}
	x.event(0, "de", x.clock)
	x.tick(time.Minute, true)
	for range 20 {
		x.event(0, "de", start) // a replay of what is long past
		x.tick(10*time.Minute, false)
	}
	if len(x.said()) > 0 || len(x.messages()) > 0 {
		t.Fatalf("messages %q", x.said())
	}
	x.times.Whole(0, x.clock) // one of the partitions
	x.tick(10*time.Minute, false)
	if len(x.said()) > 0 {
		t.Fatalf("half of the source is read: %q", x.said())
	}
	x.tick(10*time.Minute, true)
	x.tick(10*time.Minute, true)
	if got := x.said(); len(got) != 1 {
		t.Errorf("all of it is read, and old: %q", got)
	}
}

func TestASliceThatGetsOldIsToldAlone(t *testing.T) {
	x := newFeed(t, "freshness: [{source: orders, by: country, max_age: 1h}]")
	for k := range 30 {
		x.event(0, "de", x.clock)
		x.event(0, "", x.clock)
		if k < 6 || k > 24 {
			x.event(1, "fr", x.clock)
		}
		x.tick(6*time.Minute, true)
	}
	want := []string{`firing orders ["country=fr"]`, `resolved orders ["country=fr"]`}
	if !slices.Equal(x.said(), want) {
		t.Fatalf("messages %q, want %q", x.said(), want)
	}
	// When everything stops, the source is told, and not each of its slices.
	for range 24 {
		x.tick(6*time.Minute, true)
	}
	if got := x.said(); len(got) != 3 || got[2] != `firing orders [""]` {
		t.Errorf("messages %q", got)
	}
}

// A year that is replayed in seconds is years behind the clock; by its own time only the feed is old that stopped.
func TestAReplayIsJudgedByItsOwnTime(t *testing.T) {
	x := newFeed(t, "freshness: [{source: orders, by: country, max_age: 3d, as_of: stream}]")
	day := int64(24 * time.Hour / time.Microsecond)
	for d := range int64(360) {
		at := start - 5000*day + d*day
		x.event(0, "de", at)
		x.event(1, "us", at+day/2)
		if d < 200 || d > 220 {
			x.event(1, "fr", at+day/3)
		}
		if d%2 == 0 {
			x.tick(100*time.Millisecond, d%3 > 0)
		}
	}
	want := []string{`firing orders ["country=fr"]`, `resolved orders ["country=fr"]`}
	if !slices.Equal(x.said(), want) {
		t.Errorf("messages %q, want %q", x.said(), want)
	}
	for _, m := range x.messages() {
		if from := (int64(m.StartedAt) - start + 5000*day) / day; from < 200 || from > 206 {
			t.Errorf("it began on day %d", from)
		}
	}
	for range 200 { // it is over, and nothing more comes
		x.tick(30*time.Second, true)
	}
	if !slices.Equal(x.said(), want) {
		t.Errorf("messages %q after the end", x.said())
	}
}

func TestSlicesOfASourceAreBounded(t *testing.T) {
	x := newFeed(t, "freshness: [{source: orders, by: country, max_age: 1h}]")
	for k := range int64(3 * maxSourceSlices) {
		x.event(0, fmt.Sprint("c", k), start+k)
		if k%500 == 499 {
			x.tick(time.Second, true)
		}
	}
	s := x.watch.sources["orders"].Slices
	if _, newest := s[fmt.Sprint("country=c", 3*maxSourceSlices-1)]; len(s) != maxSourceSlices || !newest {
		t.Errorf("%d slices are known, the newest among them: %v", len(s), newest)
	}
}

// An event ahead of the clock makes nothing fresher than now.
func TestEventsAheadOfTheClockAreNow(t *testing.T) {
	times := NewSourceTimes(&config.Source{Name: "s", Schema: []config.Field{{Name: "f"}}}, []int{0})
	times.Partitions([]int32{3}, 4)
	times.Add(3, []feature.Value{feature.StringValue("v")}, 500)
	d := times.Delta(100)
	if d.Marks[0].Newest != 100 || d.Slices[0] != (SliceTime{"f=v", 100}) || d.Total != 4 || d.Marks[0].Whole != Unknown {
		t.Errorf("%+v", d)
	}
}
