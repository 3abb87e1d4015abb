package online

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
)

// TestConformance holds every kind of server to the same behaviour.
func TestConformance(t *testing.T) {
	t.Run("Embedded", func(t *testing.T) {
		c, _ := embedded(t)
		conform(t, c)
	})
	t.Run("Server", func(t *testing.T) {
		conform(t, open(t, "redis://"+testenv.Redis(t), Options{}))
	})
	t.Run("Cluster", func(t *testing.T) {
		conform(t, open(t, clusterURL(testenv.StartRedisCluster(t)), Options{}))
	})
	t.Run("Sentinel", func(t *testing.T) {
		s := testenv.StartRedisSentinel(t)
		conform(t, open(t, "redis-sentinel://"+s.Sentinel.Addr()+"/"+s.MasterName+"/2", Options{}))
	})
}

func conform(t *testing.T, c *Client) {
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(*testing.T, *Client, string){
		"GuardOrdersVersions":         guardOrdersVersions,
		"HeadAloneNeedsItsTail":       headAloneNeedsItsTail,
		"HeadWithoutTailDropsIt":      headWithoutTailDropsIt,
		"PagesComeAndGoWithTheirTail": pagesComeAndGo,
		"ViewsShareTheExpiry":         viewsShareTheExpiry,
		"ForeignBlobIsReplaced":       foreignBlobIsReplaced,
		"WrongTypeFailsAlone":         wrongTypeFailsAlone,
		"InvalidWriteFailsAlone":      invalidWriteFailsAlone,
		"LargeMixedBatch":             largeMixedBatch,
		"FetchIsOneRoundTripANode":    fetchIsOneRoundTripANode,
		"SameEntityTwiceInABatch":     sameEntityTwiceInABatch,
		"FetchKeepsOrderAndAbsence":   fetchKeepsOrderAndAbsence,
		"FetchUsesMemoryAgain":        fetchUsesMemoryAgain,
		"CanaryIsGuarded":             canaryIsGuarded,
		"LossIsNoticedAndMended":      lossIsNoticedAndMended,
	} {
		t.Run(name, func(t *testing.T) { test(t, c, testenv.Prefix(t)) })
	}
}

func guardOrdersVersions(t *testing.T, c *Client, project string) {
	v := feature.MakeVersion
	const big = 1<<63 + 1<<53 // doubles near it are 2048 apart
	versions := []feature.Version{
		v(0, 0, 0, 1), v(0, 0, 1, 0), v(0, 1, 0, 0), v(1, 0, 0, 0), v(1, 0, 0x7f, 0), v(1, 0, 0x80, 0), v(1, 0, 0xff, 0),
		v(1, 0, 0x100, 0), v(1, 0, 0xffffffff, 0), v(1, 0, 0x100000000, 0), v(1, 0, big, 0), v(1, 0, big+1, 0),
		v(1, 0, big+1, 1), v(1, 0, big+1, 0xffffffff), v(1, 1, 0, 0), v(1, 0xffffffff, 0, 0), v(2, 0, 0, 0),
		v('A', 0, 0, 0), v('_', 0, 0, 0), v('a', 0, 0, 0), // order differently in many locales
		v(1<<63, 0, 0, 0), v(^uint64(0), ^uint32(0), ^uint64(0), ^uint32(0)),
	}
	for i, stored := range versions {
		for j, late := range versions {
			e := newEntity(t, c, project, fmt.Sprint(i, "/", j))
			old, next := headBlob(stored, zero, "old"), headBlob(late, zero, "new")
			wantOutcome(t, e.write(old, nil, 0), Accepted)
			want, left := Accepted, next
			if j < i {
				want, left = Refused, old
			}
			wantOutcome(t, e.write(next, nil, 0), want)
			e.wantStored(left, nil)
		}
	}
}

