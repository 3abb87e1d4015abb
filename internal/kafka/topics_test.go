package kafka_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

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

func TestEnsureTopicsRefusesTwins(t *testing.T) {
	c := newCluster(t, kfake.NumBrokers(1))
	err := kafka.EnsureTopics(t.Context(), newAdmin(t, c), c, []kafka.TopicSpec{{Name: "a", Partitions: 1}, {Name: "a", Partitions: 2}})
	if err == nil || !strings.Contains(err.Error(), `"a" is asked for twice`) {
		t.Errorf("got %v", err)
	}
}

func TestEnsureTopicsReplicatesByDefault(t *testing.T) {
	c := newCluster(t, kfake.NumBrokers(3))
	adm := newAdmin(t, c)
	if err := kafka.EnsureTopics(t.Context(), adm, c, []kafka.TopicSpec{{Name: "a", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	topic, err := kafka.DescribeTopic(t.Context(), adm, "a")
	if err != nil {
		t.Fatal(err)
	}
	if topic.Replicas != 3 {
		t.Errorf("%d replicas on three brokers, want 3", topic.Replicas)
	}
	settings, err := adm.DescribeTopicConfigs(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings[0].Configs {
		if s.Key == "min.insync.replicas" && s.MaybeValue() != "2" {
			t.Errorf("min.insync.replicas %s, want 2", s.MaybeValue())
		}
	}
}
