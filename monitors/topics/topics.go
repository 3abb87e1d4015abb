// Package topics names the Kafka topics of the monitors and says how they are made. What is in their records is said
// where the records are: profiles, state, scores and windows in monitors/watch, joins in monitors/join, baselines in monitors/baseline,
// alerts and silences in monitors/alert, deliveries in monitors/notify.
package topics

import (
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
)

// The names of the topics, after the plane's prefix.
const (
	Profiles   = "monitor.profiles"   // what profilers count, by model
	State      = "monitor.state"      // what evaluators remember, by model; partitioned as Profiles
	Joins      = "monitor.joins"      // inferences and labels of models, by inference id, on their way to be joined
	JoinState  = "monitor.join_state" // what joiners remember, by inference id; partitioned as Joins
	Scores     = config.ScoresTopic   // what windows came to, by model
	Windows    = config.WindowsTopic  // how columns were distributed in judged windows, by model: for the offline stores
	Baselines  = "monitor.baselines"  // compacted, one partition
	Alerts     = "monitor.alerts"     // the history, as CloudEvents, in one partition
	Silences   = "monitor.silences"   // compacted, one partition; the key is the silence's id
	Deliveries = "monitor.deliveries" // compacted, one partition: what channels have been sent
)

// Partitions is how many partitions the topics by model have: as many processes can share the models.
const Partitions = 8

// Name returns the full name of a topic of the plane.
func Name(p *config.Plane, topic string) string { return p.Prefix + topic }

// MaxRecordBytes bounds a record of State, which holds all alerts of a monitor, and of Profiles.
const MaxRecordBytes = 8 << 20

const (
	weekMillis  = "604800000"
	monthMillis = "2592000000"
)

// Specs are the topics that a plane with monitors has.
func Specs(p *config.Plane) []kafka.TopicSpec {
	deleted := func(retention, stamp string) map[string]string {
		return map[string]string{"cleanup.policy": "delete", "retention.ms": retention, "message.timestamp.type": stamp, "max.message.bytes": "8388608"}
	}
	compacted := func() map[string]string {
		return map[string]string{"cleanup.policy": "compact", "delete.retention.ms": weekMillis, "message.timestamp.type": "LogAppendTime", "max.message.bytes": "8388608"}
	}
	return []kafka.TopicSpec{
		{Name: Name(p, Profiles), Partitions: Partitions, Config: deleted(weekMillis, "LogAppendTime")},
		{Name: Name(p, State), Partitions: Partitions, Config: compacted()},
		{Name: Name(p, Joins), Partitions: Partitions, Config: deleted(weekMillis, "LogAppendTime")},
		{Name: Name(p, JoinState), Partitions: Partitions, Config: compacted()},
		{Name: Name(p, Scores), Partitions: Partitions, Config: deleted(monthMillis, "LogAppendTime")},
		{Name: Name(p, Windows), Partitions: Partitions, Config: deleted(weekMillis, "LogAppendTime")},
		{Name: Name(p, Baselines), Partitions: 1, Config: compacted()},
		{Name: Name(p, Alerts), Partitions: 1, Config: deleted("-1", "LogAppendTime")},
		{Name: Name(p, Silences), Partitions: 1, Config: compacted()},
		{Name: Name(p, Deliveries), Partitions: 1, Config: compacted()},
	}
}
