package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/notify/kafkastore"
	"github.com/freshet-io/freshet/monitors/topics"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1")) // the broker that tests share
}

const hookSecret = "whsec_ZnJlc2hldC10ZXN0LXNlY3JldC0wMTIzNDU2Nzg5"

// receiver accepts what is signed, unless it is told to refuse.
type receiver struct {
	*httptest.Server
	status atomic.Int32 // of its answers, if not 0
	hang   atomic.Bool  // it answers nothing
	mu     sync.Mutex
	ids    []string // of what it accepted, in order
	bodies map[string]string
	bad    []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	v, err := notify.NewVerifier(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{bodies: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender has gone
		}
		for r.hang.Load() {
			select {
			case <-req.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		id, err := v.Verify(req.Header, body, time.Now())
		r.mu.Lock()
		defer r.mu.Unlock()
		if code := int(r.status.Load()); code != 0 {
			w.WriteHeader(code)
			return
		}
		if err != nil {
			r.bad = append(r.bad, err.Error())
			return
		}
		if before, again := r.bodies[id]; again && before != string(body) {
			r.bad = append(r.bad, id+" came with another body")
		}
		r.ids, r.bodies[id] = append(r.ids, id), string(body)
	}))
	t.Cleanup(func() {
		r.Close()
		if len(r.bad) > 0 {
			t.Errorf("the receiver refused %q", r.bad)
		}
	})
	return r
}

func (r *receiver) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// world is a plane with a monitor and its channel.
type world struct {
	t      *testing.T
	fake   *kfake.Cluster
	client []kgo.Opt
	plane  *config.Plane
	hook   *receiver
	cl     *kgo.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := worldAt(t, "fr.", c.ListenAddrs()...)
	w.fake = c
	return w
}

func worldAt(t *testing.T, prefix string, brokers ...string) *world {
	t.Helper()
	w := &world{t: t, client: []kgo.Opt{kgo.SeedBrokers(brokers...)}, hook: newReceiver(t)}
	hook := &config.Channel{Name: "hook", Kind: "webhook", URL: config.Secret(w.hook.URL), Secrets: []config.Secret{hookSecret}, Allow: []string{"127.0.0.0/8"}}
	w.plane = &config.Plane{
		Project: "test", Prefix: prefix, Channels: []*config.Channel{hook}, Monitors: []*config.Monitor{{Name: "inputs", Channels: []*config.Channel{hook}}, {Name: "quiet"}},
	}
	var err error
	if w.cl, err = kgo.NewClient(w.client...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cl.Close)
	if err := kafka.EnsureTopics(t.Context(), kadm.NewClient(w.cl), config.Kafka{ReplicationFactor: 1, MinInsyncReplicas: 1}, topics.Specs(w.plane)); err != nil {
		t.Fatal(err)
	}
	return w
}

// process is a runner as a process has it.
type process struct {
	*Runner
	reg  *prometheus.Registry
	stop func()
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		os.Stderr.Write(b)
	}
	return len(b), nil
}

func (w *world) run() *process {
	w.t.Helper()
	p := &process{reg: prometheus.NewRegistry()}
	var err error
	p.Runner, err = New(Options{
		Plane: w.plane, Client: slices.Concat(w.client, kafka.GroupOptions(6*time.Second)), Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: p.reg,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			w.t.Errorf("run: %v", err)
		}
	}()
	p.stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			w.t.Fatal("the runner did not stop")
		}
	}
	w.t.Cleanup(p.stop)
	return p
}