func headAloneNeedsItsTail(t *testing.T, c *Client, project string) {
	e := newEntity(t, c, project, "x")
	head := headBlob(version(2), version(1), "h2")
	wantOutcome(t, e.write(head, nil, 0), NeedTail)
	if e.ttl() != -2 {
		t.Fatal("a refused write left a key")
	}
	tail := tailBlob(version(1), "t1")
	wantOutcome(t, e.write(head, tail, 0), Accepted)
	e.wantStored(head, tail)

	same := headBlob(version(3), version(1), "h3")
	wantOutcome(t, e.write(same, nil, 0), Accepted)
	e.wantStored(same, tail)

	other := headBlob(version(4), version(4), "h4")
	wantOutcome(t, e.write(other, nil, 0), NeedTail)
	e.wantStored(same, tail)

	late := headBlob(version(2), version(2), "late")
	wantOutcome(t, e.write(late, nil, 0), Refused)
	wantOutcome(t, e.write(late, tailBlob(version(2), "late"), 0), Refused)
	e.wantStored(same, tail)

	equal, equalTail := headBlob(version(3), version(3), "again"), tailBlob(version(3), "again")
	wantOutcome(t, e.write(equal, equalTail, 0), Accepted)
	e.wantStored(equal, equalTail)
}

func headWithoutTailDropsIt(t *testing.T, c *Client, project string) {
	e := newEntity(t, c, project, "x")
	wantOutcome(t, e.write(headBlob(version(1), version(1), ""), tailBlob(version(1), "t"), 0), Accepted)
	bare := headBlob(version(2), zero, "")
	wantOutcome(t, e.write(bare, nil, 0), Accepted)
	e.wantStored(bare, nil)
	wantOutcome(t, e.write(headBlob(version(3), version(1), ""), nil, 0), NeedTail)
}

// pagesComeAndGo: a tail's pages are in fields of their own, and what another tail had is deleted with it.
func pagesComeAndGo(t *testing.T, c *Client, project string) {
	e := newEntity(t, c, project, "x")
	other := e
	other.head, other.tail = Fields("view", config.Fingerprint{9})
	n := uint64(0)
	write := func(e entity, pages ...string) {
		t.Helper()
		n++
		v := version(n)
		wantOutcome(t, e.write(pagedHead(v, v, len(pages), "h"), tailBlob(v, "t", pages...), time.Hour), Accepted)
	}
	write(e, "p0", "p1", "p2")
	e.wantPages("p0", "p1", "p2")
	first, _, _ := feature.TailParts(tailBlob(version(n), "t"))
	e.wantStored(pagedHead(version(n), version(n), 3, "h"), first)
	write(e, "q0", "q1", "q2")
	e.wantPages("q0", "q1", "q2")
	wantOutcome(t, e.write(pagedHead(version(n+1), version(n), 3, "alone"), nil, time.Hour), Accepted)
	e.wantPages("q0", "q1", "q2")
	wantOutcome(t, e.write(pagedHead(version(1), version(1), 1, "late"), tailBlob(version(1), "t", "late"), time.Hour), Refused)
	wantOutcome(t, e.write(pagedHead(version(n+2), version(n+2), 1, "other"), nil, time.Hour), NeedTail)
	e.wantPages("q0", "q1", "q2")
	n++
	write(e, "r0")
	e.wantPages("r0")
	write(e)
	e.wantPages()
	write(e, "s0", "s1")
	n++
	wantOutcome(t, e.write(headBlob(version(n), zero, "bare"), nil, time.Hour), Accepted)
	e.wantPages()

	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprint("page ", i)
	}
	write(e, many...)
	e.wantPages(many...)
	write(other, "mine")
	write(e, "few")
	if got, err := c.redis.HGet(t.Context(), e.key, PageField(other.tail, 0)).Result(); err != nil || got != "mine" {
		t.Fatalf("another view's page is %q, %v", got, err)
	}
	absent := AppendKey(nil, project, "e", []byte("absent"))
	if err := c.DeleteView(t.Context(), [][]byte{[]byte(e.key), absent}, other.head, other.tail); err != nil {
		t.Fatal(err)
	}
	e.wantPages("few")
	if err := c.Delete(t.Context(), [][]byte{[]byte(e.key), absent}); err != nil {
		t.Fatal(err)
	}
	if e.ttl() != -2 {
		t.Fatal("a deleted entity is there")
	}
}

