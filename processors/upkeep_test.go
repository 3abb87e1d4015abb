package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// recent is a view with nothing that lasts: its entities leave when their windows and its ttl are over.
const recent = `
  - name: recent
    entity: user
    source: orders
    ttl: 10m
    features:
      - {name: count_1m, aggregate: count, window: 1m}
`

// neighbours returns users whose events are on the same partition.
func neighbours(n int) (users []string) {
	for i := 0; len(users) < n; i++ {
		if u := fmt.Sprintf("n%d", i); ingest.Partition([]byte(u), testPartitions) == 0 {
			users = append(users, u)
		}
	}
	return users
}

func (w *world) eventOf(user string, after time.Duration) event {
	return event{User: user, Shop: 3, N: 1, At: w.start.Add(after).UnixMilli(), ID: user + after.String()}
}

// stored counts what the local store of a stopped instance holds of an entity, and of event ids.
func (w *world) stored(entity string) (cells, ids int) {
	w.t.Helper()
	dir, err := stateDir(w.plane)
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := openStore(dir, 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	defer st.close()
	id, _, err := st.task(w.topic, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	want, err := feature.AppendKey(nil, feature.StringValue(entity))
	if err != nil {
		w.t.Fatal(err)
	}
	err = st.scan(id, nil, nil, func(key, _ []byte) error {
		switch key[0] {
		case kindEventID:
			ids++
		case kindCell:
			if _, e, _, err := feature.ParseCellKey(key[1:]); err == nil && string(e) == string(want) {
				cells++
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return cells, ids
}

// TestWhatIsOverLeavesTheState: an entity that nothing touches any more, and ids beyond their horizon, leave the local store and
// the changelog once stream time has passed them, from memory and from the store alike. Redis was told when to drop the entity.
func TestWhatIsOverLeavesTheState(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} { // the entity is in memory; it is in the store alone
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "      - {name: id, type: string}\n    event_id: {field: id, horizon: 30m}\n")
			text := w.text("      - {name: id, type: string}\n    event_id: {field: id, horizon: 30m}\n")
			head, _, _ := strings.Cut(text, "feature_views:")
			w.plane = w.load(head + "feature_views:" + recent)
			users := neighbours(2)
			old, young := users[0], users[1]
			in := w.run(nil)
			w.send(w.eventOf(old, 0))
			eventually(t, "the entity's cells", func() error {
				if n := w.cellsNaming("recent", feature.StringValue(old)); n == 0 {
					return errors.New("none in the changelog")
				}
				return nil
			})
			if restart {
				in.stop()
				in = w.run(nil)
			}
			sweep := func(after time.Duration) { // each event's transaction sweeps
				w.send(w.eventOf(young, after))
			}
			after := time.Hour
			eventually(t, "the cells of the entity to be gone from the changelog", func() error {
				after += time.Second
				sweep(after)
				if n := w.cellsNaming("recent", feature.StringValue(old)); n != 0 {
					return fmt.Errorf("%d are left", n)
				}
				return nil
			})
			in.stop()
			if cells, ids := w.stored(old); cells != 0 || ids == 0 {
				t.Errorf("the store has %d cells of what is over, want none, and %d ids of what is not", cells, ids)
			}
			if swept := testutil.ToFloat64(in.rt.met.sweptCells); swept == 0 {
				t.Error("the metric says that nothing was swept")
			}
			// The ids of the old entity's time went with it: its event would count again.
			w.run(nil)
			again := w.eventOf(old, after)
			again.ID = w.eventOf(old, 0).ID
			w.send(again)
			eventually(t, "a repeat beyond the horizon counts", func() error {
				vals, err := w.lookup("recent", feature.StringValue(old), again.At*1000)
				if err == nil && vals[0].Int64() != 1 {
					err = fmt.Errorf("counted %d times", vals[0].Int64())
				}
				return err
			})
			key, err := feature.AppendKey(nil, feature.StringValue(old))
			if err != nil {
				t.Fatal(err)
			}
			w.redis.mu.Lock()
			defer w.redis.mu.Unlock()
			keep := time.Duration(w.plane.Views[0].Layout.KeepFor()) * time.Microsecond
			if got := w.redis.expire[string(online.AppendKey(nil, w.plane.Project, "user", key))]; got != keep || keep < 10*time.Minute {
				t.Errorf("Redis keeps it for %s, want %s", got, keep)
			}
		})
	}
}

// TestARepeatCountsBeyondTheHorizonOnly takes the horizon by stream time, at its very edge.
func TestARepeatCountsBeyondTheHorizonOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "      - {name: id, type: string}\n    event_id: {field: id, horizon: 30m}\n")
	w.run(nil)
	users := neighbours(2)
	first := w.eventOf(users[0], 0)
	want := []event{first}
	clock := func(after time.Duration) event { return w.eventOf(users[1], after) }
	repeat := first
	repeat.At += 1 // another event time, so that it is seen which of them counts
	w.send(first, repeat, clock(30*time.Minute), repeat, clock(30*time.Minute+time.Millisecond), repeat)
	want = append(want, repeat) // the last of them alone
	w.events = append(w.events, first, repeat, clock(30*time.Minute), clock(30*time.Minute+time.Millisecond))
	eventually(t, "the clock's events", func() error { return w.compareUser(users[1], w.events[2:]) })
	eventually(t, "the repeats", func() error { return w.compareUser(users[0], want) })
}