// value is a metric without labels, or with one.
func (p *process) value(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (label == "" || m.Label[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func message(monitor, episode string, kind alert.Type) *alert.Message {
	suffix, status := "-firing", "firing"
	switch kind {
	case alert.ResolvedType:
		suffix, status = "-resolved", "resolved"
	case alert.UpdatedType:
		suffix = "-updated"
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro()
	return &alert.Message{ID: episode + suffix, Type: kind, Origin: "/freshet/test", At: at, Data: alert.Data{
		Episode: episode, Status: status, Monitor: monitor, Class: alert.Values, Group: "orders", Summary: "skew of amount", StartedAt: alert.Stamp(at), Count: 1,
		Features: []alert.Feature{{Series: alert.Series{Kind: alert.Skew, Column: "amount"}, Since: alert.Stamp(at), Effect: .4, Threshold: .1}},
	}}
}

func (w *world) tell(messages ...*alert.Message) {
	w.t.Helper()
	for _, m := range messages {
		text, err := m.Event()
		if err != nil {
			w.t.Fatal(err)
		}
		w.produce(text)
	}
}

func (w *world) produce(text []byte) {
	w.t.Helper()
	if err := w.cl.ProduceSync(w.t.Context(), &kgo.Record{Topic: topics.Name(w.plane, topics.Alerts), Value: text}).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, fn func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = fn(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func (w *world) told(want ...string) {
	w.t.Helper()
	eventually(w.t, "messages", func() error {
		if got := w.hook.told(); !slices.Equal(got, want) {
			return fmt.Errorf("the receiver was told %q, want %q", got, want)
		}
		return nil
	})
}

// toldAgain is told where a process that ends may have delivered a message whose answer it did not write down: the next one
// delivers it again, under the same id.
func (w *world) toldAgain(want ...string) {
	w.t.Helper()
	eventually(w.t, "messages", func() error {
		if got := slices.Compact(w.hook.told()); !slices.Equal(got, want) {
			return fmt.Errorf("the receiver was told %q, want %q, of which each may come again", got, want)
		}
		return nil
	})
}

func (w *world) next(want int64) {
	w.t.Helper()
	eventually(w.t, "the position", func() error {
		s, err := kafkastore.Read(w.t.Context(), w.client, w.plane)
		if err == nil && s.Next != want {
			err = fmt.Errorf("it is %d, want %d", s.Next, want)
		}
		return err
	})
}

const (
	firing   = alert.FiringType
	resolved = alert.ResolvedType
)

// Every message is told once, in order, over ends of the process; what is for the history alone, what is no message, and what
// an aborted transaction says is not told.
func TestMessagesAreToldOnceOverRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tell(message("inputs", "ep_0", firing)) // before anybody listens
	p := w.run()
	w.told("ep_0-firing")
	eventually(t, "ready", p.Ready)
	w.produce([]byte("garbage"))
	w.tell(message("inputs", "ep_0", alert.UpdatedType), message("quiet", "ep_q", firing), message("gone", "ep_g", firing), message("inputs", "ep_1", firing))
	w.told("ep_0-firing", "ep_1-firing")
	w.next(6)
	for label, want := range map[string]float64{offered: 2, historical: 1, nowhere: 2, unreadable: 1} {
		if got := p.value(t, "freshet_alert_messages_total", label); got != want {
			t.Errorf("%s: %g, want %g", label, got, want)
		}
	}
	p.stop()
	w.tell(message("inputs", "ep_0", resolved))
	w.run()
	w.toldAgain("ep_0-firing", "ep_1-firing", "ep_0-resolved")
	w.tell(message("inputs", "ep_1", resolved))
	w.toldAgain("ep_0-firing", "ep_1-firing", "ep_0-resolved", "ep_1-resolved")
	w.next(8)
	eventually(t, "the group's offset", func() error {
		got, err := kadm.NewClient(w.cl).FetchOffsets(t.Context(), "fr.notify")
		if o, _ := got.Lookup(topics.Name(w.plane, topics.Alerts), 0); err == nil && o.At != 8 {
			err = fmt.Errorf("it is %d", o.At)
		}
		return err
	})
}

// With two processes one delivers and the other is ready to; when the first goes the other goes on.
func TestOneOfTwoDelivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.run()
	eventually(t, "ready", one.Ready)
	two := w.run()
	eventually(t, "ready", two.Ready)
	w.tell(message("inputs", "ep_1", firing))
	w.toldAgain("ep_1-firing")
	if a, b := one.value(t, "freshet_notifier_active", ""), two.value(t, "freshet_notifier_active", ""); a+b != 1 {
		t.Errorf("active: %g and %g", a, b)
	}
	one.stop()
	if got := one.value(t, "freshet_notifications_waiting", "hook"); got != -1 {
		t.Errorf("who does not deliver shows %g deliveries", got)
	}
	w.tell(message("inputs", "ep_1", resolved))
	w.toldAgain("ep_1-firing", "ep_1-resolved")
	if got := two.value(t, "freshet_notifier_active", ""); got != 1 {
		t.Errorf("the second does not say that it delivers: %g", got)
	}
	two.stop()
}

// Requests that a broker loses or refuses delay messages and change nothing else.
func TestBrokerErrorsLoseAndDoubleNothing(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.Produce, kmsg.InitProducerID, kmsg.JoinGroup, kmsg.OffsetCommit, kmsg.ListOffsets, kmsg.Fetch} {
		t.Run(key.Name(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var lost atomic.Int32
			lose := func() {
				w.fake.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
					lost.Add(1)
					return nil, errors.New("connection lost"), true
				})
			}
			lose()
			p := w.run()
			eventually(t, "ready", p.Ready)
			text, err := message("inputs", "ep_1", firing).Event()
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the message in the history", func() error {
				return w.cl.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(w.plane, topics.Alerts), Value: text}).FirstErr()
			})
			w.told("ep_1-firing")
			lose()
			eventually(t, "the resolved", func() error {
				m := message("inputs", "ep_1", resolved)
				text, err := m.Event()
				if err != nil {
					return err
				}
				return w.cl.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(w.plane, topics.Alerts), Value: text}).FirstErr()
			})
			w.told("ep_1-firing", "ep_1-resolved")
			p.stop()
			if lost.Load() == 0 {
				t.Error("nothing was lost")
			}
		})
	}
}