func viewsShareTheExpiry(t *testing.T, c *Client, project string) {
	a := newEntity(t, c, project, "x")
	b := a
	b.head, b.tail = Fields("other", config.Fingerprint{9})
	n := uint64(0)
	write := func(e entity, expire time.Duration) {
		t.Helper()
		n++
		wantOutcome(t, e.write(headBlob(version(n), zero, ""), nil, expire), Accepted)
	}
	write(a, time.Hour)
	a.wantTTL(time.Hour)
	write(b, time.Minute) // shorter: must not cut
	a.wantTTL(time.Hour)
	write(a, 90*time.Minute) // more than half remains
	a.wantTTL(time.Hour)
	write(b, 3*time.Hour) // under half
	a.wantTTL(3 * time.Hour)
	write(a, 0)
	if got := a.ttl(); got != -1 {
		t.Fatalf("time to live %v after a write that never expires", got)
	}
	write(b, time.Hour) // must not bring an expiry back
	if got := a.ttl(); got != -1 {
		t.Fatalf("time to live %v after an expiring view of an entity that never expires", got)
	}
	wantOutcome(t, a.write(headBlob(zero, zero, ""), nil, time.Hour), Refused)
	if got := a.ttl(); got != -1 {
		t.Fatalf("a refused write changed the time to live to %v", got)
	}

	short := newEntity(t, c, project, "short")
	write(short, 1500*time.Microsecond+300*time.Second) // rounds up, not down to nothing
	short.wantTTL(300*time.Second + 2*time.Millisecond)
}

func foreignBlobIsReplaced(t *testing.T, c *Client, project string) {
	for _, foreign := range []string{"", "x", string(make([]byte, headPrefix-1))} {
		e := newEntity(t, c, project, fmt.Sprint(len(foreign)))
		if err := c.redis.HSet(t.Context(), e.key, e.head, foreign, e.tail, "junk").Err(); err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, e.write(headBlob(version(5), version(4), ""), nil, 0), NeedTail)
		bare := headBlob(version(5), zero, "bare")
		wantOutcome(t, e.write(bare, nil, 0), Accepted)
		e.wantStored(bare, nil)
	}
}

func wrongTypeFailsAlone(t *testing.T, c *Client, project string) {
	bad, good := newEntity(t, c, project, "bad"), newEntity(t, c, project, "good")
	if err := c.redis.Set(t.Context(), bad.key, "a string", 0).Err(); err != nil {
		t.Fatal(err)
	}
	head := headBlob(version(1), zero, "")
	out := make([]Outcome, 2)
	err := c.Write(t.Context(), []Write{bad.of(head, nil, 0), good.of(head, nil, 0)}, out)
	if err == nil || !slices.Equal(out, []Outcome{Failed, Accepted}) {
		t.Fatalf("outcomes %v, error %v", out, err)
	}
	good.wantStored(head, nil)

	got := make([][][]byte, 2)
	err = c.Fetch(t.Context(), []FetchRequest{{Key: bad.key, Fields: []string{bad.head}}, {Key: good.key, Fields: []string{good.head}}}, got)
	if err == nil || got[0] != nil || len(got[1]) != 1 || string(got[1][0]) != string(head) {
		t.Fatalf("fetched %q, error %v", got, err)
	}
}

