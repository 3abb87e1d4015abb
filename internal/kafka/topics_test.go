package kafka_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/testenv"
)

// TestTopics runs one suite on the embedded broker and on a real one.
func TestTopics(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { testTopics(t, newCluster(t, kfake.NumBrokers(1))) })
	t.Run("kafka", func(t *testing.T) { testTopics(t, config.Kafka{Brokers: []string{testenv.Kafka(t)}}) })
}

func testTopics(t *testing.T, c config.Kafka) {
	prefix := testenv.Prefix(t)
	compacted := map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "3600000", "message.timestamp.type": "LogAppendTime"}
	specs := []kafka.TopicSpec{
		{Name: prefix + "changelog", Partitions: 3, Config: compacted},
		{Name: prefix + "dlq", Partitions: 1},
	}

	t.Run("creates what is missing and accepts it again", func(t *testing.T) {
		adm := newAdmin(t, c)
		for range 2 {
			if err := kafka.EnsureTopics(t.Context(), adm, c, specs); err != nil {
				t.Fatal(err)
			}
		}
		topic, err := kafka.DescribeTopic(t.Context(), adm, prefix+"changelog")
		if err != nil {
			t.Fatal(err)
		}
		if topic.Partitions != 3 || topic.Replicas != 1 || topic.ID == (kadm.TopicID{}) {
			t.Errorf("described as %+v, want 3 partitions, 1 replica, an id", topic)
		}
	})

	t.Run("accepts a list in another order", func(t *testing.T) {
		spec := kafka.TopicSpec{Name: prefix + "changelog", Partitions: 3, Config: map[string]string{"cleanup.policy": "delete, compact"}}
		if err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), c, []kafka.TopicSpec{spec}); err != nil {
			t.Error(err)
		}
	})

	t.Run("refuses every difference by name", func(t *testing.T) {
		other := []kafka.TopicSpec{
			{Name: prefix + "changelog", Partitions: 4, Config: map[string]string{"cleanup.policy": "compact", "retention.ms": "3600000"}},
			{Name: prefix + "dlq", Partitions: 2},
		}
		err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), c, other)
		var differ *kafka.TopicsDiffer
		if !errors.As(err, &differ) {
			t.Fatalf("got %v, want a *TopicsDiffer", err)
		}
		want := []kafka.Difference{
			{Topic: prefix + "changelog", Setting: "partitions", Have: "3", Want: "4"},
			{Topic: prefix + "changelog", Setting: "cleanup.policy", Have: "compact,delete", Want: "compact"},
			{Topic: prefix + "dlq", Setting: "partitions", Have: "1", Want: "2"},
		}
		if !slices.Equal(differ.Differences, want) {
			t.Errorf("differences\n%+v\nwant\n%+v", differ.Differences, want)
		}
		if text := `topic "` + prefix + `changelog" has partitions 3, want 4`; !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	})

	t.Run("refuses replication weaker than configured", func(t *testing.T) {
		strong := c
		strong.ReplicationFactor, strong.MinInsyncReplicas = 3, 2
		err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), strong, specs[1:])
		if err == nil || !strings.Contains(err.Error(), "replication factor 1, want at least 3") ||
			!strings.Contains(err.Error(), "min.insync.replicas 1, want at least 2") {
			t.Errorf("got %v, want both replication settings named", err)
		}
	})

	t.Run("says when there are too few brokers", func(t *testing.T) {
		strong := c
		strong.ReplicationFactor = 3
		err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), strong, []kafka.TopicSpec{{Name: prefix + "three", Partitions: 1}})
		if err == nil || !strings.Contains(err.Error(), "replication factor 3") {
			t.Errorf("got %v, want an error that names the factor", err)
		}
	})

	t.Run("several instances start at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 4 {
			adm := newAdmin(t, c)
			wg.Go(func() {
				if err := kafka.EnsureTopics(t.Context(), adm, c, []kafka.TopicSpec{{Name: prefix + "raced", Partitions: 2, Config: compacted}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})

	t.Run("a recreated topic is another topic", func(t *testing.T) {
		adm := newAdmin(t, c)
		before, err := kafka.DescribeTopic(t.Context(), adm, prefix+"dlq")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := adm.DeleteTopic(t.Context(), prefix+"dlq"); err != nil {
			t.Fatal(err)
		}
		if _, err := kafka.DescribeTopic(t.Context(), adm, prefix+"dlq"); !errors.Is(err, kafka.ErrNoTopic) {
			t.Errorf("a deleted topic: got %v, want ErrNoTopic", err)
		}
		if err := kafka.EnsureTopics(t.Context(), adm, c, specs); err != nil {
			t.Fatal(err)
		}
		after, err := kafka.DescribeTopic(t.Context(), adm, prefix+"dlq")
		if err != nil {
			t.Fatal(err)
		}
		if before.ID == after.ID {
			t.Errorf("both have id %s", after.ID)
		}
	})
}

func newAdmin(t *testing.T, c config.Kafka) *kadm.Client {
	t.Helper()
	return kadm.NewClient(newClient(t, c))
}

// TestATopicWithoutALeaderIsNoMissingOne: to take it for one would be to begin anew beside what there is.
func TestATopicWithoutALeaderIsNoMissingOne(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "plane"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	adm := newAdmin(t, config.Kafka{Brokers: cluster.ListenAddrs()})
	h := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "plane", Err: kerr.LeaderNotAvailable, Count: 3})
	topic, err := kafka.DescribeTopic(t.Context(), adm, "plane")
	if err != nil || topic.Partitions != 2 || h.Hits() != 3 {
		t.Errorf("described as %+v, error %v, after %d answers without a leader", topic, err, h.Hits())
	}
	if _, err := kafka.DescribeTopic(t.Context(), adm, "none"); !errors.Is(err, kafka.ErrNoTopic) {
		t.Errorf("a topic that is not there: %v", err)
	}
}