// Who takes the state over, as a command does, may change it: the runner goes on with what it finds.
func TestTheRunnerTakesUpWhatACommandChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.status.Store(http.StatusGone)
	p := w.run()
	w.tell(message("inputs", "ep_1", firing))
	eventually(t, "the dead letter", func() error {
		if p.value(t, "freshet_notifications_dead", "hook") != 1 {
			return errors.New("none")
		}
		return nil
	})
	w.hook.status.Store(0)
	err := Change(t.Context(), w.client, w.plane, func(d *notify.Dispatcher) error {
		if err := d.Replay(t.Context(), "hook", "ep_1-firing"); err == nil {
			t.Error("a disabled channel replays")
		}
		return errors.Join(d.Enable(t.Context(), "hook"), d.Replay(t.Context(), "hook", "ep_1-firing"))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.told("ep_1-firing")
	w.tell(message("inputs", "ep_1", resolved))
	w.told("ep_1-firing", "ep_1-resolved")
}

// A resolved goes where its firing went, though the monitor is gone.
func TestAResolvedFollowsItsFiring(t *testing.T) {
	w := newWorld(t)
	p := w.run()
	w.tell(message("inputs", "ep_1", firing))
	w.told("ep_1-firing")
	p.stop()
	w.plane.Monitors = w.plane.Monitors[1:]
	w.run()
	w.tell(message("inputs", "ep_2", firing), message("inputs", "ep_1", resolved))
	w.toldAgain("ep_1-firing", "ep_1-resolved")
}

// A history that was deleted and begun anew is read from its beginning.
func TestAnotherHistoryIsReadFromItsBeginning(t *testing.T) {
	w := newWorld(t)
	p := w.run()
	w.tell(message("inputs", "ep_1", firing), message("inputs", "ep_1", resolved))
	w.next(2)
	p.stop()
	adm, topic := kadm.NewClient(w.cl), topics.Name(w.plane, topics.Alerts)
	if _, err := adm.DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	w.run()
	cl, err := kgo.NewClient(w.client...) // the other one knows the old topic
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	w.cl = cl
	w.tell(message("inputs", "ep_2", firing))
	w.toldAgain("ep_1-firing", "ep_1-resolved", "ep_2-firing")
}

func TestAChannelThatLacksItsSecretStopsTheStart(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		channel config.Channel
		want    []string
	}{
		{config.Channel{Kind: "webhook", URL: "https://example.org", Secrets: []config.Secret{""}}, []string{"webhook.secret is empty"}},
		{config.Channel{Kind: "webhook", URL: "https://example.org", Secrets: []config.Secret{hookSecret, ""}}, []string{"webhook.previous_secret is empty"}},
		{config.Channel{Kind: "webhook", Secrets: []config.Secret{"whsec_c2hvcnQ="}, URL: "https://example.org"}, []string{"secret 1 of 1"}},
		{config.Channel{Kind: "webhook", URL: "", Secrets: []config.Secret{""}}, []string{"webhook.secret is empty", "webhook.url is empty"}},
		{config.Channel{Kind: "slack"}, []string{"slack.url is empty"}},
		{config.Channel{Kind: "pagerduty"}, []string{"pagerduty.routing_key is empty"}},
		{config.Channel{Kind: "alertmanager"}, []string{"alertmanager.url is empty"}},
	} {
		c.channel.Name = "bad"
		plane := *w.plane
		plane.Channels = append(slices.Clone(plane.Channels), &c.channel)
		o := Options{Plane: &plane, Client: w.client, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
		if _, err := New(o); err != nil {
			t.Errorf("%s: a channel that nobody uses: %v", c.channel.Kind, err)
		}
		plane.Monitors = []*config.Monitor{{Name: "inputs", Channels: []*config.Channel{&c.channel}}}
		_, err := New(o)
		for _, want := range append(c.want, `monitor "inputs"`, `channel "bad"`) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", c.channel.Kind, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "whsec_c2hvcnQ") {
			t.Errorf("the error has the secret: %v", err)
		}
	}
}

// On a real broker, with the owner cut off in the middle of an attempt: nothing is lost, order and ids stay.
func TestRealKafkaOverTakeovers(t *testing.T) {
	t.Parallel()
	w := worldAt(t, testenv.Prefix(t), testenv.Kafka(t))
	one := w.run()
	eventually(t, "ready", one.Ready)
	w.tell(message("inputs", "ep_1", firing), message("inputs", "ep_1", resolved))
	w.told("ep_1-firing", "ep_1-resolved")
	w.hook.hang.Store(true)
	w.tell(message("inputs", "ep_2", firing))
	eventually(t, "the message to be kept", func() error {
		if one.value(t, "freshet_notifications_waiting", "hook") != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	// It is shut out without having been told, as one that hung for a while.
	if err := Change(t.Context(), w.client, w.plane, func(*notify.Dispatcher) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.tell(message("inputs", "ep_2", resolved))
	eventually(t, "another tenure", func() error {
		if one.value(t, "freshet_notifications_waiting", "hook") != 2 {
			return errors.New("it has not taken up the second message")
		}
		return nil
	})
	two := w.run()
	eventually(t, "ready", two.Ready)
	one.stop()
	w.hook.hang.Store(false)
	w.told("ep_1-firing", "ep_1-resolved", "ep_2-firing", "ep_2-resolved")
	two.stop()
}