func invalidWriteFailsAlone(t *testing.T, c *Client, project string) {
	e, f := newEntity(t, c, project, "bad"), newEntity(t, c, project, "good")
	good := headBlob(version(1), zero, "")
	for _, w := range []Write{
		e.of(nil, nil, 0),
		e.of(good[:headPrefix-1], nil, 0),
		e.of(headBlob(version(2), version(2), ""), tailBlob(version(1), ""), 0),
		e.of(headBlob(version(2), version(2), ""), []byte{}, 0),
		e.of(headBlob(version(2), zero, ""), tailBlob(zero, ""), 0),
		e.of(headBlob(version(2), version(2), ""), tailBlob(version(2), "")[:28], 0),
		e.of(headBlob(version(2), version(2), ""), tailBlob(version(2), "", "a page"), 0),
		e.of(pagedHead(version(2), version(2), 1, ""), tailBlob(version(2), ""), 0),
		e.of(pagedHead(version(2), version(2), 1, ""), tailBlob(version(2), "", "one", "two"), 0),
		e.of(pagedHead(version(2), version(2), 1, ""), append(tailBlob(version(2), "", "one"), 0), 0),
	} {
		out := []Outcome{Accepted, Accepted}
		err := c.Write(t.Context(), []Write{w, f.of(good, nil, 0)}, out)
		if err == nil || out[0] != Failed || out[1] != Accepted {
			t.Fatalf("outcomes %v, error %v for %+v", out, err, w)
		}
		if e.ttl() != -2 {
			t.Fatal("an invalid write left a key")
		}
	}
}

// largeMixedBatch crosses every bound of calls and pipelines, with several groups interleaved.
func largeMixedBatch(t *testing.T, c *Client, project string) {
	const n = 2*pipelineEntities + 77
	var batch []Write
	var reqs []FetchRequest
	big := make([]byte, 20<<10)
	for i, key := range keysOf(project, n) {
		v := version(uint64(i + 1))
		w := Write{Key: []byte(key), Expire: time.Duration(i%2) * time.Hour}
		w.HeadField, w.TailField = Fields(fmt.Sprint("view", i%3), config.Fingerprint{byte(i % 3)})
		w.Head = headBlob(v, zero, fmt.Sprint("head", i))
		if i%5 == 0 {
			w.Head, w.Tail = headBlob(v, v, ""), tailBlob(v, fmt.Sprint("tail", i))
			if i%50 == 0 {
				w.Tail = tailBlob(v, string(big))
			} else if i%50 == 5 {
				w.Head, w.Tail = pagedHead(v, v, 2, ""), tailBlob(v, "", fmt.Sprint("page", i), "other page")
			}
		}
		batch = append(batch, w)
		reqs = append(reqs, FetchRequest{Key: key, Fields: []string{w.TailField, w.HeadField, PageField(w.TailField, 0)}})
	}
	out := make([]Outcome, n)
	if err := c.Write(t.Context(), batch, out); err != nil {
		t.Fatal(err)
	}
	got := make([][][]byte, n)
	if err := c.Fetch(t.Context(), reqs, got); err != nil {
		t.Fatal(err)
	}
	for i, w := range batch {
		first, _, _ := feature.TailParts(w.Tail)
		page := ""
		if i%50 == 5 {
			page = fmt.Sprint("page", i)
		}
		if out[i] != Accepted || string(got[i][1]) != string(w.Head) || string(got[i][0]) != string(first) || string(got[i][2]) != page {
			t.Fatalf("write %d: %v, fetched %.80q", i, out[i], got[i])
		}
	}
}

func sameEntityTwiceInABatch(t *testing.T, c *Client, project string) {
	e := newEntity(t, c, project, "x")
	batch := []Write{
		e.of(headBlob(version(1), version(1), ""), tailBlob(version(1), "t1"), 0),
		e.of(headBlob(version(2), version(1), ""), nil, 0),
		e.of(headBlob(version(1), version(1), ""), nil, 0),
		e.of(headBlob(version(3), version(3), ""), nil, 0),
		e.of(headBlob(version(4), version(4), ""), tailBlob(version(4), "t4"), 0),
	}
	out := make([]Outcome, len(batch))
	if err := c.Write(t.Context(), batch, out); err != nil {
		t.Fatal(err)
	}
	if want := []Outcome{Accepted, Accepted, Refused, NeedTail, Accepted}; !slices.Equal(out, want) {
		t.Fatalf("outcomes %v, want %v", out, want)
	}
	e.wantStored(batch[4].Head, batch[4].Tail)
}

