package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// The environment that decides where services come from.
const (
	KafkaEnv      = "FRESHET_TEST_KAFKA"       // host:port[,host:port]
	RedisEnv      = "FRESHET_TEST_REDIS"       // host:port
	ClickHouseEnv = "FRESHET_TEST_CLICKHOUSE"  // host:port of the native protocol[,host:port of HTTP]; default of the latter: port 8123
	RequireEnv    = "FRESHET_REQUIRE_SERVICES" // 1: a service that is missing fails the test
	KafkaJVMEnv   = "FRESHET_TEST_KAFKA_JVM"   // options of a launched broker's JVM, for measurements: without it they are those of a short life
)

// The first start of a broker on a new machine downloads it.
const startTimeout = 4 * time.Minute

// Service is a running Kafka, Redis or ClickHouse.
type Service struct {
	Addr string
	Stop func() // ends it if this program started it
}

// OpenKafka returns the broker by the package's order; the caller must Stop it.
func OpenKafka(ctx context.Context) (Service, error) {
	return open(ctx, KafkaEnv, dockerKafka, func(ctx context.Context) (string, func(), error) {
		s, err := LaunchKafka(ctx)
		if err != nil {
			return "", nil, err
		}
		return s.Addr(), s.Stop, nil
	})
}

// OpenRedis returns the server by the package's order; the caller must Stop it.
func OpenRedis(ctx context.Context) (Service, error) {
	return open(ctx, RedisEnv, dockerRedis, func(ctx context.Context) (string, func(), error) {
		s, err := LaunchRedis(ctx)
		if err != nil {
			return "", nil, err
		}
		return s.Addr(), s.Stop, nil
	})
}

// OpenClickHouse returns the server by the package's order; the caller must Stop it.
func OpenClickHouse(ctx context.Context) (Service, error) {
	return open(ctx, ClickHouseEnv, dockerClickHouse, func(ctx context.Context) (string, func(), error) {
		s, err := LaunchClickHouse(ctx)
		if err != nil {
			return "", nil, err
		}
		return s.Addr(), s.Stop, nil
	})
}

type launcher func(ctx context.Context) (addr string, stop func(), err error)

func open(ctx context.Context, env string, inDocker, local launcher) (Service, error) {
	if addr := os.Getenv(env); addr != "" {
		return Service{Addr: addr, Stop: func() {}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	launch := local
	if dockerAnswers(ctx) {
		launch = inDocker
	}
	addr, stop, err := launch(ctx)
	if err != nil {
		return Service{}, err
	}
	return Service{Addr: addr, Stop: stop}, nil
}

// The services of this test binary, started at the first wish. A watcher ends them with the binary.
var (
	sharedKafka = sync.OnceValues(func() (Service, error) { return OpenKafka(context.Background()) })
	sharedRedis = sync.OnceValues(func() (Service, error) { return OpenRedis(context.Background()) })

	sharedClickHouse = sync.OnceValues(func() (Service, error) { return OpenClickHouse(context.Background()) })
)

// Kafka returns the address of a broker that this test shares with others.
func Kafka(t testing.TB) string {
	t.Helper()
	s, err := sharedKafka()
	need(t, "Kafka", KafkaEnv, err)
	return s.Addr
}

// Redis returns the address of a server that this test shares with others.
func Redis(t testing.TB) string {
	t.Helper()
	s, err := sharedRedis()
	need(t, "Redis", RedisEnv, err)
	return s.Addr
}

// StartKafka starts a broker for this test alone, always as a local process.
func StartKafka(t testing.TB) *KafkaServer {
	t.Helper()
	s, err := LaunchKafka(startContext(t))
	return ownKafka(t, s, err)
}

// StartKafkaBehind is StartKafka with a second listener behind a proxy at front; see LaunchKafkaBehind.
func StartKafkaBehind(t testing.TB, front string, format ...string) *KafkaServer {
	t.Helper()
	s, err := LaunchKafkaBehind(startContext(t), front, format...)
	return ownKafka(t, s, err)
}

func ownKafka(t testing.TB, s *KafkaServer, err error) *KafkaServer {
	t.Helper()
	need(t, "Kafka of its own", KafkaEnv, err)
	t.Cleanup(s.Stop)
	return s
}

// StartRedis starts a server for this test alone, always as a local process; see LaunchRedis for args.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	s, err := LaunchRedis(startContext(t), args...)
	need(t, "Redis of its own", RedisEnv, err)
	t.Cleanup(s.Stop)
	return s
}

// StartRedisCluster starts a cluster of three masters for this test alone.
func StartRedisCluster(t testing.TB) []*RedisServer {
	t.Helper()
	nodes, err := LaunchRedisCluster(startContext(t))
	need(t, "Redis cluster", RedisEnv, err)
	t.Cleanup(func() { stopAll(nodes) })
	return nodes
}

func startContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	t.Cleanup(cancel)
	return ctx
}

// need skips the test when a service is not to be had on this machine, and fails it when it is required or was there
// and did not work.
func need(t testing.TB, service, env string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	missing := errors.Is(err, exec.ErrNotFound)
	if missing && os.Getenv(RequireEnv) != "1" {
		t.Skipf("no %s: set %s, start Docker, or install what is missing (%v)", service, env, err)
	}
	t.Fatalf("no %s: %v", service, err)
}

// Prefix returns a start for the names of topics, groups and projects that no other test uses, fit for Kafka and Redis:
// lower case letters, digits and dashes, with a dash at the end.
func Prefix(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, r := range strings.ToLower(t.Name()) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	name := b.String()
	unique := make([]byte, 4)
	_, _ = rand.Read(unique) // never fails
	return fmt.Sprintf("%.40s-%s-", name, hex.EncodeToString(unique))
}
