package sink_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestATopicThatWasCreatedAgainIsNotTakenForTheOld: its first records have offsets that the store has, and are not passed over.
func TestATopicThatWasCreatedAgainIsNotTakenForTheOld(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(3, 1))
	w.produce(rng, 100)
	i := w.start()
	w.check()
	i.stop()
	adm := kadm.NewClient(w.cl)
	if _, err := adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	i = w.start()
	until(t, "the reason", func() bool {
		err := i.Ready()
		return err != nil && strings.Contains(err.Error(), "topic orders was deleted and created again since table events_orders was filled")
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())) // the other knows the old topic
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	before := w.store.writesSoFar()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Key: []byte("u1"), Value: fmt.Appendf(nil, `{"user":"u1","amount":1,"at":%d}`, time.Now().UnixMilli())}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // many flush intervals
	if n := w.store.writesSoFar(); n != before {
		t.Errorf("%d ranges of the new topic were written", n-before)
	}
}

func (s *memoryStore) writesSoFar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}
