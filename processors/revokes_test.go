package processors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// heldRequest is a request that a client keeps back on its way.
type heldRequest struct {
	dialer  holdingDialer
	armed   atomic.Bool   // the next one is to be held
	came    chan struct{} // closed when one is held
	release func()        // may be called again
}

// holdRequest makes a dialer that, once armed, holds the next request with a key that names a group or transaction.
func holdRequest(key kmsg.Key, name string) *heldRequest {
	released := make(chan struct{})
	h := &heldRequest{came: make(chan struct{}), release: sync.OnceFunc(func() { close(released) })}
	h.dialer = func(request []byte) {
		if binary.BigEndian.Uint16(request[4:]) == uint16(key) && bytes.Contains(request, []byte(name)) && h.armed.CompareAndSwap(true, false) {
			close(h.came)
			<-released
		}
	}
	return h
}

// TestTwoRebalancesWithinATransaction holds R8 and R9: while the end of a transaction is held up, two instances join one after the other. The
// first throws the member out, which answers no group until the end, and its partitions go twice. What it then commits is refused, and nothing counts twice or is lost, though their new owners begin before it has ended.
func TestTwoRebalancesWithinATransaction(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, 3, "")
	group := w.plane.Prefix + "materialize"
	name := w.apartFrom(group)
	run := func(name string, dial holdingDialer) *instance {
		return w.run(func(o *Options) {
			o.Plane.Processing.InstanceID = name
			o.Client = append(o.Client, kgo.RebalanceTimeout(time.Second), kgo.Dialer(dial.dial),
				// As before Kafka 4.0: with a request to the coordinator of the transaction, which can be held up while heartbeats go on.
				kgo.MaxVersions(kversion.V3_9_0()))
		})
	}
	end := holdRequest(kmsg.AddOffsetsToTxn, ".materialize")
	one := run(name, end.dialer)
	t.Cleanup(end.release) // before the instance is to stop
	w.produce(100)
	eventually(t, "features", w.check)
	one.waitReady()
	end.armed.Store(true)
	w.produce(80)
	eventually(t, "the end of a transaction", func() error {
		select {
		case <-end.came:
			return nil
		default:
			return errors.New("has not begun")
		}
	})
	aborted := testutil.ToFloat64(one.rt.met.txns.WithLabelValues("materialize", "aborted"))
	first := w.members(group)
	run("two", nil)
	eventually(t, "two has all partitions", func() error {
		if slices.Equal(w.members(group), first) {
			return errors.New("one is still in the group")
		}
		return w.sharesAre(group, 1, 2*testPartitions)
	})
	w.produce(40)
	run("three", nil)
	eventually(t, "two and three have them", func() error { return w.sharesAre(group, 2, testPartitions) })
	w.produce(80)
	end.release()
	eventually(t, "the transaction", func() error {
		if n := testutil.ToFloat64(one.rt.met.txns.WithLabelValues("materialize", "aborted")); n == aborted {
			return errors.New("has not been aborted")
		}
		return nil
	})
	eventually(t, "features", w.check)
	eventually(t, "one is back", func() error { return w.sharesAre(group, 3, testPartitions-1) })
}

