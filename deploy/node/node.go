package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/lifecycle"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/internal/telemetry"
	"github.com/freshet-io/freshet/processors"
)

// Options are what one process is made of.
type Options struct {
	Plane *config.Plane
	Roles Roles

	// EmbeddedRedis says that the online store is in this process and that nobody else writes to it.
	EmbeddedRedis bool
	// CreateSources is how many partitions source topics get that do not exist; 0: they are not created.
	CreateSources int32
	// FreePorts says that a listener whose port is taken takes a free one of its host.
	FreePorts bool
	// AcceptGap goes on where events were lost to a topic's retention.
	AcceptGap bool

	Version, Revision string // of the binary
	Logger            *slog.Logger
	// Ready, if not nil, is called once, when every listener is open and every part has started. Parts may still be
	// catching up: the admin listener's /readyz tells when they have.
	Ready func(Addresses)
}

// Addresses are where a process listens; what it does not have is empty.
type Addresses struct {
	HTTP, GRPC, Admin string
}

// node is a process while it is put together.
type node struct {
	Options
	group    *lifecycle.Group
	registry *prometheus.Registry
	health   *telemetry.Health
	started  atomic.Bool // every part has, and none is being stopped
	tracer   trace.TracerProvider
	addrs    Addresses

	store *online.Client // of the roles process and serve
	kafka []kgo.Opt      // to reach Kafka, of the roles ingest, process, offline and monitor
}

// Run runs a process until ctx ends, then stops it in order: the listeners first, so that requests begun are finished;
// then the gateway's producer, when Kafka has what was accepted; then the processors, with a last commit; then the
// connections; at last the admin listener, so that the end can be watched. It returns nil after a good stop.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	n := &node{
		Options: o, group: lifecycle.New(o.Logger), registry: telemetry.NewRegistry(o.Version, o.Revision), health: &telemetry.Health{},
	}
	if err := n.assemble(ctx); err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" && o.Roles.Has(Process|Offline) {
		debug.SetMemoryLimit(o.memoryLimit())
	}
	return n.group.Run(ctx)
}

// memoryLimit is where the garbage collector begins to work harder. The sinks' is what waits, as much again on its way to be
// collected, and the rows of the batches that are being written.
func (o *Options) memoryLimit() int64 {
	var limit int64
	if o.Roles.Has(Process) {
		limit = processors.MemoryLimit(o.Plane)
	}
	if o.Roles.Has(Offline) {
		limit += 2*o.Plane.Offline.Memory + 256<<20
	}
	return limit
}

// check refuses what cannot run: a role without its services.
func (o *Options) check() error {
	c := o.Plane.Connections
	switch {
	case o.Roles&^AllRoles != 0 || o.Roles == 0:
		return fmt.Errorf("roles %#x: there are no such roles", uint8(o.Roles))
	case o.Roles.Has(Ingest|Process|Offline|Monitor) && c.Kafka == nil:
		return errors.New("the roles ingest, process, offline and monitor need connections.kafka, in the definition or in --connections FILE; freshet dev embeds what is not named")
	case o.Roles.Has(Monitor) && len(o.Plane.Monitors) == 0:
		return errors.New("the role monitor needs a monitor in the definition")
	case o.Roles.Has(Monitor) && comparesValues(o.Plane) != nil && c.ClickHouse == nil && c.Parquet == nil:
		return fmt.Errorf("monitor %s has value_skew, which needs connections.clickhouse or connections.parquet", comparesValues(o.Plane).Name)
	case o.Roles.Has(Offline) && c.ClickHouse == nil && c.Parquet == nil:
		return errors.New("the role offline needs connections.clickhouse or connections.parquet")
	case o.Roles.Has(Process|Serve) && c.Redis == nil:
		return errors.New("the roles process and serve need connections.redis")
	}
	return nil
}

// assemble adds the parts in the order in which they start.
func (n *node) assemble(ctx context.Context) error {
	n.addAdmin()
	if err := n.addTracer(ctx); err != nil {
		return err
	}
	if n.Roles.Has(Ingest | Process | Offline | Monitor) {
		if err := n.addKafka(); err != nil {
			return err
		}
	}
	if n.Roles.Has(Process | Serve) {
		if err := n.addOnline(ctx); err != nil {
			return err
		}
	}
	if n.Roles.Has(Process) {
		n.addProcessors()
	}
	if n.Roles.Has(Offline) {
		if err := n.addOffline(ctx); err != nil {
			return err
		}
	}
	if n.Roles.Has(Monitor) {
		n.addMonitors()
		if err := errors.Join(n.addValueSkew(ctx), n.addNotifier()); err != nil {
			return err
		}
	}
	if n.Roles.Has(Ingest | Serve) {
		if err := n.addFaces(); err != nil {
			return err
		}
	}
	n.group.Add("ready", 0, n.runReady)
	return nil
}

// reachWithin is how long a start waits for Kafka before it gives up and says why.
const reachWithin = time.Minute

// addKafka prepares the connection and has the start wait until a broker answers.
func (n *node) addKafka() error {
	conn := *n.Plane.Connections.Kafka
	opts, err := kafka.Options(conn, "freshet-"+n.Plane.Project)
	if err != nil {
		return err
	}
	n.kafka = append(opts, kgo.WithLogger(kafka.Logger(n.Logger)), kgo.WithHooks(kafka.NewMetrics(n.registry)))
	n.group.Add("kafka", 0, func(ctx context.Context, ready func()) error {
		cl, err := kgo.NewClient(append(n.kafka[:len(n.kafka):len(n.kafka)], kafka.Probing())...)
		if err != nil {
			return fmt.Errorf("connect to kafka: %w", err)
		}
		defer cl.Close()
		n.health.Set("kafka", pingKafka(cl, conn.Brokers))
		reach, cancel := context.WithTimeout(ctx, reachWithin)
		defer cancel()
		if err := kafka.WaitReachable(reach, cl, conn.Brokers, n.Logger); err != nil {
			return err
		}
		ready()
		<-ctx.Done()
		return nil
	})
	return nil
}

// pingKafka is a check that holds while a broker answers.
func pingKafka(cl *kgo.Client, brokers []string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := cl.Ping(ctx); err != nil {
			return fmt.Errorf("kafka at %s does not answer: %w", strings.Join(brokers, ", "), err)
		}
		return nil
	}
}

// addOnline opens the online store. A start goes on without it: processing waits and lookups fail until it is there.
func (n *node) addOnline(ctx context.Context) error {
	store, err := online.Open(ctx, *n.Plane.Connections.Redis, online.Options{
		Embedded: n.EmbeddedRedis, Name: "freshet-" + n.Plane.Project, Logger: n.Logger, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.store = store
	n.group.Add("online store", 0, func(ctx context.Context, ready func()) error {
		err := store.WarnSettings(ctx)
		if err == nil { // which a user who may not ask for settings is no error to
			err = store.Ping(ctx)
		}
		if err != nil {
			n.Logger.Warn("redis cannot be used yet; going on without it", "error", err)
		}
		n.health.Set("redis", store.Ping)
		ready()
		<-ctx.Done()
		return store.Close()
	})
	return nil
}
