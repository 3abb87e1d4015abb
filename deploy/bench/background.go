package bench

import (
	"context"
	"fmt"
	"time"
)

// background is work that goes on in this process until it is stopped.
type background struct {
	name string
	stop context.CancelFunc
	done chan error
}

// inBackground starts work that lasts until its context ends.
func inBackground(ctx context.Context, name string, run func(context.Context) error) *background {
	b := &background{name: name, done: make(chan error, 1)}
	ctx, b.stop = context.WithCancel(ctx)
	go func() { b.done <- run(ctx) }()
	return b
}

// wait looks every few milliseconds until reached says so, ctx ends, or the work does.
func (b *background) wait(ctx context.Context, reached func() bool) error {
	for !reached() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-b.done:
			b.done <- nil // for close
			return fmt.Errorf("%s ended: %w", b.name, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// close stops the work and returns how it ended.
func (b *background) close() error {
	b.stop()
	return <-b.done
}
