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

// txnOffsetCommit is Kafka's number of the request that commits offsets in a transaction, the first of those that end it.
const txnOffsetCommit = 28

// heldEnd holds up the ends of one's transactions on their way to Kafka, and with them what else goes that way: its heartbeats.
type heldEnd struct {
	came chan struct{} // closed when the first is held up
	over chan struct{} // closed when they may go on
	once sync.Once
}

func (h *heldEnd) watch(request []byte) {
	if binary.BigEndian.Uint16(request[4:]) == txnOffsetCommit && bytes.Contains(request, []byte(".materialize.one")) {
		h.once.Do(func() { close(h.came) })
		<-h.over
	}
}

// TestPartitionsGoTwiceWithinATransaction runs two instances, of the names one and two, and has two more join, one after the other, while the end
// of a transaction of one is held up: it is thrown out, and its partitions, of which the transaction has records, go to others twice. The
// broker is one whose transactions are ended as before Kafka 4.0.
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
	held := &heldEnd{came: make(chan struct{}), over: make(chan struct{})}
	end := sync.OnceFunc(func() { close(held.over) })
	defer end()
	front.set(func() { front.watch = held.watch })
	select {
	case <-held.came:
	case <-time.After(patience):
		t.Fatalf("one ends no transaction:\n%s", one.tail())
	}
	adm, group := kadm.NewClient(p.client()), p.prefix+"materialize"
	three := p.launch("three")
	eventually(t, "two and three have all partitions", func() error { return sharesAre(t, adm, group, 2, 2*orderPartitions) })
	four := p.launch("four")
	eventually(t, "two, three and four have them", func() error { return sharesAre(t, adm, group, 3, 2*orderPartitions) })
	end()
	eventually(t, "the transaction is aborted", func() error {
		if aborted() == before {
			return errors.New("not yet")
		}
		return nil
	})
	eventually(t, "one is back", func() error { return sharesAre(t, adm, group, 4, 2*orderPartitions) })
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
