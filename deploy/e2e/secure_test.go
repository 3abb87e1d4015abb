package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestServicesAskForPasswordsAndCertificates runs a plane over a listener of Kafka's with TLS, client certificates and SCRAM, and a user of
// Redis' with a password. A process that Kafka refuses ends at once and says what to look at; one that Redis refuses says so and waits. No secret
// is in a log or the metrics.
func TestServicesAskForPasswordsAndCertificates(t *testing.T) {
	t.Parallel()
	certs := testenv.NewCerts(t)
	const password, wrong = "wide-awake-heron", "fast-asleep-heron"
	broker := testenv.StartKafkaSecured(t, testenv.KafkaSecurity{Certs: certs, Username: "freshet", Password: password})
	server := testenv.StartRedis(t)
	const online = "light-sleeping-heron"
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	if err := client.Do(t.Context(), "ACL", "SETUSER", "plane", "on", ">"+online, "~*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	p := newPlane(t, ordersPlane, broker.Second(), broker.Addr(), server.Addr(), orderPartitions)
	p.redisURL = "redis://plane:${REDIS_PASSWORD}@" + server.Addr()
	connect := func(pair, password string) {
		p.kafka = fmt.Sprintf(`, tls: {ca: %q%s}, sasl: {mechanism: SCRAM-SHA-512, username: freshet, password: "${KAFKA_PASSWORD}"}`, certs.CA, pair)
		p.env = []string{"KAFKA_PASSWORD=" + password, "REDIS_PASSWORD=" + online}
	}
	pair := fmt.Sprintf(", cert: %q, key: %q", certs.ClientCert, certs.ClientKey)
	for _, tc := range []struct{ pair, password, hint string }{
		{pair, wrong, "are the sasl username and password right?"},
		{"", password, "does it ask for a client certificate"},
	} {
		connect(tc.pair, tc.password)
		log := fails(t, p.runCommand("one"), 4)
		if !strings.Contains(log, tc.hint) || !strings.Contains(log, broker.Second()) {
			t.Errorf("it says, want %q and the broker's address:\n%s", tc.hint, log)
		}
		if strings.Contains(log, tc.password) {
			t.Errorf("the log has the password:\n%s", log)
		}
	}
	connect(pair, password)
	p.env[1] = "REDIS_PASSWORD=" + wrong
	in := p.run("one")
	in.says("redis cannot be used yet", "WRONGPASS", server.Addr())
	p.noSecrets(in, password, wrong)
	in.stop()
	connect(pair, password)
	in = p.run("one")
	events := p.sendOrders(21, 500)
	checkOrders(t, "over TLS", in, events)
	eventually(t, "caught up", in.caughtUp)
	p.noSecrets(in, password, online)
	in.stop()
}

// noSecrets looks for secrets in what a process says of itself.
func (p *plane) noSecrets(in *instance, secrets ...string) {
	p.t.Helper()
	said := in.tail()
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		_, body, err := get(in.admin + path)
		if err != nil {
			p.t.Error(err)
		}
		said += string(body)
	}
	for _, secret := range secrets {
		if strings.Contains(said, secret) {
			p.t.Errorf("%s is in the log or on the admin port", secret)
		}
	}
}
