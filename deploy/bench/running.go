package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/processors"
)

// running is a runtime at work in this process, on a real Kafka and a real Redis.
type running struct {
	*background
	rt  *processors.Runtime
	rdb *online.Client
	reg *prometheus.Registry
}

// startRuntime starts the processors of a plane.
func startRuntime(ctx context.Context, plane *config.Plane, opts []kgo.Opt, redis string, logger *slog.Logger) (*running, error) {
	r := &running{reg: prometheus.NewRegistry()}
	var err error
	if r.rdb, err = online.Open(ctx, config.Redis{URL: config.Secret(redis)}, online.Options{Logger: logger, Registerer: r.reg}); err != nil {
		return nil, err
	}
	r.rt, err = processors.New(ctx, processors.Options{
		Plane: plane, Kafka: *plane.Connections.Kafka, Client: opts, Online: r.rdb, Loss: online.NewLoss(r.rdb), Logger: logger, Registerer: r.reg,
	})
	if err != nil {
		return nil, errors.Join(err, r.rdb.Close())
	}
	if os.Getenv("GOMEMLIMIT") == "" { // as deploy/node does
		debug.SetMemoryLimit(processors.MemoryLimit(plane))
	}
	r.background = inBackground(ctx, "the runtime", r.rt.Run)
	return r, nil
}

// settled waits until a number of events has been taken up, committed and published.
func (r *running) settled(ctx context.Context, events int64) error {
	return r.wait(ctx, func() bool {
		p := r.rt.Progress()
		return p.Events >= events && p.Waiting == 0 && p.Idle
	})
}

// tell prints how far the runtime is, every two seconds until the function it returns is called.
func (r *running) tell(ctx context.Context, out io.Writer, events int64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(2 * time.Second):
				p := r.rt.Progress()
				fmt.Fprintf(out, "  %d of %d events, %d entities wait for Redis\n", p.Events, events, p.Waiting)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// ready waits until every task is caught up and at work.
func (r *running) ready(ctx context.Context) error {
	return r.wait(ctx, func() bool { return r.rt.Ready() == nil })
}

// close lets the runtime commit and publish what it has, and ends it.
func (r *running) close() error {
	return errors.Join(r.background.close(), r.rdb.Close())
}
