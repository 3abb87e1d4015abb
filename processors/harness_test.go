package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// testPlane has a view on the source's own key, and one that has to be repartitioned.
const testPlane = `
project: test
prefix: %s
connections:
  kafka: {brokers: ["127.0.0.1:1"]}
  redis: {url: "redis://127.0.0.1:1"}
processing: {commit_interval: 50ms, route_interval: 10ms, publish_interval: 2ms}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
  - {name: shop, join_keys: [{name: shop, type: int64}]}
sources:
  - name: orders
    topic: %s
    format: json
    key: [user]
    event_time: {field: at, format: unix_ms}
    schema:
      - {name: user, type: string, required: true}
      - {name: shop, type: int64, required: true}
      - {name: amount, type: float64}
      - {name: n, type: int64}
      - {name: at, type: int64, required: true}
%s
feature_views:
  - name: user_orders
    entity: user
    source: orders
    features:
      - {name: ever, aggregate: count}
      - {name: sum_1h, aggregate: sum, of: n, window: 1h}
      - {name: count_1m, aggregate: count, window: 1m}
      - {name: last_shop, of: shop}
      - {name: shops, aggregate: approx_distinct, of: shop, window: 1h}
  - name: shop_orders
    entity: shop
    source: orders
    where: amount != null
    features:
      - {name: ever, aggregate: count}
      - {name: n_ever, aggregate: sum, of: n}
      - {name: max_10m, aggregate: max, of: amount, window: 10m}
`

// event is what the tests produce; the oracle computes from it.
type event struct {
	User   string   `json:"user"`
	Shop   int64    `json:"shop"`
	Amount *float64 `json:"amount,omitempty"`
	N      int64    `json:"n"`
	At     int64    `json:"at"` // milliseconds
	ID     string   `json:"id,omitempty"`
}

// world is a Kafka, a Redis-like store and a plane, with instances that come and go.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	seeds   []string
	plane   *config.Plane
	topic   string
	redis   *memoryRedis
	dir     string
	rng     *rand.Rand
	events  []event
	start   time.Time
	sender  *kgo.Client // of send; nil before the first
}

const testPartitions = 4

func newWorld(t *testing.T, extraSource string) *world {
	t.Helper()
	return newWorldOn(t, 1, extraSource)
}

// newWorldOn is newWorld with more brokers than one.
func newWorldOn(t *testing.T, brokers int, extraSource string) *world {
	t.Helper()
	// Out of order, for in order a request that is held a second time races within the fake broker.
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.GroupMinSessionTimeout(100*time.Millisecond), kfake.SleepOutOfOrder())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{
		t: t, cluster: c, seeds: c.ListenAddrs(), topic: "orders", redis: newMemoryRedis(), dir: t.TempDir(),
		rng: rand.New(rand.NewPCG(1, uint64(len(t.Name())))), start: time.Now().Add(-2 * time.Hour).Truncate(time.Second),
	}
	if err := c.CreateTopic(w.topic, testPartitions, nil); err != nil {
		t.Fatal(err)
	}
	w.plane = w.load(fmt.Sprintf(testPlane, "fr.", w.topic, extraSource))
	return w
}

