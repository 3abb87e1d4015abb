package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

const monitoredPlane = `
project: shop
prefix: %s
connections:
  kafka: {brokers: ["%s"]}
  redis: {url: "redis://127.0.0.1:1"}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - {name: orders, topic: orders, key: [user], schema: [{name: user, type: string, required: true}, {name: amount, type: float64}, {name: country, type: string}]}
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: spend_1d, aggregate: sum, of: amount, window: 1d}, {name: orders_1d, aggregate: count, window: 1d}, {name: last_country, of: country}]}
feature_services:
  - {name: fraud, features: [spend]}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: scores, id: id, event_time: {field: at, format: unix_us}, version: version, prediction: {field: p, type: probability}, slices: [region]}
baselines:
  - {name: scorer_1, model: scorer, version: "1"}
  - {name: scorer_2, model: scorer, version: "2"}
monitors:
  - {name: inputs, model: scorer, window: {size: 10m, every: 5m, grace: 0s}, skew: {baseline: scorer_1}, min_sample: 300, for: 2}
`

// shop is a plane with a model, a monitor and a Kafka of its own.
type shop struct {
	cluster *kfake.Cluster
	plane   string
	seeds   []string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := &shop{cluster: c, plane: filepath.Join(t.TempDir(), "shop.yaml"), seeds: c.ListenAddrs()}
	if err := os.WriteFile(s.plane, fmt.Appendf(nil, monitoredPlane, "shop.", s.seeds[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// ok runs a command that must succeed and returns what it printed.
func ok(t *testing.T, args ...string) result {
	t.Helper()
	r := run(t, args...)
	if r.code != exitOK {
		t.Fatalf("%s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r
}

// expect checks that a text has each of some parts.
func expect(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in\n%s", p, text)
		}
	}
}
