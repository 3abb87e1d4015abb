package processors

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/ingest"
)

// Cells that were produced before their transaction ends are not in the store: what erases their entity must delete them
// too, and what comes after must outlive the deletion. The changelog tells.
func TestATombstoneErasesWhatWasProducedEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "    tombstones: delete\n")
	w.plane.Processing.CommitInterval = 5 * time.Second // everything below is one transaction
	in := w.run(nil)
	in.waitReady()
	begins := w.end("fr.changelog.orders")
	const erased, reborn = "erased", "reborn"
	old := w.random()
	for _, user := range []string{erased, reborn} {
		old.User, old.At = user, w.start.UnixMilli()
		w.send(old)
		eventually(t, "the first event", func() error { return w.compareUser(user, []event{old}) })
	}
	eventually(t, "both to be in the changelog", func() error {
		if n := w.end("fr.changelog.orders"); n < begins+2 {
			return fmt.Errorf("it ends at %d", n)
		}
		return nil
	})
	for _, user := range []string{erased, reborn} {
		r := &kgo.Record{Topic: w.topic, Key: []byte(user), Partition: ingest.Partition([]byte(user), testPartitions)}
		if err := w.client().ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the entities to be gone", func() error {
		if err := w.absent(erased); err != nil {
			return err
		}
		return w.absent(reborn)
	})
	// Within the same tile as before, and in another.
	fresh := []event{w.random(), w.random()}
	for i := range fresh {
		fresh[i].User, fresh[i].At = reborn, w.start.Add(time.Duration(i)*20*time.Minute).UnixMilli()
	}
	w.send(fresh...)
	w.events = fresh
	eventually(t, "the entity to begin again", func() error { return w.compareUser(reborn, fresh) })
	in.stop()

	w.dir = t.TempDir()
	w.plane.Processing.StateDir = w.dir
	w.redis = newMemoryRedis()
	w.run(nil)
	eventually(t, "the entity from the changelog", func() error { return w.compareUser(reborn, fresh) })
	if err := w.absent(erased); err != nil {
		t.Error(fmt.Errorf("from the changelog: %w", err))
	}
}

// end is how many offsets a topic has, transactions in flight included.
func (w *world) end(topic string) (n int64) {
	w.t.Helper()
	ends, err := kadm.NewClient(w.client()).ListEndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}
