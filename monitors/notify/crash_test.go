package notify

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/monitors/alert"
)

// TestNothingIsLostOverCrashes lets an outbox be killed between any two steps, keeping what was kept, while receivers
// answer at random, and checks that every message ends delivered or dead, that none is sent after it was known to be
// delivered, and that no resolved arrives before its firing unless that was given up.
func TestNothingIsLostOverCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		episodes := rapid.IntRange(1, 3).Draw(t, "episodes")
		for i := range episodes {
			for _, kind := range []alert.Type{alert.FiringType, alert.ResolvedType} {
				w.offer(message(fmt.Sprintf("ep_%d", i), kind))
				for range rapid.IntRange(0, 6).Draw(t, "steps") {
					w.step()
				}
			}
		}
		w.calm = true
		for range 200 { // more than all attempts at everything
			w.step()
		}
		for key, d := range w.box.deliveries {
			if !d.Stage.final() {
				t.Errorf("%s is still %s", key, d.Stage)
			}
			if d.Stage == delivered && w.accepted[key] == 0 {
				t.Errorf("%s was not accepted", key)
			}
		}
		if len(w.box.deliveries) != 2*2*episodes {
			t.Errorf("%d deliveries of %d episodes on two channels", len(w.box.deliveries), episodes)
		}
	})
}

type world struct {
	t        *rapid.T
	store    Memory
	channels []*Channel
	box      *outbox
	now      time.Time
	accepted map[string]int // by delivery
	known    map[string]bool
	calm     bool // no crashes
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), accepted: map[string]int{}, known: map[string]bool{}}
	w.channels = []*Channel{{name: "a", kind: webhookKind}, {name: "b", kind: slackKind}}
	w.restart()
	return w
}

func (w *world) restart() {
	box, err := newOutbox(w.channels, func() float64 { return .5 })
	if err != nil {
		w.t.Fatal(err)
	}
	records, _ := w.store.Load(w.t.Context())
	if err := box.load(records, w.now); err != nil {
		w.t.Fatal(err)
	}
	w.box = box
}

func (w *world) keep() {
	_ = w.store.Save(w.t.Context(), w.box.changes())
	for key, d := range w.box.deliveries {
		if d.Stage == delivered {
			w.known[key] = true
		}
	}
}

// offer is what the reader of messages does: again, until it was kept.
func (w *world) offer(m *alert.Message) {
	event, err := m.Event()
	if err != nil {
		w.t.Fatal(err)
	}
	for {
		w.box.add(m, event, "a", w.now)
		w.box.add(m, event, "b", w.now)
		if !w.crash("while it was offered") {
			w.keep()
			return
		}
	}
}

func (w *world) crash(when string) bool {
	if w.calm || rapid.IntRange(0, 5).Draw(w.t, when) > 0 {
		return false
	}
	w.restart()
	return true
}

// step makes what is due, and lets time pass until there is more.
func (w *world) step() {
	for _, d := range w.box.due(w.now) {
		key := d.key()
		if w.known[key] {
			w.t.Fatalf("%s is sent though it is known to be delivered", key)
		}
		if d.Type == alert.ResolvedType {
			first := w.box.deliveries[deliveryKey(d.Channel, d.Episode+"-firing")]
			if first != nil && !first.Stage.final() {
				w.t.Fatalf("%s is sent while its firing is %s", key, first.Stage)
			}
		}
		out := Outcome{Result: rapid.SampledFrom([]Result{Delivered, Delivered, Failed, Failed, Refused}).Draw(w.t, "result")}
		if out.Result == Delivered {
			w.accepted[key]++
		}
		if w.crash("after it was sent") {
			return
		}
		w.box.finish(d, out, w.now)
		if w.crash("after it was noted") {
			return
		}
		w.keep()
	}
	switch at, ok := w.box.next(w.now); {
	case !ok:
	case at.After(w.now):
		w.now = at
	default: // something done could be forgotten, which is not for this test
		w.now = w.now.Add(12 * time.Hour)
	}
}
