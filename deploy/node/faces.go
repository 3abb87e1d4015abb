package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
	"google.golang.org/grpc"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/security"
	"github.com/freshet-io/freshet/serving"
)

// drainWithin is how long requests under way may take at a stop: longer than either face lets one take.
const drainWithin = 15 * time.Second

// addFaces adds the gateway and the lookups, on one HTTP listener, and the gRPC listener. They are added last, so that
// they stop first.
func (n *node) addFaces() error {
	guard, err := n.newGuard()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	if n.Roles.Has(Ingest) {
		if err := n.addGateway(mux, guard); err != nil {
			return err
		}
	}
	var lookups *serving.Lookups
	if n.Roles.Has(Serve) {
		if lookups, err = n.newLookups(mux, guard); err != nil {
			return err
		}
	}
	mux.HandleFunc("/", n.elsewhere)
	n.addHTTP(mux, guard)
	if lookups != nil {
		n.addGRPC(lookups, guard)
	}
	return nil
}

// elsewhere answers paths that nothing is at with those that something is at.
func (n *node) elsewhere(w http.ResponseWriter, r *http.Request) {
	var paths []string
	if n.Roles.Has(Ingest) {
		paths = append(paths, "POST "+ingest.GatewayPath+"{source}")
		if len(n.Plane.Models) > 0 {
			paths = append(paths, "POST "+ingest.InferencesPath+"{model}", "POST "+ingest.LabelsPath+"{model}")
		}
	}
	if n.Roles.Has(Serve) {
		paths = append(paths, "POST /get-online-features", "GET /health")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	// A client that does not read the answer is no concern of this process.
	_ = json.NewEncoder(w).Encode(map[string]any{"error": "there is nothing at " + r.URL.Path, "paths": paths})
}

// addGateway mounts the gateway and adds its producer, which outlives the listener until Kafka has everything.
func (n *node) addGateway(mux *http.ServeMux, guard *guard) error {
	producer := &lateProducer{}
	gateway, err := ingest.NewGateway(n.Plane, producer, ingest.Options{Allow: guard.tokens.AllowSource}, n.Logger, n.registry)
	if err != nil {
		return err
	}
	mux.Handle(ingest.GatewayPath, gateway)
	mux.Handle(ingest.InferencesPath, gateway)
	mux.Handle(ingest.LabelsPath, gateway)
	opts := append(n.kafka[:len(n.kafka):len(n.kafka)], ingest.ProducerOptions(n.Plane)...)
	opts = append(opts, kgo.WithHooks(kprom.NewMetrics("freshet_ingest_kafka", kprom.Registerer(n.registry))))
	n.group.Add("gateway producer", drainWithin, func(ctx context.Context, ready func()) error {
		cl, err := kgo.NewClient(opts...)
		if err != nil {
			return fmt.Errorf("connect to kafka: %w", err)
		}
		defer cl.Close()
		producer.Client = cl
		ready()
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin-time.Second)
		defer cancel()
		if err := cl.Flush(drain); err != nil {
			return fmt.Errorf("%d events were not acknowledged: %w", cl.BufferedProduceRecords(), err)
		}
		return nil
	})
	return nil
}

// lateProducer is a producer whose client is set when its part starts, before any listener opens.
type lateProducer struct{ *kgo.Client }

// newLookups mounts the lookups.
func (n *node) newLookups(mux *http.ServeMux, guard *guard) (*serving.Lookups, error) {
	lookups, err := serving.New(n.Plane, n.store, serving.Options{
		Logger: n.Logger, Registerer: n.registry, Version: n.Version,
		Allow: guard.mayRead(),
		Generations: func(ctx context.Context) (map[string]uint32, error) {
			return n.store.Generations(ctx, n.Plane.Project)
		},
		Ready: func(ctx context.Context) error {
			if !n.started.Load() {
				return errNotStarted
			}
			return n.store.Ping(ctx)
		},
	})
	if err != nil {
		return nil, err
	}
	n.group.Add("generations", 0, func(ctx context.Context, ready func()) error {
		ready()
		lookups.Follow(ctx)
		return nil
	})
	handler := guard.lookups(lookups.Handler())
	mux.Handle("/get-online-features", handler)
	mux.Handle("/health", handler)
	return lookups, nil
}

// addHTTP adds the listener that the gateway and the lookups share.
func (n *node) addHTTP(mux *http.ServeMux, guard *guard) {
	handler := n.traceHTTP(mux)
	n.group.Add("http", drainWithin+time.Second, func(ctx context.Context, ready func()) error {
		ln, err := n.listen("http", n.Plane.Listen.HTTP)
		if err != nil {
			return err
		}
		n.addrs.HTTP = ln.Addr().String()
		srv := security.NewHTTPServer(handler, security.HTTPLimits{}, n.Logger)
		srv.TLSConfig = guard.tls.Clone() // the server writes protocols into it, while the gRPC face reads its own; nil stays nil
		return security.ServeHTTP(srv, serving.OneWrite(srv, ln), drainWithin)(ctx, ready)
	})
}

// addGRPC adds the listener of the lookups over gRPC.
func (n *node) addGRPC(lookups *serving.Lookups, guard *guard) {
	n.group.Add("grpc", drainWithin+time.Second, func(ctx context.Context, ready func()) error {
		ln, err := n.listen("grpc", n.Plane.Listen.GRPC)
		if err != nil {
			return err
		}
		n.addrs.GRPC = ln.Addr().String()
		srv := grpc.NewServer(slices.Concat(lookups.ServerOptions(), guard.grpc(), n.traceGRPC())...)
		lookups.Register(srv)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		ready()
		select {
		case err := <-served:
			return fmt.Errorf("serve grpc on %s: %w", n.addrs.GRPC, err)
		case <-ctx.Done():
		}
		cut := time.AfterFunc(drainWithin, srv.Stop)
		defer cut.Stop()
		srv.GracefulStop()
		return <-served
	})
}