// TestASmallCacheLosesNothing: entities come and go between memory and the store, while what waits or has changed stays.
func TestASmallCacheLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(func(o *Options) { o.Plane.Processing.StateCacheBytes = 1 })
	most := 0.0
	for range 6 {
		w.produce(150)
		eventually(t, "features", w.check)
		most = max(most, testutil.ToFloat64(in.rt.met.cacheBytes))
	}
	// What a transaction changes stays until the next has ended, and the events before may have been of one. These change one entity.
	eventually(t, "entities to leave memory", func() error {
		one := w.eventOf(w.events[0].User, time.Hour)
		w.send(one)
		w.events = append(w.events, one)
		most = max(most, testutil.ToFloat64(in.rt.met.cacheBytes))
		if held := testutil.ToFloat64(in.rt.met.cacheBytes); most == 0 || held > most/4 {
			return fmt.Errorf("%g bytes are held, of at most %g, though there is room for none", held, most)
		}
		return nil
	})
	// They come back as the store got them since the task first read it.
	w.produce(150)
	eventually(t, "features of entities that came back", w.check)
	in.stop()
	w.redis.empty()
	w.run(nil)
	eventually(t, "features from the store", w.check)
}

// TestEvictionSparesWhatWaits: what has changed, waits or was just used stays; the rest goes until enough is freed.
func TestEvictionSparesWhatWaits(t *testing.T) {
	v := &viewState{entities: map[string]*entry{}}
	for i := range 40 {
		e := &entry{key: fmt.Sprint(i), size: 100, dirty: i%4 == 1, pending: i%4 == 2, used: i%4 == 3}
		v.entities[e.key] = e
		v.bytes += 100
	}
	if freed := v.evict(250); freed != 300 || v.bytes != 3700 || len(v.entities) != 37 {
		t.Errorf("freed %d, %d bytes and %d entities are left", freed, v.bytes, len(v.entities))
	}
	if freed := v.evict(1 << 20); freed < 700 || v.bytes != 100*len(v.entities) {
		t.Errorf("freed %d, %d bytes and %d entities are left", freed, v.bytes, len(v.entities))
	}
	v.evict(1 << 20) // what was used has had its second chance
	for _, e := range v.entities {
		if !e.dirty && !e.pending {
			t.Errorf("%s is left", e.key)
		}
	}
	if len(v.entities) != 20 || v.bytes != 2000 {
		t.Errorf("%d bytes and %d entities are left, want those of 20", v.bytes, len(v.entities))
	}
}

