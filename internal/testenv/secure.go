package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// KafkaSecurity is what a listener asks of its clients: TLS with a certificate of the authority, and a password.
type KafkaSecurity struct {
	Certs              Certs
	Username, Password string // by SCRAM-SHA-512
}

// kafkaSecured adds a listener with TLS, client certificates and SASL. It must be configured by the listener's name: without it the
// broker ignores client certificates where there is SASL.
const kafkaSecured = `listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s,SECURED://%[3]s
advertised.listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s,SECURED://%[3]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.ssl.client.auth=required
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location=%[4]s
listener.name.secured.ssl.truststore.type=PEM
listener.name.secured.ssl.truststore.location=%[5]s
`

// StartKafkaSecured starts a broker for this test alone with a second listener, at Second, that asks for what c says.
func StartKafkaSecured(t testing.TB, c KafkaSecurity) *KafkaServer {
	t.Helper()
	var pair []byte
	for _, file := range []string{c.Certs.ServerKey, c.Certs.ServerCert} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pair = append(pair, text...)
	}
	store := filepath.Join(t.TempDir(), "server-pair.pem")
	if err := os.WriteFile(store, pair, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := launchKafkaWith(startContext(t), kafkaListener{
		settings: func(plain, controller, second string) string {
			return fmt.Sprintf(kafkaSecured, plain, controller, second, store, c.Certs.CA)
		},
		format: []string{"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", c.Username, c.Password)},
	})
	return ownKafka(t, s, err)
}
