package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/monitors/alert"
)

// receiver notes what arrives, and answers as a function of the request's number and message says.
type receiver struct {
	mu      sync.Mutex
	began   time.Time
	arrived []arrival
	say     func(n int, id string) (*http.Response, error)
}

type arrival struct {
	id    string
	after time.Duration
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	id := req.Header.Get(IDHeader)
	if id == "" { // not a webhook
		body, _ := io.ReadAll(req.Body)
		id = string(body)
	}
	r.mu.Lock()
	r.arrived = append(r.arrived, arrival{id, time.Since(r.began)})
	n := len(r.arrived)
	r.mu.Unlock()
	if r.say == nil {
		return answer(200), nil
	}
	return r.say(n, id)
}

func (r *receiver) got() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrived)
}

func (r *receiver) ids() []string {
	var out []string
	for _, a := range r.got() {
		out = append(out, a.id)
	}
	return out
}

// running is a dispatcher that runs until stop.
func running(t *testing.T, store Store, channels ...*Channel) (d *Dispatcher, stop func()) {
	t.Helper()
	d, err := New(t.Context(), Options{
		Channels: channels, Store: store, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Chance: func() float64 { return 0 },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func offer(t *testing.T, d *Dispatcher, m *alert.Message, channels ...string) {
	t.Helper()
	if err := d.Offer(t.Context(), m, channels); err != nil {
		t.Fatal(err)
	}
}

func stageOf(d *Dispatcher, channel, message string) Delivery {
	for _, x := range d.Deliveries() {
		if x.Channel == channel && x.Message == message {
			return x
		}
	}
	return Delivery{}
}

func TestPublishedScheduleIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{began: time.Now(), say: func(int, string) (*http.Response, error) { return nil, errors.New("refused") }}
		d, stop := running(t, &Memory{}, stubbed(t, "hook", r.RoundTrip))
		defer stop()
		offer(t, d, message("ep_1", alert.FiringType), "hook")
		time.Sleep(80 * time.Hour)
		synctest.Wait()
		want := []string{"0s", "5s", "5m5s", "35m5s", "2h35m5s", "7h35m5s", "17h35m5s", "31h35m5s", "51h35m5s", "75h35m5s"}
		got := r.got()
		if len(got) != len(want) {
			t.Fatalf("%d attempts, want %d: %v", len(got), len(want), got)
		}
		for i := range want {
			if w, _ := time.ParseDuration(want[i]); got[i].after != w || got[i].id != "ep_1-firing" {
				t.Errorf("attempt %d of %s after %s, want %s", i+1, got[i].id, got[i].after, want[i])
			}
		}
		if x := stageOf(d, "hook", "ep_1-firing"); x.Stage != "dead" || x.Attempts != 10 || x.Error != "refused" {
			t.Errorf("at last %+v", x)
		}
		r.mu.Lock()
		r.say = nil
		r.mu.Unlock()
		if err := d.Replay(t.Context(), "hook", "ep_1-firing"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(breakerMost)
		synctest.Wait()
		if x := stageOf(d, "hook", "ep_1-firing"); x.Stage != "delivered" {
			t.Errorf("after a replay %+v", x)
		}
		time.Sleep(keepFinal + time.Hour)
		synctest.Wait()
		if n := len(d.Deliveries()); n != 0 {
			t.Errorf("%d deliveries are remembered after a week", n)
		}
	})
}

func TestJitterAddsAtMostAFifth(t *testing.T) {
	for i := range schedule {
		least, _ := retryIn(i+1, 0, 0)
		most, more := retryIn(i+1, 0, .999999)
		if !more || least != schedule[i] || most <= least || most > least*12/10 {
			t.Errorf("attempt %d: %s to %s", i+1, least, most)
		}
	}
	if _, more := retryIn(len(schedule)+1, 0, 0); more {
		t.Error("an eleventh attempt")
	}
	if d, _ := retryIn(1, time.Hour, 0); d != time.Hour {
		t.Errorf("asked for an hour, waits %s", d)
	}
}

func TestResolvedWaitsForItsFiring(t *testing.T) {
	for _, tc := range []struct {
		name string
		say  func(n int, id string) (*http.Response, error)
		want []string
	}{
		{"delivered at once", nil, []string{"ep_1-firing", "ep_1-resolved"}},
		{"the firing fails twice", func(n int, _ string) (*http.Response, error) {
			if n <= 2 {
				return answer(500), nil
			}
			return answer(200), nil
		}, []string{"ep_1-firing", "ep_1-firing", "ep_1-firing", "ep_1-resolved"}},
		{"the firing is never taken", func(_ int, id string) (*http.Response, error) {
			if id == "ep_1-firing" {
				return answer(500), nil
			}
			return answer(200), nil
		}, append(slices.Repeat([]string{"ep_1-firing"}, 10), "ep_1-resolved")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{began: time.Now(), say: tc.say}
				d, stop := running(t, &Memory{}, stubbed(t, "hook", r.RoundTrip))
				defer stop()
				offer(t, d, message("ep_1", alert.FiringType), "hook")
				offer(t, d, message("ep_1", alert.ResolvedType), "hook")
				offer(t, d, message("ep_1", alert.FiringType), "hook") // again, as after a crash
				time.Sleep(100 * time.Hour)
				synctest.Wait()
				if got := r.ids(); !slices.Equal(got, tc.want) {
					t.Errorf("arrived %q, want %q", got, tc.want)
				}
			})
		})
	}
}

func TestFiringAfterItsResolvedIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, stop := running(t, &Memory{}, stubbed(t, "hook", r.RoundTrip))
		defer stop()
		offer(t, d, message("ep_1", alert.ResolvedType), "hook") // its firing was before this channel
		synctest.Wait()
		offer(t, d, message("ep_1", alert.FiringType), "hook")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := r.ids(); !slices.Equal(got, []string{"ep_1-resolved"}) {
			t.Errorf("arrived %q", got)
		}
		if x := stageOf(d, "hook", "ep_1-firing"); x.Stage != "passed" {
			t.Errorf("the firing is %s", x.Stage)
		}
	})
}

func TestEndpointsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := &receiver{began: time.Now()}
		hung := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		d, stop := running(t, &Memory{}, stubbed(t, "good", good.RoundTrip), stubbed(t, "hung", hung))
		defer stop()
		for i := range 40 {
			offer(t, d, message(fmt.Sprintf("ep_%d", i), alert.FiringType), "hung", "good")
		}
		synctest.Wait()
		got := good.got()
		if len(got) != 40 || got[39].after != 0 {
			t.Errorf("%d messages arrived beside an endpoint that hangs", len(got))
		}
		time.Sleep(defaultTimeout)
		synctest.Wait()
		if x := stageOf(d, "hung", "ep_0-firing"); x.Error != "no answer within 20s" || x.Stage != "waiting" {
			t.Errorf("a hanging attempt: %+v", x)
		}
	})
}

func TestOneMessageThatFailsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{say: func(_ int, id string) (*http.Response, error) {
			if id == "ep_0-firing" {
				return answer(500), nil
			}
			return answer(200), nil
		}}
		d, stop := running(t, &Memory{}, stubbed(t, "hook", r.RoundTrip))
		defer stop()
		offer(t, d, message("ep_0", alert.FiringType), "hook")
		offer(t, d, message("ep_1", alert.FiringType), "hook")
		offer(t, d, message("ep_1", alert.ResolvedType), "hook")
		time.Sleep(time.Second)
		synctest.Wait()
		got := r.ids()
		slices.Sort(got)
		if !slices.Equal(got, []string{"ep_0-firing", "ep_1-firing", "ep_1-resolved"}) {
			t.Errorf("arrived %q", got)
		}
	})
}

func TestRetryAfterPausesTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{began: time.Now(), say: func(n int, _ string) (*http.Response, error) {
			if n == 1 {
				return answer(429, "Retry-After", "600"), nil
			}
			return answer(200), nil
		}}
		d, stop := running(t, &Memory{}, stubbed(t, "hook", r.RoundTrip))
		defer stop()
		offer(t, d, message("ep_1", alert.FiringType), "hook")
		synctest.Wait()
		offer(t, d, message("ep_2", alert.FiringType), "hook")
		time.Sleep(time.Hour)
		synctest.Wait()
		got := r.got()
		if len(got) != 3 || got[1].after != 10*time.Minute || got[2].after != 10*time.Minute {
			t.Errorf("arrived %v, want nothing for ten minutes", got)
		}
	})
}

func TestFailingEndpointIsProbedWithOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(5 * time.Minute)
		r := &receiver{began: time.Now(), say: func(int, string) (*http.Response, error) {
			if time.Now().Before(up) {
				return nil, errors.New("refused")
			}
			return answer(200), nil
		}}
		d, stop := running(t, &Memory{}, stubbed(t, "hook", r.RoundTrip))
		defer stop()
		for i := range 100 {
			offer(t, d, message(fmt.Sprintf("ep_%d", i), alert.FiringType), "hook")
		}
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		if n := len(r.got()); n > 20 {
			t.Errorf("%d attempts at an endpoint that is down", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		waits := 0
		for _, x := range d.Deliveries() {
			if x.Stage != "delivered" {
				waits++
			}
		}
		if waits > 0 {
			t.Errorf("%d messages still wait an hour after it came back", waits)
		}
	})
}

func TestGoneDisablesTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &Memory{}
		r := &receiver{say: func(int, string) (*http.Response, error) { return answer(410), nil }}
		hook := stubbed(t, "hook", r.RoundTrip)
		d, stop := running(t, store, hook)
		offer(t, d, message("ep_1", alert.FiringType), "hook")
		synctest.Wait()
		offer(t, d, message("ep_2", alert.FiringType), "hook")
		stop()
		d, stop = running(t, store, hook) // it stays disabled over a restart
		offer(t, d, message("ep_3", alert.FiringType), "hook")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := r.ids(); len(got) != 1 {
			t.Errorf("arrived %q, want one", got)
		}
		for _, x := range d.Deliveries() {
			if x.Stage != "dead" || !strings.Contains(x.Error, "410 Gone") {
				t.Errorf("%+v", x)
			}
		}
		r.say = nil
		if err := d.Replay(t.Context(), "hook", "ep_2-firing"); err == nil {
			t.Error("replays to a disabled endpoint")
		}
		if err := d.Enable(t.Context(), "hook"); err != nil {
			t.Fatal(err)
		}
		if err := d.Replay(t.Context(), "hook", "ep_2-firing"); err != nil {
			t.Fatal(err)
		}
		offer(t, d, message("ep_4", alert.FiringType), "hook")
		synctest.Wait()
		stop()
		if got := r.ids(); !slices.Equal(got[1:], []string{"ep_2-firing", "ep_4-firing"}) && !slices.Equal(got[1:], []string{"ep_4-firing", "ep_2-firing"}) {
			t.Errorf("after it was enabled arrived %q", got)
		}
		moved := stubbed(t, "hook", r.RoundTrip)
		moved.target = "another"
		r.say = func(int, string) (*http.Response, error) { return answer(410), nil }
		d, stop = running(t, store, hook)
		offer(t, d, message("ep_5", alert.FiringType), "hook")
		synctest.Wait()
		stop()
		r.say = nil
		d, stop = running(t, store, moved)
		defer stop()
		offer(t, d, message("ep_6", alert.FiringType), "hook")
		synctest.Wait()
		if x := stageOf(d, "hook", "ep_6-firing"); x.Stage != "delivered" {
			t.Errorf("at another address: %+v", x)
		}
	})
}

func TestAlertmanagerIsToldWhileItFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewAlertmanager(AlertmanagerOptions{Name: "am", URL: "http://am.example:9093"})
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{began: time.Now(), say: func(n int, _ string) (*http.Response, error) {
			if n == 4 {
				return answer(500), nil // a resend that fails is none to give up for
			}
			return answer(200), nil
		}}
		c.client.Transport = r
		store := &Memory{}
		d, stop := running(t, store, c)
		offer(t, d, message("ep_1", alert.FiringType), "am")
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		stop()
		d, stop = running(t, store, c)
		defer stop()
		time.Sleep(10 * time.Minute)
		offer(t, d, message("ep_1", alert.ResolvedType), "am")
		time.Sleep(time.Hour)
		synctest.Wait()
		got := r.got()
		if len(got) != 22 {
			t.Fatalf("%d posts, want one a minute and the resolve", len(got))
		}
		for i, a := range got {
			if want := time.Duration(i) * time.Minute; i < 21 && (a.after < want || a.after > want+time.Second) {
				t.Errorf("post %d after %s", i+1, a.after)
			}
		}
	})
}

func TestSlackIsSentOneASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewSlack(SlackOptions{Name: "s", URL: "https://hooks.slack.example/services/T0/B0/x"})
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{began: time.Now()}
		c.client.Transport = r
		d, stop := running(t, &Memory{}, c)
		defer stop()
		for i := range 5 {
			offer(t, d, message(fmt.Sprintf("ep_%d", i), alert.FiringType), "s")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got := r.got()
		for i, a := range got {
			if a.after < time.Duration(i)*time.Second {
				t.Errorf("message %d after %s", i, a.after)
			}
		}
		if len(got) != 5 || got[4].after > 5*time.Second {
			t.Errorf("arrived %v", got)
		}
	})
}

// failing is a store that fails at times.
type failing struct {
	Memory
	fails func() bool
}

func (f *failing) Save(ctx context.Context, records []Record) error {
	if f.fails() {
		_ = f.Memory.Save(ctx, records[:len(records)/2]) // some of them are kept
		return errors.New("no broker")
	}
	return f.Memory.Save(ctx, records)
}

func TestOfferFailsUntilItIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		store := &failing{fails: func() bool { return down }}
		r := &receiver{}
		d, stop := running(t, store, stubbed(t, "hook", r.RoundTrip))
		defer stop()
		m := message("ep_1", alert.FiringType)
		if err := d.Offer(t.Context(), m, []string{"hook"}); err == nil {
			t.Fatal("says that it was kept")
		}
		synctest.Wait()
		down = false
		offer(t, d, m, "hook")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if kept, _ := store.Load(t.Context()); len(kept) != 1 {
			t.Errorf("%d records are kept", len(kept))
		}
		if err := d.Offer(t.Context(), m, []string{"nowhere"}); err == nil {
			t.Error("takes a channel that there is not")
		}
		if err := d.Offer(t.Context(), &alert.Message{ID: "a.b", Type: alert.FiringType}, []string{"hook"}); err == nil {
			t.Error("takes a message that could not be read back")
		}
		note := message("ep_2", alert.FiringType)
		note.Type = alert.UpdatedType
		offer(t, d, note, "hook")
		if n := len(d.Deliveries()); n != 1 {
			t.Errorf("%d deliveries, want that of the firing alone", n)
		}
	})
}