// TestEverythingIsPublishedNowAndThen: what Redis lost without anybody noticing comes back with the next round.
func TestEverythingIsPublishedNowAndThen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(100)
	in := w.run(func(o *Options) { o.fullEvery = time.Millisecond })
	eventually(t, "features", w.check)
	w.redis.mu.Lock()
	clear(w.redis.fields) // the canaries stay
	w.redis.mu.Unlock()
	eventually(t, "features that were lost", w.check)
	if n := testutil.ToFloat64(in.rt.met.republished); n == 0 {
		t.Error("the metric says that nothing was published again")
	}
}

// TestReadingDoesNotPauseForARound: entities in memory that are published again though nothing is missing leave room for events; and they
// are published.
func TestReadingDoesNotPauseForARound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(100)
	in := w.run(nil)
	eventually(t, "features", w.check)
	in.stop()
	in = w.run(func(o *Options) {
		o.fullEvery = time.Millisecond
		o.Plane.Processing.MaxPendingWrites = 8
	})
	eventually(t, "rounds", func() error { // the first takes them into memory
		if n := testutil.ToFloat64(in.rt.met.republished); n < 60 {
			return fmt.Errorf("%v entities were published again", n)
		}
		return nil
	})
	w.redis.mu.Lock()
	clear(w.redis.fields) // the canaries stay
	w.redis.mu.Unlock()
	eventually(t, "features that were lost", w.check)
	if n := testutil.ToFloat64(in.rt.met.paused); n != 0 {
		t.Errorf("processing paused %v times", n)
	}
}

// TestARoundLeavesHalfOfTheRoom to events, by number and by bytes, and goes on where there is hardly any.
func TestARoundLeavesHalfOfTheRoom(t *testing.T) {
	for _, c := range []struct {
		writes int
		bytes  int64
		most   int // wait at once, of ten entities of 100 bytes
	}{
		{8, 1 << 30, 4},
		{1000, 700, 4}, // the last begins below the half
		{1000, 1 << 30, 10},
		{1, 1, 1},
	} {
		v := &viewState{entities: map[string]*entry{}}
		for i := range 10 {
			v.entities[fmt.Sprint(i)] = &entry{size: 100}
		}
		one := &task{views: []*viewState{v}}
		m := &materializer{plane: &config.Plane{}, running: []*task{one}, met: newMetrics(prometheus.NewRegistry())}
		m.plane.Processing.MaxPendingWrites, m.plane.Processing.StateCacheBytes = c.writes, c.bytes
		one.startRound()
		most, sent := 0, 0
		for len(one.online.republish.memory) > 0 {
			before := v.waiting()
			if err := m.continueRepublishing(); err != nil {
				t.Fatal(err)
			}
			most = max(most, v.waiting())
			if v.waiting() == before { // Redis takes them
				sent += before
				v.pending, v.waits = nil, 0
				for _, e := range v.entities {
					e.pending = false
				}
			}
		}
		if sent += v.waiting(); sent != 10 || most != c.most {
			t.Errorf("%+v: %d entities were taken up, at most %d at once", c, sent, most)
		}
	}
}

