package processors

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

func (w *world) entity(name string) *config.Entity {
	i := slices.IndexFunc(w.plane.Entities, func(e *config.Entity) bool { return e.Name == name })
	return w.plane.Entities[i]
}

// cellsNaming counts what a view's changelog holds of an entity.
func (w *world) cellsNaming(view string, key feature.Value) int {
	w.t.Helper()
	rec := w.stateOf(view)
	b := w.builder(w.plane, nil)
	changelog, _, err := b.placesOf(&rec)
	if err != nil {
		w.t.Fatal(err)
	}
	state, err := rec.State()
	if err != nil {
		w.t.Fatal(err)
	}
	cells, err := b.cellsOf(w.t.Context(), changelog, testPartitions, state)
	if err != nil {
		w.t.Fatal(err)
	}
	want, err := feature.AppendKey(nil, key)
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, c := range cells {
		if _, k, _, err := feature.ParseCellKey(c.key[1:]); err == nil && string(k) == string(want) {
			n++
		}
	}
	return n
}

func TestAnEntityIsForgottenWhileTheProcessorsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(300)
	in := w.run(nil)
	eventually(t, "features", w.check)
	gone := w.events[0].User
	if err := w.builder(w.plane, nil).Forget(t.Context(), w.entity("user"), []feature.Value{feature.StringValue(gone)}, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entity to be gone", func() error { return w.absent(gone) })
	if n := w.cellsNaming("user_orders", feature.StringValue(gone)); n != 0 {
		t.Errorf("%d cells of the entity are left", n)
	}
	// What comes after counts from nothing, once, whatever restarts; the others are as they were.
	var after []event
	more := func() {
		t.Helper()
		for range 5 {
			e := w.random()
			e.User = gone
			after = append(after, e)
			w.send(e)
		}
		eventually(t, "events after", func() error { return w.compareUser(gone, after) })
	}
	more()
	in.stop()
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.redis.empty()
	w.run(nil)
	more()
	eventually(t, "the others", func() error {
		for u, es := range byUser(w.events) {
			if u == gone {
				continue
			}
			if err := w.compareUser(u, es); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestARequestToForgetStandsUntilAProcessRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	gone := w.events[0].User
	err := w.builder(w.plane, nil).Forget(t.Context(), w.entity("user"), []feature.Value{feature.StringValue(gone)}, 300*time.Millisecond)
	if !errors.Is(err, ErrNotHonoured) || !strings.Contains(err.Error(), "fr.changelog.orders[") {
		t.Fatalf("got %v", err)
	}
	w.run(nil)
	eventually(t, "the entity to be gone", func() error { return w.absent(gone) })
	eventually(t, "its cells to be gone", func() error {
		if n := w.cellsNaming("user_orders", feature.StringValue(gone)); n != 0 {
			return errors.New("cells are left")
		}
		return nil
	})
}

// TestAnEntityIsForgottenInEveryRetiredState: states of other entities come before and between, and stay.
func TestAnEntityIsForgottenInEveryRetiredState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(200)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	changed := w.changed()
	for _, view := range []string{"shop_orders", "user_orders"} {
		if err := w.build(changed, view, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	b := w.builder(changed, nil)
	found, err := b.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Retired) != 2 || found.Retired[0].View != "shop_orders" {
		t.Fatalf("retired: %+v", found.Retired)
	}
	gone := []feature.Value{feature.StringValue(w.events[0].User)}
	first, err := b.ForgetRetired(t.Context(), "user", gone, found.Retired)
	if err != nil || first == 0 {
		t.Errorf("%d cells are forgotten, %v", first, err)
	}
	if again, err := b.ForgetRetired(t.Context(), "user", gone, found.Retired); err != nil || again != 0 {
		t.Errorf("%d cells were left, %v", again, err)
	}
	shop := []feature.Value{feature.Int64Value(w.events[0].Shop)}
	if n, err := b.ForgetRetired(t.Context(), "shop", shop, found.Retired); err != nil || n == 0 {
		t.Errorf("%d cells of the shop were there, %v", n, err)
	}
}
