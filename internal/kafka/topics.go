package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/freshet-io/freshet/config"
)

// TopicSpec is a topic as Freshet needs it. Config holds the settings that matter to correctness or cost; others are
// left to the brokers' defaults and not compared.
type TopicSpec struct {
	Name       string
	Partitions int32
	Config     map[string]string
}

// Topic is what a cluster says of a topic.
type Topic struct {
	Name       string
	ID         kadm.TopicID // another id under the same name is another topic: it was deleted and created again
	Partitions int32
	Replicas   int
}

// ErrNoTopic is returned for a topic that does not exist.
var ErrNoTopic = errors.New("topic does not exist")

// Difference is one setting in which an existing topic is not what is needed.
type Difference struct {
	Topic, Setting, Have, Want string
}

func (d Difference) String() string {
	return fmt.Sprintf("topic %q has %s %s, want %s", d.Topic, d.Setting, d.Have, d.Want)
}

// TopicsDiffer lists every difference found; nothing has been altered.
type TopicsDiffer struct{ Differences []Difference }

func (e *TopicsDiffer) Error() string {
	lines := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		lines[i] = d.String()
	}
	return "existing topics differ from what is needed: " + strings.Join(lines, "; ") +
		". Alter them with your Kafka tools, or use another prefix"
}

// EnsureTopics creates the topics that are missing, explicitly and with c's replication, and compares the others: a
// different partition count or named setting, or replication weaker than c states, is a *TopicsDiffer that lists all of
// them. It alters nothing that exists. It returns when every topic is to be seen with leaders, so that a client that starts next
// finds them. Several instances may call it at once.
func EnsureTopics(ctx context.Context, adm *kadm.Client, c config.Kafka, specs []TopicSpec) error {
	if len(specs) == 0 {
		return nil
	}
	byName := make(map[string]TopicSpec, len(specs))
	for _, s := range specs {
		if _, ok := byName[s.Name]; ok {
			return fmt.Errorf("topic %q is asked for twice", s.Name)
		}
		byName[s.Name] = s
	}
	names := slices.Sorted(maps.Keys(byName))
	existing, brokers, err := describe(ctx, adm, names)
	if err != nil {
		return err
	}
	created, err := createMissing(ctx, adm, replicationOf(c, brokers), names, byName, existing)
	if err != nil {
		return err
	}
	if created {
		if existing, err = awaitLeaders(ctx, adm, names, byName); err != nil {
			return err
		}
	}
	// Not with the defaults: a cluster that has grown since would be refused its own topics.
	return compare(ctx, adm, replication{factor: c.ReplicationFactor, minInsync: c.MinInsyncReplicas}, names, byName, existing)
}

// replication is how often a topic's records are kept, and by how many brokers before they are acknowledged.
type replication struct{ factor, minInsync int }

// replicationOf is what the definition asks for, with the defaults for a cluster of so many brokers filled in.
func replicationOf(c config.Kafka, brokers int) replication {
	r := replication{factor: c.ReplicationFactor, minInsync: c.MinInsyncReplicas}
	if r.factor <= 0 {
		r.factor = max(1, min(3, brokers))
	}
	if r.minInsync <= 0 {
		r.minInsync = min(2, r.factor)
	}
	return r
}

// createMissing reports whether any topic was missing.
func createMissing(ctx context.Context, adm *kadm.Client, r replication, names []string, specs map[string]TopicSpec, existing kadm.TopicDetails) (bool, error) {
	created := false
	for _, name := range names {
		d := existing[name]
		if d.Err == nil && len(d.Partitions) > 0 {
			continue
		}
		if r.minInsync > r.factor {
			return false, fmt.Errorf("create topic %q: kafka.min_insync_replicas asks for %d copies, and the replication factor is %d; are there too few brokers?", name, r.minInsync, r.factor)
		}
		created = true
		s := specs[name]
		settings := map[string]*string{"min.insync.replicas": kadm.StringPtr(strconv.Itoa(r.minInsync))}
		for k, v := range s.Config {
			settings[k] = kadm.StringPtr(v)
		}
		resp, err := adm.CreateTopic(ctx, s.Partitions, int16(r.factor), settings, name)
		switch {
		case err == nil, errors.Is(err, kerr.TopicAlreadyExists): // another instance was quicker: it is compared
		case errors.Is(err, kerr.InvalidReplicationFactor):
			return false, fmt.Errorf("create topic %q with replication factor %d: %w; are there that many brokers (kafka.replication_factor)?", name, r.factor, err)
		default:
			return false, fmt.Errorf("create topic %q (%d partitions): %w%s", name, s.Partitions, err, detail(resp.ErrMessage))
		}
	}
	return created, nil
}

