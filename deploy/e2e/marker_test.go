package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestACommitMarkerThatIsLate: a process that has lost its state restores while a transaction is open in its changelog, as the last one of
// a process that died is until Kafka has written its marker there. It is not ready before the marker has come, and then everything counts.
func TestACommitMarkerThatIsLate(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, ordersPlane, kafka, kafka, testenv.Redis(t), orderPartitions)
	in := p.run("one")
	events := p.sendOrders(51, 1000)
	checkOrders(t, "before", in, events)
	eventually(t, "caught up", in.caughtUp)
	in.stop()

	// What the process wrote last of a task, in a transaction that is still open. Its key is that of a meta record.
	changelog := p.prefix + "changelog.orders"
	var last *kgo.Record
	for _, r := range p.records(t, changelog) {
		if len(r.Key) == 1 {
			last = r
		}
	}
	late := p.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(p.prefix+"late"), kgo.TransactionTimeout(time.Minute))
	if err := late.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: changelog, Partition: last.Partition, Key: last.Key, Value: last.Value}
	if err := late.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(p.stateDir("one")); err != nil {
		t.Fatal(err)
	}

	in = p.run("one")
	restoring := fmt.Sprintf("materializer: restoring %s[%d]", p.topic, last.Partition)
	waits := func() error {
		switch err := in.caughtUp(); {
		case err == nil:
			t.Fatal("it is ready, although a transaction is open below the changelog's high watermark")
			return nil
		case strings.Contains(err.Error(), restoring) && !strings.Contains(err.Error(), restoring+","):
			return nil // and for that task alone
		default:
			return err
		}
	}
	eventually(t, "one task waits", waits)
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		if err := waits(); err != nil {
			t.Fatal(err)
		}
	}
	if err := late.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	eventually(t, "caught up", in.caughtUp)
	checkOrders(t, "after the marker has come", in, append(events, p.sendOrders(52, 200)...))
	in.stop()
}
