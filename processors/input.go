package processors

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
)

// An input is a topic whose partitions are tasks: a source topic keyed as its views' entity is, or a repartition topic.
type input struct {
	topic       string
	changelog   string
	source      *config.Source
	entity      *config.Entity // of a repartition topic; nil for a source topic
	views       []*config.View
	deadLetters string   // where this input's bad records go
	logs        []string // topics of the views' logs
	logMemory   chan *logChunk

	// Set when the topics have been described, before any task is made.
	partitions  int32
	topicID     [16]byte
	sourceID    [16]byte // of the source topic
	changelogID [16]byte
	bound       []boundView // the states of views, in order; changed by the loop only
}

// repartitioned reports whether the input is a topic that the router writes.
func (in *input) repartitioned() bool { return in.entity != nil }

// A route is one repartition topic and the source whose records a router copies there. Each has a group of its own: a
// route that is added later begins at the beginning of the source.
type route struct {
	source *config.Source
	to     *input
	// judges says that this router dead-letters what cannot be decoded, because no materializer reads the source's own
	// topic and it is the source's first route. Each bad record has exactly one reader that does.
	judges bool
}

func (r *route) name() string { return r.source.Name + "." + r.to.entity.Name }

// topology is what a plane means in topics.
type topology struct {
	prefix string
	inputs []*input
	routes []*route
}

// newTopology derives the topics of a plane: views keyed as their source share its topic, the others share one
// repartition topic for each (source, entity).
func newTopology(p *config.Plane) *topology {
	t := &topology{prefix: p.Prefix}
	for _, s := range p.Sources {
		var direct *input
		var routes []*route
		dlq := ingest.DeadLetterTopic(p, s.Name)
		for _, v := range p.Views {
			if v.Source != s {
				continue
			}
			if v.Direct {
				if direct == nil {
					direct = &input{topic: s.Topic, changelog: p.Prefix + "changelog." + s.Name, source: s, deadLetters: dlq}
					t.inputs = append(t.inputs, direct)
				}
				direct.views = append(direct.views, v)
				continue
			}
			i := slices.IndexFunc(routes, func(r *route) bool { return r.to.entity == v.Entity })
			if i < 0 {
				name := s.Name + "." + v.Entity.Name
				in := &input{
					topic: p.Prefix + "repartition." + name, changelog: p.Prefix + "changelog." + name,
					source: s, entity: v.Entity, deadLetters: dlq,
				}
				t.inputs = append(t.inputs, in)
				routes, i = append(routes, &route{source: s, to: in}), len(routes)
			}
			routes[i].to.views = append(routes[i].to.views, v)
		}
		if len(routes) > 0 && direct == nil {
			routes[0].judges = true
		}
		t.routes = append(t.routes, routes...)
	}
	for _, in := range t.inputs {
		in.logMemory = make(chan *logChunk, logChunksKept)
		for _, v := range in.views {
			if p.KeepsLog(v) {
				in.logs = append(in.logs, p.FeatureLog(v).Topic)
			}
		}
	}
	return t
}

// planeTopic holds what has been recorded of each view: its definition and epoch.
func (t *topology) planeTopic() string { return t.prefix + "plane" }

func (t *topology) materializeGroup() string { return t.prefix + "materialize" }
func (t *topology) routeGroup(r *route) string {
	return t.prefix + "route." + r.name()
}

// Dead letters are kept long enough to be looked at and replayed; repartitioned records only until the changelog holds
// what they changed, and those of feature logs until the offline stores have them, which may be away for days.
const (
	weekMillis  = "604800000"
	monthMillis = "2592000000"
)

// internalTopics returns the topics that Freshet itself creates, given the partition count of each source topic.
// Changelogs have their input's partition count; delete.retention.ms is what the staleness rule of a local store
// (half of it) is reckoned from.
func (t *topology) internalTopics(partitions func(topic string) int32) []kafka.TopicSpec {
	compacted := map[string]string{"cleanup.policy": "compact", "delete.retention.ms": weekMillis, "message.timestamp.type": "LogAppendTime"}
	maxBytes := t.maxBatchBytes()
	specs := []kafka.TopicSpec{{Name: t.planeTopic(), Partitions: 1, Config: compacted}, t.eraseSpec()}
	dlqs := map[string]bool{}
	for _, in := range t.inputs {
		n := partitions(in.source.Topic)
		specs = append(specs, kafka.TopicSpec{Name: in.changelog, Partitions: n, Config: compacted})
		if in.repartitioned() {
			specs = append(specs, kafka.TopicSpec{Name: in.topic, Partitions: n, Config: map[string]string{
				"cleanup.policy": "delete", "retention.ms": weekMillis, "message.timestamp.type": "LogAppendTime",
				"max.message.bytes": strconv.Itoa(int(maxBytes[in.topic])),
			}})
		}
		for _, name := range in.logs {
			specs = append(specs, kafka.TopicSpec{Name: name, Partitions: n, Config: map[string]string{
				"cleanup.policy": "delete", "retention.ms": weekMillis, "message.timestamp.type": "LogAppendTime",
				"max.message.bytes": strconv.Itoa(int(maxBytes[name])),
			}})
		}
		if !dlqs[in.deadLetters] {
			dlqs[in.deadLetters] = true
			specs = append(specs, deadLetterSpec(in.deadLetters, n))
		}
	}
	return specs
}

// deadLetterSpec is a topic of dead letters, which has its source's partition count.
func deadLetterSpec(name string, partitions int32) kafka.TopicSpec {
	return kafka.TopicSpec{Name: name, Partitions: partitions, Config: map[string]string{
		"cleanup.policy": "delete", "retention.ms": monthMillis, "message.timestamp.type": "LogAppendTime",
		"max.message.bytes": strconv.Itoa(ingest.MaxLetterBytes),
	}}
}

// defaultBatchBytes is Kafka's default for the largest batch that a topic takes.
const defaultBatchBytes = 1_048_588

// maxBatchBytes returns the largest batch of each topic whose records may be larger than Kafka's default: copies of a
// source's records with their headers, dead letters, which may be larger than the source takes, and feature logs.
func (t *topology) maxBatchBytes() map[string]int32 {
	m := map[string]int32{}
	const headers = 64 << 10
	for _, in := range t.inputs {
		m[in.deadLetters] = ingest.MaxLetterBytes
		for _, name := range in.logs {
			m[name] = config.MaxFeatureLogBytes + headers
		}
		if in.repartitioned() {
			m[in.topic] = int32(max(defaultBatchBytes, in.source.MaxRecordBytes+headers))
		}
	}
	return m
}

// taskName names a task in logs, errors and metrics.
func taskName(topic string, partition int32) string { return fmt.Sprintf("%s[%d]", topic, partition) }