func TestEnsureTopicsRefusesTwins(t *testing.T) {
	c := newCluster(t, kfake.NumBrokers(1))
	err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), c, []kafka.TopicSpec{{Name: "a", Partitions: 1}, {Name: "a", Partitions: 2}})
	if err == nil || !strings.Contains(err.Error(), `"a" is asked for twice`) {
		t.Errorf("got %v", err)
	}
}

// load returns the Kafka connection of a definition, as a process reads it.
func load(t *testing.T, connection string) config.Kafka {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(file, []byte("project: test\nconnections:\n  kafka: "+connection+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return *p.Connections.Kafka
}

// TestEnsureTopicsReplicatesByDefault: a definition that names one of three brokers and no replication has it on all three.
func TestEnsureTopicsReplicatesByDefault(t *testing.T) {
	all := newCluster(t, kfake.NumBrokers(3))
	c := load(t, fmt.Sprintf(`{brokers: [%q]}`, all.Brokers[0]))
	adm := newAdmin(t, c)
	if err := kafka.EnsureTopics(t.Context(), adm, c, []kafka.TopicSpec{{Name: "a", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	replicated(t, adm, "a", 3, "2")
	// What was made when the cluster was smaller is accepted, unless the definition asks for more.
	one := load(t, fmt.Sprintf(`{brokers: [%q], replication_factor: 1}`, all.Brokers[0]))
	b := []kafka.TopicSpec{{Name: "b", Partitions: 1}}
	for _, c := range []config.Kafka{one, c} {
		if err := kafka.EnsureTopics(t.Context(), adm, c, b); err != nil {
			t.Fatal(err)
		}
	}
	replicated(t, adm, "b", 1, "1")
	two := load(t, fmt.Sprintf(`{brokers: [%q], min_insync_replicas: 2}`, all.Brokers[0]))
	if err := kafka.EnsureTopics(t.Context(), adm, two, b); err == nil || !strings.Contains(err.Error(), "min.insync.replicas 1, want at least 2") {
		t.Errorf("got %v", err)
	}
}

// TestEnsureTopicsDoesNotWeakenWhatIsAskedFor: one broker cannot keep two copies.
func TestEnsureTopicsDoesNotWeakenWhatIsAskedFor(t *testing.T) {
	all := newCluster(t, kfake.NumBrokers(1))
	c := load(t, fmt.Sprintf(`{brokers: [%q], min_insync_replicas: 2}`, all.Brokers[0]))
	err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), c, []kafka.TopicSpec{{Name: "a", Partitions: 1}})
	if err == nil || !strings.Contains(err.Error(), "asks for 2 copies, and the replication factor is 1") {
		t.Errorf("got %v", err)
	}
}

func replicated(t *testing.T, adm *kadm.Client, name string, replicas int, minInsync string) {
	t.Helper()
	topic, err := kafka.DescribeTopic(t.Context(), adm, name)
	if err != nil {
		t.Fatal(err)
	}
	if topic.Replicas != replicas {
		t.Errorf("topic %s: %d replicas, want %d", name, topic.Replicas, replicas)
	}
	settings, err := adm.DescribeTopicConfigs(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(settings[0].Configs, func(c kadm.Config) bool { return c.Key == "min.insync.replicas" })
	if i < 0 || settings[0].Configs[i].MaybeValue() != minInsync {
		t.Errorf("topic %s: settings %v, want min.insync.replicas %s", name, settings[0].Configs, minInsync)
	}
}
