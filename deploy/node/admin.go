package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/freshet-io/freshet/internal/security"
	"github.com/freshet-io/freshet/internal/telemetry"
)

// adminDrain is short: who reads metrics can read them again.
const adminDrain = time.Second

// errNotStarted is why a process is not ready while its parts come or go.
var errNotStarted = errors.New("starting or stopping")

// addAdmin adds the admin listener. It is the first to start and the last to stop, so that a start that hangs and a
// stop that lasts can be seen.
func (n *node) addAdmin() {
	n.health.Set("process", func(context.Context) error {
		if !n.started.Load() {
			return errNotStarted
		}
		return nil
	})
	n.group.Add("admin", 0, func(ctx context.Context, ready func()) error {
		ln, err := n.listen("admin", n.Plane.Listen.Admin)
		if err != nil {
			return err
		}
		n.addrs.Admin = ln.Addr().String()
		if warning := security.OpenAdminWarning(n.Plane.Listen.Admin); warning != "" {
			n.Logger.Warn(warning)
		}
		admin := telemetry.Admin{Addr: n.addrs.Admin, Registry: n.registry, Health: n.health}
		// A profile is written for as long as it was asked for.
		srv := security.NewHTTPServer(admin.Handler(), security.HTTPLimits{Write: -1}, n.Logger)
		return security.ServeHTTP(srv, ln, adminDrain)(ctx, ready)
	})
}

// addTracer has what was traced sent before the process ends.
func (n *node) addTracer(ctx context.Context) error {
	tracer, shutdown, err := telemetry.NewTracer(ctx, n.Version, n.Logger)
	if err != nil {
		return err
	}
	n.tracer = tracer
	n.group.Add("tracer", 0, func(ctx context.Context, ready func()) error {
		ready()
		<-ctx.Done()
		return shutdown(context.WithoutCancel(ctx))
	})
	return nil
}

// listen opens a TCP listener.
func (n *node) listen(face, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if n.FreePorts && errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(addr) // it was listened at
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("listen.%s: %w", face, err)
	}
	return ln, nil
}
