package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/embedded"
	"github.com/freshet-io/freshet/deploy/node"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
)

// The addresses where `dev` and `demo` listen unless told otherwise: the definition's defaults, and Kafka's usual port.
const (
	defaultHTTP  = "127.0.0.1:6566"
	defaultKafka = "127.0.0.1:9092"
)

// localOptions say which plane runs in this process, on which embedded services.
type localOptions struct {
	plane      *config.Plane
	dir        string // of everything the embedded services and the processors keep
	http       string // overrides the plane's listen.http unless empty
	kafka      string // where the embedded Kafka listens
	partitions int32  // of source topics that do not exist yet
	logger     *slog.Logger
}

// local is a plane that runs in this process.
type local struct {
	plane *config.Plane
	dir   string
	conn  config.Kafka
	addrs node.Addresses
}

// withLocal runs a plane in this process, with embedded services in place of the connections that it does not name,
// and calls body when the plane is ready. It returns when body has returned and everything has stopped in good order;
// body's context ends when the plane stops.
func (a *app) withLocal(ctx context.Context, o localOptions, body func(context.Context, local) error) (err error) {
	own := *o.plane
	plane := &own
	if o.http != "" {
		if _, _, err := net.SplitHostPort(o.http); err != nil {
			return usageError(fmt.Errorf("--http: %q is not host:port", o.http))
		}
		plane.Listen.HTTP = o.http
	}
	if plane.Processing.StateDir == "" || plane.Connections.Kafka == nil {
		plane.Processing.StateDir = o.dir + "/state"
	}
	embedRedis := plane.Connections.Redis == nil
	if plane.Connections.Kafka == nil {
		addr, err := freeAddress(o.kafka)
		if err != nil {
			return err
		}
		k, err := embedded.StartKafka(embedded.KafkaOptions{Dir: o.dir + "/kafka", Addr: addr, Logger: o.logger})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		plane.Connections.Kafka = &config.Kafka{Brokers: k.Brokers()}
	}
	if embedRedis {
		r, err := embedded.StartRedis()
		if err != nil {
			return err
		}
		defer r.Close()
		plane.Connections.Redis = &config.Redis{URL: config.Secret(r.URL())}
	}
	if plane.Connections.Parquet == nil && plane.Connections.ClickHouse == nil {
		plane.Connections.Parquet = &config.Parquet{URL: fileURL(o.dir + "/parquet")}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan node.Addresses, 1)
	stopped := make(chan error, 1)
	go func() {
		defer cancel()
		stopped <- node.Run(ctx, node.Options{
			Plane: plane, Roles: node.DefaultRoles(plane), EmbeddedRedis: embedRedis, CreateSources: o.partitions, FreePorts: true,
			Version: readBuild().Version, Logger: o.logger, Ready: func(at node.Addresses) { ready <- at },
		})
	}()
	select {
	case at := <-ready:
		err = body(ctx, local{plane: plane, dir: o.dir, conn: *plane.Connections.Kafka, addrs: at})
		cancel()
		if nodeErr := <-stopped; nodeErr != nil {
			if errors.Is(err, context.Canceled) {
				err = nil // the plane's own error says why
			}
			err = errors.Join(err, nodeErr)
		}
		return err
	case err := <-stopped:
		return err
	}
}

// fileURL is how connections name a folder, by its absolute path.
func fileURL(folder string) config.Secret {
	return config.Secret((&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}).String())
}

// serverURL is what --server takes to reach the plane.
func (l local) serverURL() string {
	scheme := "http"
	if l.plane.Listen.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + l.addrs.HTTP
}

// deadLettered counts the dead letters of all sources.
func (l local) deadLettered(ctx context.Context) (int, error) {
	opts, err := kafka.Options(l.conn, "freshet-demo")
	if err != nil {
		return 0, err
	}
	client, err := kgo.NewClient(append(opts, ingest.DeadLetterOptions()...)...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	total := 0
	for _, s := range l.plane.Intakes() {
		sum, err := countLetters(ctx, client, ingest.DeadLetterTopic(l.plane, s.Name), ingest.Filter{})
		if err != nil {
			return 0, err
		}
		total += sum.Total
	}
	return total, nil
}

// serverFlag is the flag that `freshet get` needs to reach the plane: none where the default does.
func (l local) serverFlag() string {
	if l.serverURL() == defaultServer {
		return ""
	}
	return " --server " + strings.TrimPrefix(l.serverURL(), "http://")
}