func fetchKeepsOrderAndAbsence(t *testing.T, c *Client, project string) {
	e := newEntity(t, c, project, "x")
	head, tail := headBlob(version(1), version(1), "h"), tailBlob(version(1), "t")
	wantOutcome(t, e.write(head, tail, 0), Accepted)
	reuse := make([][]byte, 7, 9)
	out := [][][]byte{nil, reuse, reuse[:0:0], nil}
	absent := string(AppendKey(nil, project, "e", []byte("absent")))
	err := c.Fetch(t.Context(), []FetchRequest{
		{Key: absent, Fields: []string{e.head, e.tail}},
		{Key: e.key, Fields: []string{e.tail, "no such field", e.head}},
		{Key: e.key},
		{Key: e.key, Fields: []string{e.head, e.head}},
	}, out)
	if err != nil {
		t.Fatal(err)
	}
	want := [][][]byte{{nil, nil}, {tail, nil, head}, {}, {head, head}}
	for i := range want {
		if !slices.EqualFunc(out[i], want[i], func(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }) {
			t.Fatalf("request %d: %q, want %q", i, out[i], want[i])
		}
	}
	if &out[1][0] != &reuse[0] {
		t.Error("the caller's memory was not reused")
	}
}

func canaryIsGuarded(t *testing.T, c *Client, project string) {
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("nodes %v, error %v", nodes, err)
	}
	name := project + "task"
	for _, n := range nodes {
		if _, _, ok, err := c.Canary(t.Context(), n, name); err != nil || ok {
			t.Fatalf("a canary before it was set; error %v", err)
		}
		for _, v := range []uint64{5, 5, 9} {
			if err := c.SetCanary(t.Context(), n, name, version(v)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetCanary(t.Context(), n, name, version(8)); err == nil {
			t.Fatal("an older canary was accepted")
		}
		v, id, ok, err := c.Canary(t.Context(), n, name)
		if err != nil || !ok || v != version(9) || id != n.ID {
			t.Fatalf("canary %x under %q, %v, %v; the node is %q", v, id, ok, err, n.ID)
		}
		if !c.opts.Embedded && len(n.ID) < 80 {
			t.Fatalf("identity %q", n.ID)
		}
		if !n.Owns(canaryKey(n.tag, name)) {
			t.Fatal("the canary is not on its node")
		}
	}
}

func lossIsNoticedAndMended(t *testing.T, c *Client, project string) {
	task := project + "task"
	check := func(l *Loss, want feature.Version, lost int) []Node {
		t.Helper()
		got, err := l.Check(t.Context(), task, want)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != lost {
			t.Fatalf("%d nodes are lost, want %d", len(got), lost)
		}
		return got
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := len(nodes)

	first := NewLoss(c)
	check(first, zero, 0) // nothing published yet
	advance := func(v uint64) {
		t.Helper()
		if err := first.Advance(t.Context(), task, version(v)); err != nil {
			t.Fatal(err)
		}
	}
	advance(10)
	check(first, zero, 0)
	advance(20)

	check(NewLoss(c), version(20), 0)   // a restart at the committed version
	check(NewLoss(c), version(15), 0)   // or before it
	check(NewLoss(c), version(21), all) // what was published later may be gone

	if err := c.redis.Del(t.Context(), string(canaryKey(nodes[0].tag, task))).Err(); err != nil {
		t.Fatal(err)
	}
	check(first, zero, 1)
	advance(30)                   // not on the lost one
	lost := check(first, zero, 1) // still
	if lost[0].Addr != nodes[0].Addr {
		t.Fatalf("lost %s, want %s", lost[0].Addr, nodes[0].Addr)
	}
	check(NewLoss(c), version(20), 1) // and after a restart too
	if err := first.Vouch(t.Context(), task, lost[0], version(30)); err != nil {
		t.Fatal(err)
	}
	check(first, zero, 0)
	check(NewLoss(c), version(30), 0)

	if err := NewLoss(c).Vouch(t.Context(), task, nodes[0], version(99)); err == nil {
		t.Error("a node was vouched for that had not been reported")
	}
}