// TestAnEntityThatLeavesMemoryIsReadAnew: what a task has seen of the store before an entity left memory is not what the entity comes
// back as.
func TestAnEntityThatLeavesMemoryIsReadAnew(t *testing.T) {
	p := newPublishing(t)
	m := &materializer{store: p.task.store, met: p.met, plane: &config.Plane{}, tasks: map[topicPartition]*task{{"orders", 0}: p.task}}
	m.plane.Processing.StateCacheBytes = 1
	e := p.event(time.Hour)
	p.task.cells.hold()
	if _, err := p.view.get(p.task, []byte("another")); err != nil { // its view of the store is from before what follows
		t.Fatal(err)
	}
	b := m.store.batch(0)
	p.view.layout.Flush(&e.Entity, &p.view.flushing, func(c feature.Cell, cell []byte) {
		if err := b.put(p.task.id, feature.AppendCellKey([]byte{kindCell}, p.view.fp, e.keyBytes(), c), cell); err != nil {
			t.Error(err)
		}
	})
	if err := b.commit(); err != nil {
		t.Fatal(err)
	}
	p.task.seal(nil)
	p.task.settle(p.task.now)
	e.pending, p.view.pending = false, nil
	m.evict()
	if _, ok := p.view.entities[e.key]; ok {
		t.Fatal("the entity has not left memory")
	}
	if back, err := p.view.get(p.task, []byte(e.key)); err != nil || back.Empty() {
		t.Errorf("the entity comes back without what the store has of it (%v)", err)
	}
}

// TestWaitingEntitiesAreBoundedByBytes: while Redis is away processing pauses when those that wait fill the cache, however few
// they are, and goes on when Redis comes.
func TestWaitingEntitiesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.redis.setAway(errors.New("away"))
	in := w.run(func(o *Options) { o.Plane.Processing.StateCacheBytes = 1 << 10 })
	w.produce(100)
	eventually(t, "a pause", func() error {
		if testutil.ToFloat64(in.rt.met.paused) == 0 {
			return errors.New("none")
		}
		return nil
	})
	w.produce(100)
	w.redis.setAway(nil)
	eventually(t, "features", w.check)
	in.stop()
	for _, task := range in.rt.mat.tasks {
		for _, v := range task.views {
			if v.waits != 0 || v.waiting() != 0 {
				t.Errorf("%s %s: %d bytes of %d entities wait", task.name(), v.view.Name, v.waits, v.waiting())
			}
		}
	}
}

// TestWhatWaitsIsAccountedFor follows the bytes of waiting entities through their changes and a rollback.
func TestWhatWaitsIsAccountedFor(t *testing.T) {
	w := newWorld(t, "")
	m := &materializer{plane: w.plane}
	m.plane.Processing.StateCacheBytes, m.plane.Processing.MaxPendingWrites = 1<<30, 2
	v := &viewState{entities: map[string]*entry{}}
	m.running = []*task{{views: []*viewState{v}}}
	sum := func() (n int) {
		for _, e := range v.pending {
			n += int(e.size)
		}
		return n
	}
	for i, wait := range []bool{false, true} {
		e := &entry{key: strings.Repeat("k", 10+i)}
		v.entities[e.key] = e
		v.changed(e)
		v.changed(e)
		e.key += "longer" // as state grows
		v.resize(e)
		if v.waits == 0 || v.waits != sum() {
			t.Fatalf("%d bytes wait, want %d", v.waits, sum())
		}
		if got := m.tooMuchWaits(); got != wait {
			t.Errorf("%d of 2 entities wait: paused %v", i+1, got)
		}
	}
	m.plane.Processing.MaxPendingWrites = 3
	m.plane.Processing.StateCacheBytes = int64(v.waits) + 1
	if m.tooMuchWaits() {
		t.Error("paused with room for a byte")
	}
	m.plane.Processing.StateCacheBytes--
	if !m.tooMuchWaits() {
		t.Error("not paused when those that wait fill the cache")
	}
	v.rollback()
	if v.waits != 0 || len(v.lookFor) != 2 {
		t.Errorf("after a rollback %d bytes wait in memory and %d entities elsewhere", v.waits, len(v.lookFor))
	}
}

