package testenv

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const kafkaVersion = "4.3.1"

// kafkaProject is what Maven resolves to the broker's jars.
const kafkaProject = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet.test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + kafkaVersion + `</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`

// kafkaSettings is one node that is broker and controller at once. Internal topics have one replica, since there is one
// node, and few partitions, which makes their first use quicker. Topics are never created by mention. A broker that was
// killed can only register again when its former session has ended: with the default of 9 s a restart takes twice that.
const kafkaSettings = `node.id=1
process.roles=broker,controller
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=%[2]s
log.dirs=%[3]s
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
`

// kafkaBehind adds a second listener, whose clients are told to come to another address: that of what stands before it.
const kafkaBehind = `listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s,BEHIND://%[3]s
advertised.listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s,BEHIND://%[4]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,BEHIND:PLAINTEXT
`

// KafkaServer is a broker of its own, for tests that stop and start it.
type KafkaServer struct {
	addr, dir, jars string
	second          string   // the address of the second listener
	process         *process // nil while it is down
}

// kafkaListener is a second listener; its zero value is none.
type kafkaListener struct {
	settings func(plain, controller, second string) string // to go after kafkaSettings, given the addresses
	format   []string                                      // further arguments of the formatter
}

// LaunchKafka starts a broker with a fresh folder; the caller must Stop it.
func LaunchKafka(ctx context.Context) (*KafkaServer, error) {
	return launchKafkaWith(ctx, kafkaListener{})
}

// LaunchKafkaBehind is LaunchKafka with a second listener, which tells its clients that the broker is at front:
// a proxy there that forwards to Second sees all of their traffic. Further arguments are the formatter's of its folder.
func LaunchKafkaBehind(ctx context.Context, front string, format ...string) (*KafkaServer, error) {
	return launchKafkaWith(ctx, kafkaListener{format: format, settings: func(plain, controller, second string) string {
		return fmt.Sprintf(kafkaBehind, plain, controller, second, front)
	}})
}

func launchKafkaWith(ctx context.Context, l kafkaListener) (*KafkaServer, error) {
	jars, err := kafkaJars(ctx)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s, err := launchKafka(ctx, jars, l)
		if err == nil || try == 3 || ctx.Err() != nil {
			return s, err
		}
	}
}

func launchKafka(ctx context.Context, jars string, l kafkaListener) (*KafkaServer, error) {
	dir, err := os.MkdirTemp("", "freshet-kafka-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	s := &KafkaServer{addr: loopback(ports[0]), dir: dir, jars: jars, second: loopback(ports[2])}
	settings := fmt.Sprintf(kafkaSettings, s.addr, loopback(ports[1]), filepath.Join(dir, "data"))
	if l.settings != nil {
		settings += l.settings(s.addr, loopback(ports[1]), s.second) // the last of a setting counts
	}
	if err := os.WriteFile(filepath.Join(dir, "server.properties"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	args := append([]string{
		"format", "--standalone", "-t", base64.RawURLEncoding.EncodeToString(id), "-c", "server.properties",
	}, l.format...)
	format := exec.CommandContext(ctx, "java", s.java("kafka.tools.StorageTool", args...)...)
	format.Dir = dir
	if out, err := format.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("format kafka's folder: %w\n%s", err, out)
	}
	if err := s.start(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// quickJVM are a broker's options unless KafkaJVMEnv has others: the quick compiler and the serial collector cost a short-lived broker
// less than the defaults, which are made for servers.
const quickJVM = "-Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

// java returns the arguments that run a main class of the broker's jars.
func (s *KafkaServer) java(class string, args ...string) []string {
	return slices.Concat(strings.Fields(cmp.Or(os.Getenv(KafkaJVMEnv), quickJVM)),
		[]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(s.jars, "*"), class}, args)
}

func (s *KafkaServer) start(ctx context.Context) error {
	p, err := start(s.dir, append([]string{"java"}, s.java("kafka.Kafka", "server.properties")...)...)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, s.ready); err != nil {
		p.end(syscall.SIGKILL)
		return err
	}
	s.process = p
	return nil
}

// ready succeeds when the broker answers and has made itself known to its controller.
func (s *KafkaServer) ready(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.RequestRetries(0), kgo.DialTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return err
	}
	if len(cl.DiscoveredBrokers()) == 0 {
		return fmt.Errorf("the controller knows no broker yet")
	}
	return nil
}

// Addr is the broker's address; it stays the same over restarts.
func (s *KafkaServer) Addr() string { return s.addr }

// Second is the address of the second listener.
func (s *KafkaServer) Second() string { return s.second }

// Kill ends the broker as a crash does.
func (s *KafkaServer) Kill() { s.down(syscall.SIGKILL) }

// Restart starts a broker that is down, with the data it had. A broker that is up is stopped first.
func (s *KafkaServer) Restart(ctx context.Context) error {
	s.down(syscall.SIGTERM)
	return s.start(ctx)
}

// Stop ends the broker and removes its data.
func (s *KafkaServer) Stop() {
	s.down(syscall.SIGKILL)
	_ = os.RemoveAll(s.dir)
}

func (s *KafkaServer) down(sig syscall.Signal) {
	if s.process != nil {
		s.process.end(sig)
		s.process = nil
	}
}

// kafkaJars returns the folder with the broker's jars, fetched once into the user's cache.
func kafkaJars(ctx context.Context) (string, error) {
	if err := lookPaths("java"); err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	base := filepath.Join(cache, "freshet", "kafka-"+kafkaVersion)
	lib := filepath.Join(base, "lib")
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	if err := lookPaths("mvn"); err != nil {
		return "", err
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(base, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), []byte(kafkaProject), 0o600); err != nil {
		return "", err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
	mvn.Dir = work
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch kafka %s with maven: %w\n%s", kafkaVersion, err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(filepath.Join(work, "lib"), lib); err != nil {
		if _, there := os.Stat(lib); there != nil { // else another run was quicker
			return "", err
		}
	}
	return lib, nil
}
