package processors

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestTwoRevokesWithinATransaction holds R8 and R9: while the end of a transaction is under way, two instances join one after the other, and
// each takes partitions away. The wrapped session tells of the first revocation alone. The transaction is aborted, and nothing of it counts twice
// or is lost, though the new owners of its partitions begin before it has ended.
func TestTwoRevokesWithinATransaction(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, 3, "")
	group := w.plane.Prefix + "materialize"
	name := w.apartFrom(group)
	one := w.run(func(o *Options) {
		o.Plane.Processing.InstanceID = name
		// As before Kafka 4.0: with a request to the coordinator of the transaction, which can be held up while heartbeats go on.
		o.Client = append(o.Client, kgo.MaxVersions(kversion.V3_9_0()))
	})
	w.produce(100)
	eventually(t, "features", w.check)
	one.waitReady()

	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.cluster.ControlKey(int16(kmsg.AddOffsetsToTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if r.(*kmsg.AddOffsetsToTxnRequest).TransactionalID == group+"."+name {
			once.Do(func() {
				close(held)
				w.cluster.SleepControl(func() { <-release })
			})
		}
		return nil, nil, false
	})
	w.produce(80)
	eventually(t, "the end of a transaction", func() error {
		select {
		case <-held:
			return nil
		default:
			return errors.New("has not begun")
		}
	})
	aborted := testutil.ToFloat64(one.rt.met.txns.WithLabelValues("materialize", "aborted"))
	const all = 2 * testPartitions // of the source and of its repartition topic
	for i, next := range []string{"two", "three"} {
		w.run(func(o *Options) { o.Plane.Processing.InstanceID = next })
		// Shares are equal, so that the first instance has lost some with each join.
		eventually(t, next+" has its share", func() error {
			return w.sharesAre(group, i+2, (all+i+1)/(i+2))
		})
	}
	w.produce(80)
	close(release)
	eventually(t, "the transaction", func() error {
		if n := testutil.ToFloat64(one.rt.met.txns.WithLabelValues("materialize", "aborted")); n == aborted {
			return errors.New("has not been aborted")
		}
		return nil
	})
	eventually(t, "features", w.check)
	if n := testutil.ToFloat64(one.rt.met.sessions); n != 0 {
		t.Errorf("%v sessions were replaced: two revocations are no failure", n)
	}
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
