package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// builder returns a builder of a plane's views in the world.
func (w *world) builder(p *config.Plane, step func(string) error) *Builder {
	o := w.options(p)
	return NewBuilder(BuilderOptions{
		Plane: p, Kafka: o.Kafka, Client: o.Client, Online: w.redis, Fields: w.redis, Logger: o.Logger, Dir: w.t.TempDir(), Step: step,
	})
}

func (w *world) build(p *config.Plane, view string, h History, step func(string) error) error {
	i := slices.IndexFunc(p.Views, func(v *config.View) bool { return v.Name == view })
	return w.builder(p, step).Build(w.t.Context(), p.Views[i], h, func(BuildProgress) {})
}

// stateOf returns the id of the state under which a view is recorded.
func (w *world) stateOf(view string) (rec ViewRecord) {
	w.t.Helper()
	recorded, err := w.builder(w.plane, nil).rt.registry().read(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return recorded[view]
}

// archive reads the source topic as an offline store would have kept it.
func (w *world) archive() History {
	w.t.Helper()
	src := w.plane.Sources[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.seeds...), kgo.ConsumeTopics(w.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	rd, err := ingest.NewReader(src)
	if err != nil {
		w.t.Fatal(err)
	}
	var rows []PastEvent
	for len(rows) < len(w.events) {
		cl.PollFetches(w.t.Context()).EachRecord(func(r *kgo.Record) {
			row := make([]feature.Value, len(src.Schema))
			at, _, bad := rd.Read(r, row)
			if bad != nil {
				w.t.Fatal(bad)
			}
			rows = append(rows, PastEvent{Row: row, Order: feature.Order{Time: at, Ordinal: 1, Partition: r.Partition, Offset: r.Offset}})
		})
	}
	return func(_ context.Context, below []int64, fold func(*PastEvent) error) error {
		for i := range rows {
			if o := rows[i].Order; o.Offset >= below[o.Partition] {
				continue
			}
			if err := fold(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// changedViews are the test plane with other definitions under the same names: the oracle's features and one more.
func (w *world) changed() *config.Plane {
	text := strings.Replace(w.text(""), "      - {name: shops,", "      - {name: top, aggregate: max, of: amount, window: 1h}\n      - {name: shops,", 1)
	text = strings.Replace(text, "      - {name: max_10m,", "      - {name: top, aggregate: max, of: amount}\n      - {name: max_10m,", 1)
	return w.load(text)
}

// checkChanged compares the changed views with the oracle, leaving the added features out.
func (w *world) checkChanged(p *config.Plane) error {
	kept := w.plane
	w.plane = p
	defer func() { w.plane = kept }()
	t := int64(0)
	for _, e := range w.events {
		t = max(t, e.At*1000)
	}
	for u, es := range byUser(w.events) {
		want := userOracle(es, t)
		if err := w.compareBuilt("user_orders", feature.StringValue(u), t, slices.Insert(want, 4, anything)); err != nil {
			return err
		}
	}
	shops := map[int64][]event{}
	for _, e := range w.events {
		if e.Amount != nil {
			shops[e.Shop] = append(shops[e.Shop], e)
		}
	}
	for s, es := range shops {
		if err := w.compareBuilt("shop_orders", feature.Int64Value(s), t, slices.Insert(shopOracle(es, t), 2, anything)); err != nil {
			return err
		}
	}
	return nil
}

// anything is no value that a feature has.
var anything = feature.BytesValue("anything")

func (w *world) compareBuilt(view string, key feature.Value, t int64, want []feature.Value) error {
	rec := w.stateOf(view)
	state, err := rec.State()
	if err != nil {
		return err
	}
	got, err := w.lookupState(view, state, key, t)
	if err != nil {
		return fmt.Errorf("%s %s: %w", view, key, err)
	}
	for i := range want {
		if !want[i].Equal(&anything) && !got[i].Equal(&want[i]) {
			return fmt.Errorf("%s %s: feature %d is %s, want %s", view, key, i, got[i], want[i])
		}
	}
	return nil
}

var errCrash = errors.New("the builder dies here")

// crashAt ends a build at the n-th step of a name.
func crashAt(name string, n int) func(string) error {
	return func(step string) error {
		if step == name {
			if n--; n == 0 {
				return errCrash
			}
		}
		return nil
	}
}

func TestAChangedViewIsBuiltWhileTheOldOneIsServed(t *testing.T) {
	for _, archived := range []bool{false, true} {
		t.Run(fmt.Sprintf("archived=%v", archived), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.produce(300)
			old := w.run(nil)
			eventually(t, "features", w.check)
			var h History
			if archived {
				h = w.archive()
				for p := range int32(testPartitions) {
					if err := w.cluster.DeleteRecords(w.topic, p, 20); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.produce(100)
			eventually(t, "features", w.check)
			eventually(t, "a commit", old.idle)
			changed := w.changed()
			for _, view := range []string{"user_orders", "shop_orders"} {
				if err := w.build(changed, view, h, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.checkChanged(changed); err != nil {
				t.Errorf("as built: %v", err)
			}
			w.produce(100)
			eventually(t, "features of the old views, which go on", w.check)
			old.stop()
			w.produce(100)
			before := w.plane
			w.plane = changed
			in := w.run(nil)
			eventually(t, "features of the changed views", func() error { return w.checkChanged(changed) })
			in.stop()
			w.plane = before
			w.produce(50)
			w.run(nil)
			eventually(t, "features of the old views, run again", w.check)
			if rec := w.stateOf("user_orders"); len(rec.Previous) != 1 || rec.Generation != 1 || rec.Bootstrap == nil {
				t.Errorf("recorded: %+v", rec)
			}
		})
	}
}

func TestABuildThatDiesLeavesTheOldPlaneAndIsDoneAgain(t *testing.T) {
	for _, at := range []struct {
		step string
		n    int
	}{{"announce", 1}, {"commit", 1}, {"publish", 1}, {"publish", 3}, {"record", 1}} {
		t.Run(fmt.Sprint(at.step, at.n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.produce(200)
			old := w.run(nil)
			eventually(t, "features", w.check)
			eventually(t, "a commit", old.idle) // features are online before it, and a build counts up to it
			changed := w.changed()
			for range 2 {
				if err := w.build(changed, "user_orders", nil, crashAt(at.step, at.n)); !errors.Is(err, errCrash) {
					t.Fatalf("the build ended with %v", err)
				}
			}
			w.produce(50)
			eventually(t, "features of the old views", w.check)
			old.stop()
			old = w.run(nil) // its start is not refused
			w.produce(50)
			eventually(t, "features of the old views after a restart", w.check)
			for _, view := range []string{"user_orders", "shop_orders"} {
				if err := w.build(changed, view, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			old.stop()
			w.produce(50)
			w.plane = changed
			w.run(nil)
			eventually(t, "features of the changed views", func() error { return w.checkChanged(changed) })
			// Nothing of the builds that died is left.
			cells, err := w.leftovers("user_orders")
			if err != nil || cells != 0 {
				t.Errorf("%d cells of builds that died, %v", cells, err)
			}
		})
	}
}

// TestASwitchThatCommittedAfterAllIsNotDoneTwice: the end of the transaction that switches may be answered with an error though
// it was done, and is then tried again.
func TestASwitchThatCommittedAfterAllIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(50)
	in := w.run(nil)
	eventually(t, "features", w.check)
	if err := w.build(w.plane, "user_orders", nil, nil); err != nil {
		t.Fatal(err)
	}
	in.stop()
	rec := w.stateOf("user_orders")
	if err := w.builder(w.plane, nil).finish(t.Context(), rec); err != nil {
		t.Errorf("tried again: %v", err)
	}
	if again := w.stateOf("user_orders"); len(again.Previous) != len(rec.Previous) || again.Generation != rec.Generation {
		t.Errorf("the record was %+v and is %+v", rec, again)
	}
	if err := w.build(w.plane, "user_orders", nil, nil); err != nil { // which takes the next generation
		t.Fatal(err)
	}
	if err := w.builder(w.plane, nil).finish(t.Context(), rec); !errors.Is(err, errOvertaken) {
		t.Errorf("after another build: %v, want %v", err, errOvertaken)
	}
}

// leftovers counts the cells of generations of the changed definition that are not the recorded one.
func (w *world) leftovers(view string) (int, error) {
	rec := w.stateOf(view)
	b := w.builder(w.plane, nil)
	changelog, _, err := b.placesOf(&rec)
	if err != nil {
		return 0, err
	}
	n := 0
	for g := uint32(1); g < rec.Generation; g++ {
		other := rec
		other.Generation = g
		state, err := other.State()
		if err != nil {
			return 0, err
		}
		cells, err := b.cellsOf(w.t.Context(), changelog, testPartitions, state)
		if err != nil {
			return 0, err
		}
		n += len(cells)
	}
	return n, nil
}

func TestADroppedStateIsGoneAndItsGenerationIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	changed := w.changed()
	if err := w.build(changed, "user_orders", nil, nil); err != nil {
		t.Fatal(err)
	}
	found, err := w.builder(changed, nil).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Retired) != 1 || found.Retired[0].View != "user_orders" || found.Retired[0].Generation != 0 {
		t.Fatalf("retired: %+v", found.Retired)
	}
	old := found.Retired[0]
	if err := w.builder(changed, crashAt("sweep", 1)).Drop(t.Context(), old); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if err := w.build(changed, "user_orders", nil, nil); err != nil { // cleans up after the drop that died
		t.Fatal(err)
	}
	changelog, _, err := w.builder(changed, nil).placesOf(&old)
	if err != nil {
		t.Fatal(err)
	}
	state, err := old.State()
	if err != nil {
		t.Fatal(err)
	}
	cells, err := w.builder(changed, nil).cellsOf(t.Context(), changelog, testPartitions, state)
	if err != nil || len(cells) != 0 {
		t.Errorf("%d cells of the dropped state, %v", len(cells), err)
	}
	if _, err := w.lookupState("user_orders", state, feature.StringValue(w.events[0].User), w.start.UnixMicro()); err == nil {
		t.Error("the dropped state is still online")
	}
	// The old definition begins again, from the beginning, under a generation that was never used.
	for _, s := range []string{"user_orders"} {
		rec := w.stateOf(s)
		for _, p := range append(rec.Previous, rec) {
			p.Previous = nil
			if err := w.builder(changed, nil).Drop(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.run(nil)
	eventually(t, "features of the old definition", func() error { return w.compareAll("user_orders") })
	if rec := w.stateOf("user_orders"); rec.Generation != 3 {
		t.Errorf("generation %d, want 3", rec.Generation)
	}
}

func (w *world) compareAll(view string) error {
	t := int64(0)
	for _, e := range w.events {
		t = max(t, e.At*1000)
	}
	for u, es := range byUser(w.events) {
		if err := w.compareBuilt(view, feature.StringValue(u), t, userOracle(es, t)); err != nil {
			return err
		}
	}
	return nil
}

// A view that is built anew under the same definition is taken up by processes that run with it.
func TestARunningProcessTakesUpAStateBuiltAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	for i := range 2 {
		for _, view := range []string{"user_orders", "shop_orders"} {
			if err := w.build(w.plane, view, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.produce(100)
		eventually(t, "features of the new state", func() error { return w.checkBuilt() })
		if rec := w.stateOf("user_orders"); rec.Generation != uint32(i+1) {
			t.Errorf("generation %d", rec.Generation)
		}
	}
	in.stop()
	w.produce(100)
	w.run(nil)
	eventually(t, "features after a restart", w.checkBuilt)
}

// checkBuilt is check for the states that are recorded.
func (w *world) checkBuilt() error {
	t := int64(0)
	for _, e := range w.events {
		t = max(t, e.At*1000)
	}
	for u, es := range byUser(w.events) {
		if err := w.compareBuilt("user_orders", feature.StringValue(u), t, userOracle(es, t)); err != nil {
			return err
		}
	}
	shops := map[int64][]event{}
	for _, e := range w.events {
		if e.Amount != nil {
			shops[e.Shop] = append(shops[e.Shop], e)
		}
	}
	for s, es := range shops {
		if err := w.compareBuilt("shop_orders", feature.Int64Value(s), t, shopOracle(es, t)); err != nil {
			return err
		}
	}
	return nil
}
