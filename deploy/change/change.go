package change

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/processors"
)

// OfflineStore is what a change needs of an offline store.
type OfflineStore interface {
	Prepare(ctx context.Context, t *offline.Table) error
	Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error
	Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error)
	Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error
	// Plan returns the statements that Prepare would run; an offline.ErrDiffers if it would refuse.
	Plan(ctx context.Context, t *offline.Table) ([]string, error)
	Close() error
}

// A Store is an offline store of the plane, by the name of its connection.
type Store struct {
	Name string
	OfflineStore
}

// Options say which plane is changed, and how.
type Options struct {
	Plane  *config.Plane
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
	Dir    string           // for what a build does not hold in memory; default the system's

	AcceptGap bool // build although some of the history is gone
	AllowDrop bool // delete states that no definition has any more
	// Step ends a change before one of its steps, as a crash would: see processors.BuilderOptions. nil: nothing does.
	Step func(name string) error
}

// A Change is at work on a plane's services.
type Change struct {
	opts    Options
	plane   *config.Plane
	client  []kgo.Opt
	online  *online.Client
	builder *processors.Builder
	stores  []Store
}

// Open connects to the services that the plane names. The caller closes the Change.
func Open(ctx context.Context, o Options) (*Change, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	conn := o.Plane.Connections
	if conn.Kafka == nil || conn.Redis == nil {
		return nil, errors.New("a plane is changed where it runs: connections.kafka and connections.redis must name it")
	}
	c := &Change{opts: o, plane: o.Plane}
	var err error
	if c.client, err = kafka.Options(*conn.Kafka, "freshet-change-"+o.Plane.Project); err != nil {
		return nil, err
	}
	if err := c.reach(ctx, conn.Kafka.Brokers); err != nil {
		return nil, err
	}
	if c.online, err = online.Open(ctx, *conn.Redis, online.Options{Name: "freshet-change", Logger: o.Logger}); err != nil {
		return nil, err
	}
	c.builder = processors.NewBuilder(processors.BuilderOptions{
		Plane: o.Plane, Kafka: *conn.Kafka, Client: c.client, Online: c.online, Fields: c.online, Logger: o.Logger, Now: o.Now, Dir: o.Dir, Step: o.Step,
	})
	if err := c.openStores(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// reachWithin is how long a command waits for Kafka.
const reachWithin = 20 * time.Second

func (c *Change) reach(ctx context.Context, brokers []string) error {
	cl, err := kgo.NewClient(c.client...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	return kafka.WaitReachable(ctx, cl, brokers, c.opts.Logger)
}

func (c *Change) openStores(ctx context.Context) error {
	conn := c.plane.Connections
	if conn.Parquet != nil {
		s, err := parquet.Open(ctx, conn.Parquet.URL, parquet.Options{Logger: c.opts.Logger, Now: c.opts.Now})
		if err != nil {
			return err
		}
		c.stores = append(c.stores, Store{"parquet", s})
	}
	if conn.ClickHouse != nil {
		s, err := clickhouse.Open(*conn.ClickHouse, clickhouse.Options{Logger: c.opts.Logger, AllowDrop: c.opts.AllowDrop})
		if err != nil {
			return err
		}
		c.stores = append(c.stores, Store{"clickhouse", s})
	}
	return nil
}

// Close lets the services go.
func (c *Change) Close() error {
	var errs []error
	for _, s := range c.stores {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.online.Close())...)
}
