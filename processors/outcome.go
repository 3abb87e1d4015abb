package processors

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// outcome is what has become of the records that a transaction has produced. A commit needs the outcome of each, and that none
// was refused. The client's flush does not wait for records that it refuses to take up, which may be told of after it.
type outcome struct {
	sent     int64        // records given to the client, by the one goroutine that produces
	answered atomic.Int64 // of them, those whose promise has been called, on the client's goroutines

	mu struct {
		sync.Mutex
		err error // the first
	}
}

// produce gives a record to the client. Its value, key and headers must not change until the outcome is known.
func (o *outcome) produce(ctx context.Context, s *session, r *kgo.Record) {
	o.produceThen(ctx, s, r, o.produced)
}

// produceThen is produce with a promise of the caller's, which calls produced.
func (o *outcome) produceThen(ctx context.Context, s *session, r *kgo.Record, promise func(*kgo.Record, error)) {
	o.sent++
	s.s.Produce(ctx, r, promise)
}

// produced is a promise.
func (o *outcome) produced(_ *kgo.Record, err error) {
	if err != nil {
		o.mu.Lock()
		if o.mu.err == nil {
			o.mu.err = err
		}
		o.mu.Unlock()
	}
	o.answered.Add(1)
}

// wait returns when the outcome of each record is known. After a flush it is, or is about to be.
func (o *outcome) wait(ctx context.Context) error {
	if o.answered.Load() == o.sent {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for o.answered.Load() != o.sent {
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("the outcome of %d of %d records of a transaction is not known after %s", o.sent-o.answered.Load(), o.sent, endTimeout)
		}
	}
	return nil
}

// first returns the first error of a record.
func (o *outcome) first() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.err
}

// reset forgets a transaction whose every record's outcome is known.
func (o *outcome) reset() {
	o.mu.Lock()
	o.mu.err = nil
	o.mu.Unlock()
	o.sent = 0
	o.answered.Store(0)
}
