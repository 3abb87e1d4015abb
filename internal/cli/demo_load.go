package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/kafka"
)

// flightRecords are every flight's event, keyed by carrier, moved in time so that the last one left at end.
func flightRecords(flights *demo.Flights, end time.Time) iter.Seq[*kgo.Record] {
	return func(yield func(*kgo.Record) bool) {
		for f := range flights.EndingAt(end) {
			if !yield(&kgo.Record{Key: []byte(f.Carrier), Value: f.AppendEvent(make([]byte, 0, 192))}) {
				return
			}
		}
	}
}

// boardRecords are the airports' boards of the same time, those of the silent one until it is.
func boardRecords(flights *demo.Flights, end time.Time, faults *demoFaults) iter.Seq[*kgo.Record] {
	return func(yield func(*kgo.Record) bool) {
		for b := range flights.Boards(end, silentAirport, faults.silence) {
			if !yield(&kgo.Record{Value: b.AppendEvent(nil)}) {
				return
			}
		}
	}
}

// sendEvents produces records to topic, those without a key to all partitions in turn. It returns how many there were when the brokers have
// acknowledged all of them.
func sendEvents(ctx context.Context, records iter.Seq[*kgo.Record], conn config.Kafka, topic string) (sent int64, err error) {
	opts, err := kafka.Options(conn, "freshet-demo")
	if err != nil {
		return 0, err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(50_000),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // the broker is in this process
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(2000, false, true, nil)),
	)...)
	if err != nil {
		return 0, fmt.Errorf("send to %s: %w", topic, err)
	}
	defer cl.Close()
	var failed struct {
		sync.Mutex
		err error
	}
	for rec := range records {
		sent++
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Lock()
				failed.err = errors.Join(failed.err, err)
				failed.Unlock()
				cl.AbortBufferedRecords(context.WithoutCancel(ctx))
			}
		})
		if ctx.Err() != nil {
			return sent, ctx.Err()
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return sent, fmt.Errorf("send to %s: %w", topic, err)
	}
	failed.Lock()
	defer failed.Unlock()
	if failed.err != nil {
		return sent, fmt.Errorf("send to %s: %w", topic, failed.err)
	}
	return sent, nil
}