// TestASilentPartitionShowsNoDelay: a partition that has been silent for a minute is not told as one that is behind, and is
// again with its next event.
func TestASilentPartitionShowsNoDelay(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	met := newMetrics(prometheus.NewRegistry())
	in := &input{topic: "orders"}
	var tasks []*task
	for _, p := range []string{"0", "1", "2"} {
		tasks = append(tasks, &task{in: in, partitionLabel: p, now: noMeta()})
	}
	busy, silent, fresh := tasks[0], tasks[1], tasks[2]
	busy.now.streamTime, busy.lastEvent = now.Add(-3*time.Second).UnixMicro(), now
	silent.now.streamTime, silent.lastEvent = now.Add(-time.Hour).UnixMicro(), now.Add(-time.Minute)
	fresh.lastEvent = now // a dead letter alone: it has no stream time
	shown := func() int { return testutil.CollectAndCount(met.watermark) }
	met.watermarks(tasks, now)
	if n := shown(); n != 2 {
		t.Errorf("%d partitions are shown, want the busy one and the one that has just fallen silent", n)
	}
	met.watermarks(tasks, now.Add(time.Second)) // more than a minute
	busy.lastEvent = now.Add(time.Second)
	if n := shown(); n != 1 || testutil.ToFloat64(met.watermark.WithLabelValues("orders", "0")) != 4 {
		t.Errorf("%d partitions are shown, want the busy one alone", n)
	}
	silent.lastEvent = now.Add(time.Second)
	met.watermarks(tasks, now.Add(time.Second))
	if n := shown(); n != 2 {
		t.Errorf("%d partitions are shown, want the one with a new event too", n)
	}
}

// TestFreshnessIsOfEachViewAndEntity: an entity that is published with new events is observed once, from the first of them;
// one that is published again without is not.
func TestFreshnessIsOfEachViewAndEntity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(func(o *Options) { o.fullEvery = time.Millisecond })
	in.waitReady()
	// Entities that are written together would be one observation each; here each has one event.
	users := neighbours(5)
	amount := 1.0
	for i, u := range users {
		e := w.eventOf(u, time.Duration(i)*time.Second)
		e.Amount, e.Shop = &amount, int64(i)
		w.events = append(w.events, e)
	}
	w.send(w.events...)
	eventually(t, "features", w.check)
	eventually(t, "a round without an event", func() error {
		if testutil.ToFloat64(in.rt.met.republished) < 20 {
			return errors.New("it has not come")
		}
		return nil
	})
	in.stop()
	for _, v := range w.plane.Views {
		n, sum := observed(t, in.rt.met, v)
		if n != 5 {
			t.Errorf("%s: %d observations, want 5", v.Name, n)
		}
		if least := 5 * (2*time.Hour - 5*time.Second).Seconds(); sum < least { // the events are two hours old
			t.Errorf("%s: observed %v s, want at least %v", v.Name, sum, least)
		}
	}
}

// observed returns how often the freshness of a view was observed, and the sum.
func observed(t *testing.T, met *metrics, v *config.View) (n uint64, sum float64) {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(met.freshness)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == v.Name {
			return m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
		}
	}
	return 0, 0
}

// TestOneStepOfARoundIsShort: the walk over the store stops among the cells of views that are not defined any more too.
func TestOneStepOfARoundIsShort(t *testing.T) {
	t.Parallel()
	s, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	one := &task{id: 3, store: s}
	one.online.republish.active = true
	b := s.batch(0)
	for i := range 2*republishSeen + 10 {
		key := feature.AppendCellKey([]byte{kindCell}, [8]byte{1}, binary.BigEndian.AppendUint32(nil, uint32(i)), feature.Cell{})
		if err := b.put(one.id, key, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.commit(); err != nil {
		t.Fatal(err)
	}
	for step := range 3 {
		if one.online.republish.walked {
			t.Fatalf("it was over after %d steps", step)
		}
		if n, err := one.continueRepublish(republishChunk, false); n != 0 || err != nil {
			t.Fatalf("step %d: %d entities, %v", step, n, err)
		}
	}
	if !one.online.republish.walked {
		t.Error("it is not over after three steps")
	}
}
