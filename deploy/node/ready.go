package node

import (
	"context"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/telemetry"
)

// runReady says that every part has started, and later that all of them are ready; it takes the former back as the first thing of a stop.
func (n *node) runReady(ctx context.Context, ready func()) error {
	n.Logger.Info("started", "roles", n.Roles.String(), "http", n.addrs.HTTP, "grpc", n.addrs.GRPC, "admin", n.addrs.Admin)
	n.started.Store(true)
	if n.Ready != nil {
		n.Ready(n.addrs)
	}
	ready()
	n.awaitReady(ctx)
	<-ctx.Done()
	n.started.Store(false)
	n.Logger.Info("stopping")
	return nil
}

// How often a process that has started looks whether it is ready, and how often it says that it is not.
const (
	readyEvery  = 500 * time.Millisecond
	unreadySaid = 15 * time.Second
)

// awaitReady returns when /readyz has said yes for the first time, and logs it; until then it says what is waited for.
func (n *node) awaitReady(ctx context.Context) {
	began := time.Now()
	said := began
	every := time.NewTicker(readyEvery)
	defer every.Stop()
	for {
		r := n.health.Report(ctx)
		switch now := time.Now(); {
		case ctx.Err() != nil:
			return
		case r.Ready:
			n.Logger.Info("ready", "after", now.Sub(began).Round(time.Millisecond))
			return
		case now.Sub(said) >= unreadySaid:
			said = now
			n.Logger.Info("not ready yet", "waits_for", reasons(r))
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// reasons are what keeps a process from being ready, on one line.
func reasons(r telemetry.Report) string {
	var out []string
	for _, c := range r.Checks {
		if !c.Ready {
			out = append(out, c.Name+": "+c.Reason)
		}
	}
	return strings.Join(out, "; ")
}
