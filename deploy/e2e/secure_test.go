package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/testenv"
)

// TestKafkaAsksForPasswordAndCertificate runs a plane over a listener with TLS, client certificates and SCRAM. A process without the right
// ones ends at once and says what to look at; no secret is in its log or its metrics.
func TestKafkaAsksForPasswordAndCertificate(t *testing.T) {
	t.Parallel()
	certs := testenv.NewCerts(t)
	const password, wrong = "wide-awake-heron", "fast-asleep-heron"
	broker := testenv.StartKafkaSecured(t, testenv.KafkaSecurity{Certs: certs, Username: "freshet", Password: password})
	p := newPlane(t, ordersPlane, broker.Second(), broker.Addr(), testenv.Redis(t), orderPartitions)
	connect := func(pair, password string) {
		p.kafka = fmt.Sprintf(`, tls: {ca: %q%s}, sasl: {mechanism: SCRAM-SHA-512, username: freshet, password: "${KAFKA_PASSWORD}"}`, certs.CA, pair)
		p.env = []string{"KAFKA_PASSWORD=" + password}
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
	in := p.run("one")
	events := p.sendOrders(21, 500)
	checkOrders(t, "over TLS", in, events)
	eventually(t, "caught up", in.caughtUp)
	_, metrics, err := get(in.admin + "/metrics")
	if err != nil || strings.Contains(string(metrics), password) || strings.Contains(in.tail(), password) {
		t.Errorf("the password is in the metrics or the log, error %v", err)
	}
	in.stop()
}