func detail(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

// awaitLeaders waits until the brokers show every topic with a leader for each partition.
func awaitLeaders(ctx context.Context, adm *kadm.Client, names []string, specs map[string]TopicSpec) (kadm.TopicDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		details, _, err := describe(ctx, adm, names)
		if err != nil {
			return nil, err
		}
		late := slices.IndexFunc(names, func(n string) bool { return !hasLeaders(details[n]) })
		if late < 0 {
			return details, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("topic %q (%d partitions) was created but has no leaders yet: %w", names[late], specs[names[late]].Partitions, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func hasLeaders(d kadm.TopicDetail) bool {
	if d.Err != nil || len(d.Partitions) == 0 {
		return false
	}
	for _, p := range d.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

func compare(ctx context.Context, adm *kadm.Client, r replication, names []string, specs map[string]TopicSpec, existing kadm.TopicDetails) error {
	settings, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return fmt.Errorf("describe topic settings: %w", err)
	}
	have := make(map[string]map[string]string, len(names))
	for _, rc := range settings {
		if rc.Err != nil {
			return fmt.Errorf("describe settings of topic %q: %w%s", rc.Name, rc.Err, detail(rc.ErrMessage))
		}
		m := make(map[string]string, len(rc.Configs))
		for _, c := range rc.Configs {
			m[c.Key] = c.MaybeValue()
		}
		have[rc.Name] = m
	}
	var diffs []Difference
	for _, name := range names {
		diffs = append(diffs, differences(specs[name], r, existing[name], have[name])...)
	}
	if len(diffs) > 0 {
		return &TopicsDiffer{Differences: diffs}
	}
	return nil
}

// differences compares one topic. Replication may be stronger than asked for: an operator who raised it did no harm.
func differences(s TopicSpec, r replication, d kadm.TopicDetail, have map[string]string) []Difference {
	var diffs []Difference
	differ := func(setting, have, want string) {
		diffs = append(diffs, Difference{Topic: s.Name, Setting: setting, Have: have, Want: want})
	}
	if n := len(d.Partitions); int32(n) != s.Partitions {
		differ("partitions", strconv.Itoa(n), strconv.Itoa(int(s.Partitions)))
	}
	if n := d.Partitions.NumReplicas(); n < r.factor {
		differ("replication factor", strconv.Itoa(n), fmt.Sprintf("at least %d", r.factor))
	}
	if _, ok := s.Config["min.insync.replicas"]; !ok {
		if n, err := strconv.Atoi(have["min.insync.replicas"]); err == nil && n < r.minInsync {
			differ("min.insync.replicas", strconv.Itoa(n), fmt.Sprintf("at least %d", r.minInsync))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Config)) {
		if got, ok := have[k]; !ok {
			differ(k, "unset", s.Config[k])
		} else if !sameSetting(got, s.Config[k]) {
			differ(k, got, s.Config[k])
		}
	}
	return diffs
}

// sameSetting compares two values; a list ("compact,delete") is the same in any order.
func sameSetting(a, b string) bool {
	return a == b || slices.Equal(listOf(a), listOf(b))
}

func listOf(v string) []string {
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	slices.Sort(parts)
	return parts
}

// DescribeTopic returns what the cluster says of a topic, or ErrNoTopic. It waits for one that is there and cannot be described yet.
func DescribeTopic(ctx context.Context, adm *kadm.Client, name string) (Topic, error) {
	for left, wait := leaderPatience, 10*time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		details, _, err := describe(ctx, adm, []string{name})
		if err != nil {
			return Topic{}, err
		}
		d := details[name]
		switch {
		case errors.Is(d.Err, kerr.LeaderNotAvailable): // not that there is no such topic
			if left -= wait; left < 0 {
				return Topic{}, fmt.Errorf("describe topic %q: %w", name, d.Err)
			}
		case d.Err != nil || len(d.Partitions) == 0:
			return Topic{}, fmt.Errorf("topic %q: %w", name, ErrNoTopic)
		default:
			return Topic{Name: name, ID: d.ID, Partitions: int32(len(d.Partitions)), Replicas: d.Partitions.NumReplicas()}, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Topic{}, fmt.Errorf("describe topic %q: %w", name, ctx.Err())
		}
	}
}

// leaderPatience is how long a topic is waited for that has no leaders.
const leaderPatience = 30 * time.Second

// describe returns what the cluster says of the topics and the number of its brokers. A topic that does not exist is
// absent or has ErrNoTopic's cause in Err; any other error of a topic is returned.
func describe(ctx context.Context, adm *kadm.Client, names []string) (kadm.TopicDetails, int, error) {
	// A metadata request with authorized operations is the kind that the client does not answer from its cache, which
	// may show a topic's former self for some seconds.
	m, err := adm.Metadata(kadm.WithAuthorizedOps(ctx), names...)
	if err != nil {
		return nil, 0, fmt.Errorf("describe topics: %w", err)
	}
	for name, d := range m.Topics {
		if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) && !errors.Is(d.Err, kerr.LeaderNotAvailable) {
			return nil, 0, fmt.Errorf("describe topic %q: %w", name, d.Err)
		}
	}
	return m.Topics, len(m.Brokers), nil
}