// TestAMemberThatJoinsAnewUnderAnotherIDCommitsNothingOfBefore: a join is held up on its way until the member has been thrown out and its partitions
// have been another's. The client then joins anew by itself, and tells of it when rebalances are let go on; what its open transaction has is refused.
func TestAMemberThatJoinsAnewUnderAnotherIDCommitsNothingOfBefore(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, 3, "")
	group := w.plane.Prefix + "materialize"
	run := func(name string, dial holdingDialer) *instance {
		return w.run(func(o *Options) {
			o.Plane.Processing.InstanceID = name
			if dial != nil {
				o.Plane.Processing.CommitInterval = 6 * time.Second // only the rebalance is to end its transaction
			}
			o.Client = append(o.Client, kgo.RebalanceTimeout(2*time.Second), kgo.Dialer(dial.dial))
		})
	}
	join := holdRequest(kmsg.JoinGroup, group)
	one := run("one", join.dialer)
	t.Cleanup(join.release) // before the instance is to stop
	w.produce(100)
	eventually(t, "features", w.check)
	one.waitReady()
	eventually(t, "an end", one.idle)
	first := w.members(group)
	join.armed.Store(true)
	two := run("two", nil)
	select {
	case <-join.came:
	case <-time.After(30 * time.Second):
		t.Fatal("one does not join")
	}
	w.produce(80)
	eventually(t, "features", w.check)
	eventually(t, "a transaction is open", func() error {
		if one.rt.Progress().Idle {
			return errors.New("it is idle")
		}
		return nil
	})
	transactions := func(in *instance, result string) float64 {
		return testutil.ToFloat64(in.rt.met.txns.WithLabelValues("materialize", result))
	}
	committed, aborted := transactions(one, "committed"), transactions(one, "aborted")
	eventually(t, "two has all partitions", func() error {
		if slices.Equal(w.members(group), first) {
			return errors.New("one is still in the group")
		}
		return w.sharesAre(group, 1, 2*testPartitions)
	})
	join.release()
	eventually(t, "one's transaction", func() error {
		if transactions(one, "committed") == committed && transactions(one, "aborted") == aborted {
			return errors.New("has not ended")
		}
		return nil
	})
	if transactions(one, "committed") != committed {
		t.Error("a transaction with records of partitions that were another's was committed")
	}
	eventually(t, "features in the end", w.check)
	two.waitReady()
}

// A holdingDialer is told of each request before it goes on, and may hold it up; nil holds up nothing.
type holdingDialer func(request []byte)

func (h holdingDialer) dial(ctx context.Context, network, host string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err != nil || h == nil {
		return c, err
	}
	return holdingConn{c, h}, nil
}

type holdingConn struct {
	net.Conn
	hold holdingDialer
}

func (c holdingConn) Write(request []byte) (int, error) {
	c.hold(request)
	return c.Conn.Write(request)
}

// members returns the ids of a group's members.
func (w *world) members(group string) (ids []string) {
	w.t.Helper()
	ds, err := kadm.NewClient(w.client()).DescribeGroups(w.t.Context(), group)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range ds[group].Members {
		ids = append(ids, m.MemberID)
	}
	return ids
}

// apartFrom returns a name of an instance whose transactions another broker coordinates than its group.
func (w *world) apartFrom(group string) string {
	w.t.Helper()
	adm := kadm.NewClient(w.client())
	g := adm.FindGroupCoordinators(w.t.Context(), group)[group]
	for i := range 100 {
		name := fmt.Sprint("one", i)
		id := group + "." + name
		x := adm.FindTxnCoordinators(w.t.Context(), id)[id]
		if err := errors.Join(g.Err, x.Err); err != nil {
			w.t.Fatal(err)
		}
		if x.NodeID != g.NodeID {
			return name
		}
	}
	w.t.Fatal("one broker coordinates everything")
	return ""
}

// sharesAre reports an error unless a group is at rest, with so many members that have all partitions among them, none more than most.
func (w *world) sharesAre(group string, members, most int) error {
	ds, err := kadm.NewClient(w.client()).DescribeGroups(w.t.Context(), group)
	if err != nil {
		return err
	}
	g := ds[group]
	if g.Err != nil || g.State != "Stable" {
		return fmt.Errorf("the group is %s, error %v", g.State, g.Err)
	}
	var shares []int
	sum := 0
	for _, m := range g.Members {
		n := 0
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range a.Topics {
				n += len(topic.Partitions)
			}
		}
		shares, sum = append(shares, n), sum+n
	}
	if len(shares) != members || sum != 2*testPartitions || slices.Max(shares) > most {
		return fmt.Errorf("the members have %v partitions", shares)
	}
	return nil
}
