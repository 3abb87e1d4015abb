package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/ingest"
	core "github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
)

// client is for the test's own use of Kafka.
func (p *plane) client(opts ...kgo.Opt) *kgo.Client {
	p.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(p.direct)}, opts...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(cl.Close)
	return cl
}

func (p *plane) createTopic(partitions int32) {
	p.t.Helper()
	adm := kadm.NewClient(p.client())
	if _, err := adm.CreateTopic(p.t.Context(), partitions, 1, nil, p.topic); err != nil {
		p.t.Fatal(err)
	}
	for { // a broker knows of it a little later
		_, err := kafka.DescribeTopic(p.t.Context(), adm, p.topic)
		if err == nil {
			return
		}
		if !errors.Is(err, kafka.ErrNoTopic) {
			p.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// producer sends events as a well-behaved one does: keyed, to the partition by murmur2, acks=all, idempotent. It remembers
// what it sent with the places it got.
type producer struct {
	p   *plane
	cl  *kgo.Client
	n   int32 // partitions
	wg  sync.WaitGroup
	mu  sync.Mutex
	err error

	events []*event
}

func (p *plane) producer(partitions int32) *producer {
	return &producer{p: p, n: partitions, cl: p.client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000),
	)}
}

// send produces a value under a key; e, if not nil, is what it must count as.
func (pr *producer) send(key string, value []byte, e *event) {
	rk, err := ingest.AppendRecordKey(nil, core.StringValue(key))
	if err != nil {
		pr.p.t.Error(err)
		return
	}
	pr.produce(&kgo.Record{Topic: pr.p.topic, Key: rk, Value: value, Partition: ingest.Partition(rk, pr.n)}, e)
}

func (pr *producer) produce(r *kgo.Record, e *event) {
	pr.wg.Add(1)
	pr.cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		defer pr.wg.Done()
		pr.mu.Lock()
		defer pr.mu.Unlock()
		switch {
		case err != nil && pr.err == nil:
			pr.err = err
		case e != nil:
			e.partition, e.offset = r.Partition, r.Offset
			pr.events = append(pr.events, e)
		}
	})
}

// sent waits until Kafka has everything and returns what it was.
func (pr *producer) sent() []*event {
	pr.p.t.Helper()
	pr.wg.Wait()
	if pr.err != nil {
		pr.p.t.Fatal(pr.err)
	}
	return pr.events
}

// records reads a topic from its start to its end as of now, what is committed.
func (p *plane) records(t *testing.T, topic string) []*kgo.Record {
	t.Helper()
	adm := kadm.NewClient(p.client())
	starts, err := adm.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := adm.ListCommittedOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	at := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if s, _ := starts.Lookup(topic, o.Partition); s.Offset < o.Offset {
			at[o.Partition], left[o.Partition] = kgo.NewOffset().At(s.Offset), o.Offset
		}
	})
	if len(left) == 0 {
		return nil
	}
	cl := p.client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
	)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out []*kgo.Record
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
		})
	}
	return out
}
