package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/ingest"
)

// eventFunc makes an event at a time in milliseconds, and its record key.
type eventFunc func(millis int64) (key, value []byte)

// eventMaker makes events of about 120 bytes of JSON. It is seeded: every run has the same ones.
type eventMaker struct {
	rng       *rand.Rand
	user      func() uint64 // the number of an event's user
	merchants int           // 0: events name no merchant
	countries []string
}

// newEventMaker makes events whose users are numbered below users, by Zipf's law.
func newEventMaker(users int) *eventMaker {
	m := &eventMaker{rng: rand.New(rand.NewPCG(7, 7)), countries: []string{"DE", "FR", "US", "GB", "JP", "BR", "IN", "CN", "ZA", "AU"}}
	m.user = rand.NewZipf(m.rng, 1.1, 8, uint64(users-1)).Uint64
	return m
}

// next makes one event at a time in milliseconds, and its record key. It is an eventFunc.
func (m *eventMaker) next(millis int64) (key, value []byte) {
	user := "user-" + strconv.FormatUint(m.user(), 10)
	v := make([]byte, 0, 144)
	v = fmt.Appendf(v, `{"user_id":"%s","amount":%d.%02d,"country":"%s",`, user, m.rng.IntN(500), m.rng.IntN(100), m.countries[m.rng.IntN(len(m.countries))])
	if m.merchants > 0 {
		v = fmt.Appendf(v, `"merchant_id":"merchant-%d",`, m.rng.IntN(m.merchants))
	}
	v = fmt.Appendf(v, `"channel":"web","session":"%08x","ts":%d}`, m.rng.Uint32(), millis)
	return []byte(user), v
}

// producer puts records where their keys belong and remembers the first failure.
type producer struct {
	cl         *kgo.Client
	topic      string
	partitions int32
	sent       int64 // bytes of values

	mu  sync.Mutex // promises come on the client's goroutines
	err error
}

func newProducer(opts []kgo.Opt, topic string, partitions int32, linger time.Duration) (*producer, error) {
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)], kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedRecords(200_000), kgo.ProducerLinger(linger))...)
	if err != nil {
		return nil, err
	}
	return &producer{cl: cl, topic: topic, partitions: partitions}, nil
}

func (p *producer) record(key, value []byte) *kgo.Record {
	return &kgo.Record{Key: key, Value: value, Partition: ingest.Partition(key, p.partitions)}
}

func (p *producer) produce(ctx context.Context, key, value []byte) {
	p.sent += int64(len(value))
	p.cl.Produce(ctx, p.record(key, value), func(_ *kgo.Record, err error) {
		if err != nil {
			p.mu.Lock()
			if p.err == nil {
				p.err = fmt.Errorf("produce to %s: %w", p.topic, err)
			}
			p.mu.Unlock()
		}
	})
}

// flush waits until everything is acknowledged, and reports whether all was.
func (p *producer) flush(ctx context.Context) error {
	if err := p.cl.Flush(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// fill produces n events over an hour of event time that ends now. It returns the bytes of their values.
func fill(ctx context.Context, opts []kgo.Opt, topic string, partitions int32, n int, next eventFunc) (int64, error) {
	p, err := newProducer(opts, topic, partitions, 20*time.Millisecond)
	if err != nil {
		return 0, err
	}
	defer p.cl.Close()
	start := time.Now().Add(-time.Hour).UnixMilli()
	for i := range n {
		key, value := next(start + int64(i)*3_600_000/int64(n))
		p.produce(ctx, key, value)
	}
	return p.sent, p.flush(ctx)
}

// flow produces n events of now, spread evenly at a rate a second. It returns how many it made.
func flow(ctx context.Context, opts []kgo.Opt, topic string, partitions int32, begin time.Time, rate, n int, next eventFunc) (int, error) {
	p, err := newProducer(opts, topic, partitions, 5*time.Millisecond)
	if err != nil {
		return 0, err
	}
	defer p.cl.Close()
	pace := pacer{rate: float64(rate)}
	made := pace.spread(ctx, begin, n, func(_ int, now time.Time) {
		key, value := next(now.UnixMilli())
		p.produce(ctx, key, value)
	})
	return made, errors.Join(ctx.Err(), p.flush(ctx))
}