func (w *world) load(text string) *config.Plane {
	w.t.Helper()
	f := filepath.Join(w.t.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Processing.StateDir = w.dir
	p.Processing.InstanceID = "one"
	return p
}

// instance is a runtime that a test can stop.
type instance struct {
	w      *world
	rt     *Runtime
	cancel context.CancelFunc
	done   chan error
}

func (w *world) run(edit func(*Options)) *instance {
	w.t.Helper()
	p := *w.plane
	o := w.options(&p)
	if edit != nil {
		edit(&o)
	}
	rt, err := New(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &instance{w: w, rt: rt, cancel: cancel, done: make(chan error, 1)}
	go func() { in.done <- rt.Run(ctx) }()
	w.t.Cleanup(in.stop)
	return in
}

func (w *world) options(p *config.Plane) Options {
	return Options{
		Plane: p, Kafka: config.Kafka{Brokers: w.seeds}, Client: []kgo.Opt{kgo.SeedBrokers(w.seeds...)},
		Online: w.redis, Loss: w.redis, Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Registerer: prometheus.NewRegistry(),
	}
}

// stop ends the instance gracefully; it may be called again.
func (in *instance) stop() {
	in.cancel()
	select {
	case err := <-in.done:
		if err != nil {
			in.w.t.Errorf("run: %v", err)
		}
		in.done <- nil
	case <-time.After(30 * time.Second):
		in.w.t.Fatal("the instance did not stop")
	}
}

// idle reports an error unless all that the instance has taken up is committed. What is online may be newer than the last report
// of progress: the next one is waited for.
func (in *instance) idle() error {
	last := in.rt.mat.progress.Load()
	p := last
	for range 1000 {
		if p = in.rt.mat.progress.Load(); p != last {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if p == last {
		return errors.New("no report of progress")
	}
	if !p.Idle {
		return fmt.Errorf("a transaction is open: %+v", *p)
	}
	return nil
}

func (in *instance) waitReady() {
	in.w.t.Helper()
	eventually(in.w.t, "ready", func() error { return in.rt.Ready() })
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		os.Stderr.Write(b)
	}
	return len(b), nil
}

// eventually waits until fn returns nil.
func eventually(t *testing.T, what string, fn func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = fn(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// client is for producing and reading in tests.
func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

// random makes an event: times advance with jitter, some are late, some share a time, some amounts are null.
func (w *world) random() event {
	i := len(w.events)
	e := event{
		User: fmt.Sprintf("u%d", w.rng.IntN(20)), Shop: int64(w.rng.IntN(7)), N: int64(w.rng.IntN(10)),
		At: w.start.Add(time.Duration(i)*700*time.Millisecond - time.Duration(w.rng.IntN(30000))*time.Millisecond).UnixMilli(),
	}
	if w.rng.IntN(5) > 0 {
		a := float64(w.rng.IntN(1000)) / 8
		e.Amount = &a
	}
	return e
}

// produce sends events as a well-behaved producer does and remembers them for the oracle.
func (w *world) produce(n int) {
	w.t.Helper()
	es := make([]event, n)
	for i := range es {
		es[i] = w.random()
		w.events = append(w.events, es[i])
	}
	w.send(es...)
}

func (w *world) send(es ...event) {
	w.t.Helper()
	if w.sender == nil {
		w.sender = w.client()
	}
	var recs []*kgo.Record
	for _, e := range es {
		v, err := json.Marshal(e)
		if err != nil {
			w.t.Fatal(err)
		}
		key, err := ingest.AppendRecordKey(nil, feature.StringValue(e.User))
		if err != nil {
			w.t.Fatal(err)
		}
		recs = append(recs, &kgo.Record{Topic: w.topic, Key: key, Value: v, Partition: ingest.Partition(key, testPartitions)})
	}
	if err := w.sender.ProduceSync(w.t.Context(), recs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// check compares every feature of every entity with the oracle, as of a moment after all events.
func (w *world) check() error {
	t := int64(0)
	for _, e := range w.events {
		t = max(t, e.At*1000)
	}
	users, shops := map[string][]event{}, map[int64][]event{}
	for _, e := range w.events {
		users[e.User] = append(users[e.User], e)
		if e.Amount != nil {
			shops[e.Shop] = append(shops[e.Shop], e)
		}
	}
	for u, es := range users {
		if err := w.compare("user_orders", feature.StringValue(u), t, userOracle(es, t)); err != nil {
			return err
		}
	}
	for s, es := range shops {
		if err := w.compare("shop_orders", feature.Int64Value(s), t, shopOracle(es, t)); err != nil {
			return err
		}
	}
	return nil
}

// compareUser compares one user's features with the oracle over its events, as of a moment after all events.
func (w *world) compareUser(user string, es []event) error {
	return w.compareIn("user_orders", user, es)
}

func (w *world) compareIn(view, user string, es []event) error {
	t := int64(0)
	for _, e := range w.events {
		t = max(t, e.At*1000)
	}
	return w.compare(view, feature.StringValue(user), t, userOracle(es, t))
}

// compareUserIfOn is compareUser for a user that is not on a partition that stands still.
func (w *world) compareUserIfOn(user string, es []event, except int32) error {
	if ingest.Partition([]byte(user), testPartitions) == except {
		return nil
	}
	return w.compareUser(user, es)
}

// absent reports an error unless a lookup finds no such user.
func (w *world) absent(user string) error {
	if _, err := w.lookup("user_orders", feature.StringValue(user), w.start.UnixMicro()); err == nil {
		return fmt.Errorf("%s is still there", user)
	}
	return nil
}

func (w *world) compare(view string, key feature.Value, t int64, want []feature.Value) error {
	got, err := w.lookup(view, key, t)
	if err != nil {
		return fmt.Errorf("%s %s: %w", view, key, err)
	}
	for i := range want {
		if !got[i].Equal(&want[i]) {
			return fmt.Errorf("%s %s: feature %d is %s, want %s", view, key, i, got[i], want[i])
		}
	}
	return nil
}

func (w *world) lookup(view string, key feature.Value, t int64) ([]feature.Value, error) {
	i := slices.IndexFunc(w.plane.Views, func(v *config.View) bool { return v.Name == view })
	return w.lookupState(view, w.plane.Views[i].Fingerprint, key, t)
}

// lookupState looks a view up under the id of one of its states.
func (w *world) lookupState(view string, state config.Fingerprint, key feature.Value, t int64) ([]feature.Value, error) {
	i := slices.IndexFunc(w.plane.Views, func(v *config.View) bool { return v.Name == view })
	v := w.plane.Views[i]
	k, err := feature.AppendKey(nil, key)
	if err != nil {
		return nil, err
	}
	headField, tailField := online.Fields(v.Name, state)
	head, tail := w.redis.get(string(online.AppendKey(nil, w.plane.Project, v.Entity.Name, k)), headField, tailField)
	out := make([]feature.Value, len(v.Features))
	want := make([]int, len(out))
	for i := range want {
		want[i] = i
	}
	st, _, _, err := (&feature.Reader{}).Read(v.Layout, head, tail, t, want, out)
	if err == nil && st != feature.Present {
		err = fmt.Errorf("status %s", st)
	}
	return out, err
}

// inWindow is the definition of a window, in a loop over raw events.
func inWindow(at, t int64, window time.Duration, sketch bool) bool {
	w := window.Microseconds()
	return at >= feature.WindowStart(t, w, feature.Hop(w, sketch))
}

func userOracle(es []event, t int64) []feature.Value {
	var sum, minute int64
	var any bool
	shops := map[int64]bool{}
	latest := -1
	for i, e := range es {
		at := e.At * 1000
		if inWindow(at, t, time.Hour, false) {
			sum += e.N
			any = true
		}
		if inWindow(at, t, time.Minute, false) {
			minute++
		}
		if inWindow(at, t, time.Hour, true) {
			shops[e.Shop] = true
		}
		// All events of a user are in one partition, in the order of offsets: a tie goes to the later record.
		if latest < 0 || at >= es[latest].At*1000 {
			latest = i
		}
	}
	total := feature.Value{}
	if any {
		total = feature.Int64Value(sum)
	}
	return []feature.Value{
		feature.Int64Value(int64(len(es))), total, feature.Int64Value(minute), feature.Int64Value(es[latest].Shop), feature.Int64Value(int64(len(shops))),
	}
}

func shopOracle(es []event, t int64) []feature.Value {
	var sum int64
	top := feature.Value{}
	for _, e := range es {
		sum += e.N
		if inWindow(e.At*1000, t, 10*time.Minute, false) {
			if top.IsNull() || *e.Amount > top.Float64() {
				top = feature.Float64Value(*e.Amount)
			}
		}
	}
	return []feature.Value{feature.Int64Value(int64(len(es))), feature.Int64Value(sum), top}
}

// memoryRedis is the guard's rules in a map: what the real one is compared with elsewhere.
type memoryRedis struct {
	mu      sync.Mutex
	fields  map[string]map[string][]byte
	canary  map[string]feature.Version
	known   map[string]feature.Version // what the detector in the process remembers
	away    error
	id      int
	refused int
	writes  int
	expire  map[string]time.Duration // of the last write of a key
}

func newMemoryRedis() *memoryRedis {
	return &memoryRedis{fields: map[string]map[string][]byte{}, canary: map[string]feature.Version{}, known: map[string]feature.Version{}, expire: map[string]time.Duration{}}
}

func (r *memoryRedis) get(key, head, tail string) (h, t []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fields[key][head], r.fields[key][tail]
}

// empty forgets everything, as a restarted Redis does.
func (r *memoryRedis) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fields, r.canary = map[string]map[string][]byte{}, map[string]feature.Version{}
	r.id++
}

func (r *memoryRedis) setAway(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = err
}

func (r *memoryRedis) Write(_ context.Context, batch []online.Write, out []online.Outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil {
		return r.away
	}
	for i, w := range batch {
		r.writes++
		r.expire[string(w.Key)] = w.Expire
		out[i] = r.write(w)
		if out[i] == online.Refused {
			r.refused++
		}
	}
	return nil
}

func (r *memoryRedis) DeleteView(_ context.Context, keys [][]byte, headField, tailField string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		delete(r.fields[string(k)], headField)
		delete(r.fields[string(k)], tailField)
	}
	return nil
}

func (r *memoryRedis) write(w online.Write) online.Outcome {
	h := r.fields[string(w.Key)]
	if h == nil {
		h = map[string][]byte{}
		r.fields[string(w.Key)] = h
	}
	v, tail, _ := feature.HeadVersion(w.Head)
	if old, _, ok := feature.HeadVersion(h[w.HeadField]); ok && string(old[:]) > string(v[:]) {
		return online.Refused
	}
	switch {
	case w.Tail != nil:
		h[w.TailField] = slices.Clone(w.Tail)
	case tail == feature.Version{}:
		delete(h, w.TailField)
	default:
		if tv, ok := feature.TailVersion(h[w.TailField]); !ok || tv != tail {
			return online.NeedTail
		}
	}
	h[w.HeadField] = slices.Clone(w.Head)
	return online.Accepted
}

// The canaries of one node that is always trusted unless its canary is missing or too low.
func (r *memoryRedis) Check(_ context.Context, task string, want feature.Version) ([]online.Node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil {
		return nil, r.away
	}
	have, ok := r.canary[task]
	if known, ok := r.known[task]; ok {
		want = known
	}
	if want != (feature.Version{}) && (!ok || string(have[:]) < string(want[:])) {
		return []online.Node{{}}, nil
	}
	return nil, nil
}

func (r *memoryRedis) Advance(_ context.Context, task string, v feature.Version) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil {
		return r.away
	}
	if have := r.canary[task]; string(have[:]) <= string(v[:]) {
		r.canary[task], r.known[task] = v, v
	}
	return nil
}

func (r *memoryRedis) Vouch(ctx context.Context, task string, _ online.Node, v feature.Version) error {
	return r.Advance(ctx, task, v)
}

func (r *memoryRedis) Forget(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, task)
}
