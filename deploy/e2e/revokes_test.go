package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/freshet-io/freshet/internal/testenv"
)

// Kafka's numbers of the requests that revokes holds up.
const (
	joinGroup       = 11
	addOffsetsToTxn = 25
)

// revokes is what the proxy does while two instances join the group of two others and a transaction of one of these is about to end. It puts
// the requests into an order that makes the group take partitions from that one twice before the end goes on. The connection that is held up
// has its heartbeats too: it must not lead the group, which asks for metadata there, and learns of the second revocation by joining for the first.
type revokes struct {
	from, to int           // its connections
	over     chan struct{} // closed when its transaction may end

	mu        sync.Mutex
	joins     int  // its own
	held      bool // the end of its transaction is held up
	late      int  // the connection of the instance that joins last; it asks first, and is held up
	lateJoins int

	waiting, again, both chan struct{}
}

func newRevokes(from, to int) *revokes {
	return &revokes{
		from: from, to: to, late: -1,
		over: make(chan struct{}), waiting: make(chan struct{}), again: make(chan struct{}), both: make(chan struct{}),
	}
}

// watch holds up: the end of the transaction once its instance has begun to join; the last instance's join until that one has given up
// partitions and joins for a second time; and the others' second joins until the last one has asked.
func (r *revokes) watch(conn int, request []byte) {
	if !bytes.Contains(request, []byte(".materialize")) {
		return
	}
	for _, wait := range r.waits(conn, binary.BigEndian.Uint16(request[4:]), bytes.Contains(request, []byte(".materialize.one"))) {
		<-wait
	}
}

func (r *revokes) waits(conn int, key uint16, ones bool) []chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case key == addOffsetsToTxn && ones && r.joins > 0:
		r.held = true
		return []chan struct{}{r.over}
	case key != joinGroup:
	case conn >= r.from && conn < r.to:
		if r.joins++; r.joins == 2 {
			close(r.again)
		}
	case r.late < 0 && conn >= r.to:
		r.late = conn
		close(r.waiting)
		return []chan struct{}{r.again}
	case conn == r.late: // the first request was answered with a name
		if r.lateJoins++; r.lateJoins == 1 {
			time.AfterFunc(100*time.Millisecond, func() { close(r.both) }) // it arrives meanwhile
		}
	case r.joins > 1:
		return []chan struct{}{r.both}
	}
	return nil
}

func (r *revokes) holding() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held || r.joins < 3 { // joining again is what follows a revocation
		return fmt.Errorf("the end of the transaction is held up: %v, its instance has joined %d times since", r.held, r.joins)
	}
	return nil
}

// TestPartitionsGoTwiceWithinATransaction runs two instances, of the names one and two, and has two more join while the end of a transaction of
// one is held up on its way to Kafka: twice partitions are taken from it that the transaction may have records of. The broker is one whose
// transactions are ended as before Kafka 4.0: since then a client does not join while its offsets are on their way.
func TestPartitionsGoTwiceWithinATransaction(t *testing.T) {
	t.Parallel()
	front := startProxy(t)
	broker := testenv.StartKafkaBehind(t, front.addr(), "--feature", "transaction.version=1")
	front.set(func() { front.target = broker.Second() })
	p := newPlane(t, ordersPlane, front.addr(), broker.Addr(), testenv.Redis(t), orderPartitions)
	p.processing = ", commit_interval: 200ms"
	two := p.run("two")
	events := p.stream(61, 4)
	eventually(t, "two is ready", two.caughtUp)
	var r *revokes
	front.set(func() { r = newRevokes(front.accepted, 0) })
	one := p.run("one")
	eventually(t, "one is at work", one.working)
	aborted := func() float64 {
		n, err := one.metric("freshet_transactions_total", `result="aborted"`, `processor="materialize"`)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := aborted()
	front.set(func() {
		r.to = front.accepted
		front.watch = r.watch
	})
	end := sync.OnceFunc(func() { close(r.over) })
	defer end()
	four := p.launch("four")
	select {
	case <-r.waiting:
	case <-time.After(patience):
		t.Fatalf("the last instance does not join:\n%s", four.tail())
	}
	three := p.launch("three")
	adm := kadm.NewClient(p.client())
	eventually(t, "partitions are taken away twice within a transaction", func() error {
		if err := r.holding(); err != nil {
			return err
		}
		return sharesAre(t, adm, p.prefix+"materialize", 4, 2*orderPartitions)
	})
	end()
	eventually(t, "the transaction is aborted", func() error {
		if aborted() == before {
			return errors.New("not yet")
		}
		return nil
	})
	for _, in := range []*instance{three, four, two} {
		in.awaitStart()
		in.stop()
	}
	checkOrders(t, "every feature", one, events.end())
	eventually(t, "caught up", one.caughtUp)
	one.stop()
}

// sharesAre reports an error unless a group is at rest and its members have all partitions in equal shares.
func sharesAre(t *testing.T, adm *kadm.Client, group string, members, partitions int) error {
	t.Helper()
	ds, err := adm.DescribeGroups(t.Context(), group)
	if err != nil {
		return err
	}
	g := ds[group]
	if g.Err != nil || g.State != "Stable" {
		return fmt.Errorf("the group is %s, error %v", g.State, g.Err)
	}
	var shares []int
	for _, m := range g.Members {
		n := 0
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range a.Topics {
				n += len(topic.Partitions)
			}
		}
		shares = append(shares, n)
	}
	if len(shares) != members || slices.Min(shares) < partitions/members || slices.Max(shares) > (partitions+members-1)/members {
		return fmt.Errorf("the members have %v partitions", shares)
	}
	return nil
}
