package testenv

import (
	"context"
	"fmt"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// The images that a Docker engine runs. CI exercises the other two ways to get a service, by address and by local
// process; this one is for a laptop that has Docker and lacks what they need.
const (
	kafkaImage = "apache/kafka:" + kafkaVersion
	redisImage = "redis:7.2-alpine"

	clickHouseImage = "clickhouse/clickhouse-server:26.5"
)

// dockerAnswers reports whether there is an engine to ask.
func dockerAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return false
	}
	defer provider.Close()
	return provider.Health(ctx) == nil
}

// dockerKafka runs the broker's image on a port chosen beforehand, since the broker must advertise it.
func dockerKafka(ctx context.Context) (addr string, stop func(), err error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", nil, err
	}
	addr = loopback(ports[0])
	stop, err = container(ctx, testcontainers.ContainerRequest{
		Image:        kafkaImage,
		ExposedPorts: []string{fmt.Sprintf("%d:9092/tcp", ports[0])},
		Env: map[string]string{
			"KAFKA_NODE_ID":                                  "1",
			"KAFKA_PROCESS_ROLES":                            "broker,controller",
			"KAFKA_LISTENERS":                                "PLAINTEXT://:9092,CONTROLLER://:9093",
			"KAFKA_ADVERTISED_LISTENERS":                     "PLAINTEXT://" + addr,
			"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
			"KAFKA_CONTROLLER_LISTENER_NAMES":                "CONTROLLER",
			"KAFKA_CONTROLLER_QUORUM_VOTERS":                 "1@localhost:9093",
			"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                "false",
			"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":         "1",
			"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
			"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":            "1",
			"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":         "0",
		},
		WaitingFor: wait.ForLog("Kafka Server started").WithStartupTimeout(2 * time.Minute),
	})
	return addr, stop, err
}

func dockerRedis(ctx context.Context) (addr string, stop func(), err error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", nil, err
	}
	stop, err = container(ctx, testcontainers.ContainerRequest{
		Image:        redisImage,
		Cmd:          []string{"redis-server", "--save", "", "--appendonly", "no"},
		ExposedPorts: []string{fmt.Sprintf("%d:6379/tcp", ports[0])},
		WaitingFor:   wait.ForLog("Ready to accept connections"),
	})
	return loopback(ports[0]), stop, err
}

func dockerClickHouse(ctx context.Context) (addr string, stop func(), err error) {
	ports, err := freePorts(2)
	if err != nil {
		return "", nil, err
	}
	stop, err = container(ctx, testcontainers.ContainerRequest{
		Image:        clickHouseImage,
		ExposedPorts: []string{fmt.Sprintf("%d:9000/tcp", ports[0]), fmt.Sprintf("%d:8123/tcp", ports[1])},
		Env:          map[string]string{"CLICKHOUSE_SKIP_USER_SETUP": "1"}, // else the default user may not come from outside
		WaitingFor:   wait.ForHTTP("/ping").WithPort("8123/tcp").WithStartupTimeout(2 * time.Minute),
	})
	return loopback(ports[0]) + "," + loopback(ports[1]), stop, err
}

func container(ctx context.Context, req testcontainers.ContainerRequest) (stop func(), err error) {
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true})
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", req.Image, err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = c.Terminate(ctx) // testcontainers' own reaper removes what this leaves
	}, nil
}
