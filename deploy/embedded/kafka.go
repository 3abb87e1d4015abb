package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
)

// KafkaOptions say where the embedded Kafka listens and keeps its data.
type KafkaOptions struct {
	Dir    string // keeps topics, records and offsets; "": nothing outlives the process
	Addr   string // host:port, the host 127.0.0.1 or localhost; "" or port 0: a free port
	Logger *slog.Logger
}

// Kafka is a broker in this process. Like a real one that is set up with care it creates no topic by mention.
type Kafka struct {
	cluster *kfake.Cluster
	lock    io.Closer // of the folder; nil without one
}

// StartKafka starts the broker. A folder is used by one broker at a time.
func StartKafka(o KafkaOptions) (*Kafka, error) {
	port, err := kafkaPort(o.Addr)
	if err != nil {
		return nil, err
	}
	k := &Kafka{}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(port),
		kfake.ClusterID("freshet-embedded"),
		kfake.WithLogger(brokerLogger{o.Logger, new(atomic.Int64)}),
	}
	if o.Dir != "" {
		if k.lock, err = lockFolder(o.Dir); err != nil {
			return nil, err
		}
		opts = append(opts, kfake.DataDir(o.Dir))
	}
	if k.cluster, err = kfake.NewCluster(opts...); err != nil {
		err = fmt.Errorf("start the embedded kafka on %s: %w", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err)
		if o.Dir != "" {
			err = fmt.Errorf("%w (data in %s; without that folder it starts afresh)", err, o.Dir)
		}
		return nil, errors.Join(err, k.unlock())
	}
	return k, nil
}

// kafkaPort reads the address. The broker tells clients to come to 127.0.0.1, so it listens nowhere else.
func kafkaPort(addr string) (int, error) {
	if addr == "" {
		return 0, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("address of the embedded kafka: %w", err)
	}
	if host != "127.0.0.1" && host != "localhost" {
		return 0, fmt.Errorf("the embedded kafka listens on 127.0.0.1 alone, not on %q; name a real Kafka to serve other machines", host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("address of the embedded kafka: %q is not a port", port)
	}
	return int(n), nil
}

func lockFolder(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of the embedded kafka: %w", err)
	}
	lock, err := vfs.Default.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("folder of the embedded kafka %s is in use by another process: %w", dir, err)
	}
	return lock, nil
}

// Brokers returns what a client's seed brokers are.
func (k *Kafka) Brokers() []string { return k.cluster.ListenAddrs() }

// Close writes what is held to the folder and stops the broker. Clients are to be closed before.
func (k *Kafka) Close() error {
	k.cluster.Close()
	return k.unlock()
}

func (k *Kafka) unlock() error {
	if k.lock == nil {
		return nil
	}
	return k.lock.Close()
}

// brokerLogger passes on what the broker cannot do, and what it cannot keep in its folder. What else it says concerns
// who sent a request that it refused.
type brokerLogger struct {
	l     *slog.Logger
	quiet *atomic.Int64 // until this Unix time, what the folder does not take is not told again
}

// folderTrouble begins what the broker warns of when its folder fails it.
var folderTrouble = []string{"persist ", "rebuildSegments ", "partition ", "pids.log", "groups.log", "session_state.json", "load session state", "compact "}

// Logf implements kfake.Logger.
func (b brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level == kfake.LogLevelError:
		to = slog.LevelWarn
	case level == kfake.LogLevelWarn && slices.ContainsFunc(folderTrouble, func(start string) bool { return strings.HasPrefix(format, start) }):
		const every = 10
		now, quiet := time.Now().Unix(), b.quiet.Load()
		if now >= quiet && b.quiet.CompareAndSwap(quiet, now+every) {
			to = slog.LevelWarn
		}
	}
	if ctx := context.Background(); b.l.Enabled(ctx, to) {
		b.l.Log(ctx, to, "embedded kafka: "+fmt.Sprintf(format, args...))
	}
}
