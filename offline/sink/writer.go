package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// liveOrdinal is of records; backfilled rows have 0.
const liveOrdinal = 1

// fly writes a range, however long it takes, until its context ends.
func (c *consumer) fly(ctx context.Context, f *flight) {
	defer c.landed(f)
	var b *offline.Batch
	select {
	case b = <-c.slots:
	case <-ctx.Done():
		return
	}
	defer func() {
		clear(b.Values) // the records are not held on to
		b.Reset(0)
		c.slots <- b
	}()
	began := time.Now()
	var letters []*kgo.Record
	for try := 1; ; try++ {
		err := c.store(ctx, f, b, &letters, try == 1)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		c.fail("write", fmt.Errorf("write %s: %w", f.r, err))
		c.Metrics.retries.WithLabelValues(c.Name, c.t.Name).Inc()
		if !sleep(ctx, backoff(try)) {
			return
		}
	}
	c.works("write")
	f.ok = true
	c.Metrics.rows.WithLabelValues(c.Name, c.t.Name).Add(float64(b.Len()))
	c.Metrics.bytes.WithLabelValues(c.Name, c.t.Name).Add(float64(f.bytes - recordOverhead*int64(len(f.recs))))
	c.Metrics.batches.WithLabelValues(c.Name, c.t.Name).Inc()
	c.Metrics.seconds.WithLabelValues(c.Name, c.t.Name).Observe(time.Since(began).Seconds())
}

// store makes the rows at the first try, puts dead letters aside until that has succeeded once, and writes.
func (c *consumer) store(ctx context.Context, f *flight, b *offline.Batch, letters *[]*kgo.Record, first bool) error {
	if first {
		*letters = c.rows(f, b)
	}
	if err := c.putAside(ctx, *letters); err != nil {
		return err
	}
	*letters = nil
	return c.Store.Write(ctx, c.t, f.r, b)
}

// rows judges the records of a range and puts the rows of those that are accepted into b. It returns the dead letters of the
// others, where they are the sink's business.
func (c *consumer) rows(f *flight, b *offline.Batch) (letters []*kgo.Record) {
	reader := <-c.readers
	defer func() { c.readers <- reader }()
	b.Reset(len(c.t.Columns))
	fields := make([]feature.Value, len(c.t.Source.Schema))
	refused := 0
	for _, rec := range f.recs {
		at, _, cause := reader.Read(rec, fields)
		if cause != nil {
			refused++
			if c.judges {
				letters = append(letters, ingest.DeadLetter(c.letters, c.t.Source.Name, rec, cause, time.Now()))
			}
			continue
		}
		b.Values = c.t.AppendRow(b.Values, fields)
		b.Meta = append(b.Meta, offline.Meta{
			Time: at, Arrived: rec.Timestamp.UnixMicro(), Offset: rec.Offset, Topic: rec.Topic, Partition: rec.Partition,
			Ordinal: liveOrdinal, Deleted: reader.Tombstone(rec),
		})
	}
	c.Metrics.refused.WithLabelValues(c.Name, c.t.Name).Add(float64(refused))
	return letters
}

// putAside returns when Kafka has the dead letters.
func (c *consumer) putAside(ctx context.Context, letters []*kgo.Record) error {
	if len(letters) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.cl.ProduceSync(ctx, letters...).FirstErr(); err != nil {
		return fmt.Errorf("put %d dead letters aside: %w", len(letters), err)
	}
	return nil
}
