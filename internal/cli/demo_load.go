package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
	"github.com/freshet-io/freshet/internal/kafka"
)

// sendFlights produces every flight's event to topic, keyed by carrier, moved in time so that the last one left at
// end. It returns when the brokers have acknowledged all of them.
func sendFlights(ctx context.Context, flights *demo.Flights, conn config.Kafka, topic string, end time.Time) error {
	opts, err := kafka.Options(conn, "freshet-demo")
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(50_000),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // the broker is in this process
	)...)
	if err != nil {
		return fmt.Errorf("send flights: %w", err)
	}
	defer cl.Close()
	var failed struct {
		sync.Mutex
		err error
	}
	for f := range flights.EndingAt(end) {
		rec := &kgo.Record{Key: []byte(f.Carrier), Value: f.AppendEvent(make([]byte, 0, 192))}
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Lock()
				failed.err = errors.Join(failed.err, err)
				failed.Unlock()
				cl.AbortBufferedRecords(context.WithoutCancel(ctx))
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("send flights: %w", err)
	}
	failed.Lock()
	defer failed.Unlock()
	if failed.err != nil {
		return fmt.Errorf("send flights: %w", failed.err)
	}
	return nil
}
