package clickhouse

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/offline"
)

// What a table has whole is written down, in a table NAME_ranges beside the rows, when a range's rows are in. Rows alone do not tell: an
// offset without one may have been refused, skipped as a gap, not been written yet, or have had a row that the TTL removed.
//
// Ranges that this process writes one after the other are one row of it, which a longer one replaces: so there are few. A row knows the
// oldest event of its ranges, so that they are not counted once the TTL has removed it.

const (
	rangesSuffix = "_ranges"
	maxRun       = 256 // ranges in a row: what one old event takes with it
	noEvent      = math.MaxInt64
)

// runKey names what a run is a run of.
type runKey struct {
	table, topic string
	partition    int32
}

// run is ranges that follow each other.
type run struct {
	first, end int64
	oldest     int64 // event time, microseconds; noEvent without rows
	ranges     int
}

// createRanges creates the table of what is whole. On a cluster every node has all of it: a shard does not know what the
// others have.
func (l layout) createRanges(n names) string {
	engine := "ReplacingMergeTree(_end)"
	if l.cluster != "" {
		engine = "ReplicatedReplacingMergeTree(" + literal("/clickhouse/tables/all/"+n.database+"/"+n.ranges) + ", '{shard}-{replica}', _end)"
	}
	return "CREATE TABLE IF NOT EXISTS " + n.qualified(n.ranges) + l.onCluster() + `
(
    _topic LowCardinality(String),
    _partition Int32,
    _first Int64,
    _end Int64,
    _topic_id String COMMENT 'of the one row of a topic whose partition is -1: the topic that the table is filled from',
    _oldest Int64 COMMENT 'event time of the oldest row, microseconds since 1970; the largest number if there is none'
)
ENGINE = ` + engine + `
ORDER BY (_topic, _partition, _first)
COMMENT ` + literal("Which offsets of each partition "+n.view+" has whole: from _first, below the largest _end.")
}

// record writes down that the rows of a range are in.
func (s *database) record(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error {
	key := runKey{t.Name, r.Topic, r.Partition}
	oldest := int64(noEvent)
	for i := range b.Meta {
		oldest = min(oldest, b.Meta[i].Time)
	}
	s.mu.Lock()
	next, ok := s.mu.runs[key]
	s.mu.Unlock()
	if !ok || next.end != r.First || next.ranges >= maxRun {
		next = run{first: r.First, oldest: noEvent}
	}
	next = run{next.first, r.End, min(next.oldest, oldest), next.ranges + 1}
	topic := new(proto.ColStr).LowCardinality()
	topic.Append(r.Topic)
	n := s.names(t)
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	err := s.server.do(ctx, &query{
		sql: "INSERT INTO " + n.qualified(n.ranges) + " (_topic, _partition, _first, _end, _oldest) VALUES",
		input: proto.Input{
			{Name: "_topic", Data: topic},
			{Name: "_partition", Data: proto.ColInt32{r.Partition}},
			{Name: "_first", Data: proto.ColInt64{next.first}},
			{Name: "_end", Data: proto.ColInt64{next.end}},
			{Name: "_oldest", Data: proto.ColInt64{next.oldest}},
		},
		settings: []param{{"async_insert", "0"}},
	})
	if err != nil {
		return fmt.Errorf("clickhouse: write down that %s has %s: %w", t.Name, r, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.runs[key] = next
	return nil
}

// ofTopic is the partition of the row that says which topic a table is filled from.
const ofTopic = -1

// Identify implements tables.
func (s *database) Identify(ctx context.Context, t *offline.Table, topic, id string) (string, error) {
	n := s.names(t)
	filled := ""
	var known proto.ColStr
	err := ask(ctx, s.server, &query{
		sql:    "SELECT min(_topic_id) FROM " + n.qualified(n.ranges) + " WHERE _topic = {topic:String} AND _partition = {of:Int32}",
		params: []param{stringParam("topic", topic), intParam("of", ofTopic)}, result: proto.Results{{Data: &known}},
		block: func() error {
			filled = known.First()
			return nil
		},
	})
	if err != nil || filled != "" {
		return filled, err
	}
	name := new(proto.ColStr).LowCardinality()
	name.Append(topic)
	ids := new(proto.ColStr)
	ids.Append(id)
	err = ask(ctx, s.server, &query{
		sql:      "INSERT INTO " + n.qualified(n.ranges) + " (_topic, _partition, _topic_id) VALUES",
		input:    proto.Input{{Name: "_topic", Data: name}, {Name: "_partition", Data: proto.ColInt32{ofTopic}}, {Name: "_topic_id", Data: ids}},
		settings: []param{{"async_insert", "0"}},
	})
	return id, err
}

// Covered implements tables.
func (s *database) Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error) {
	n := s.names(t)
	have, err := s.describe(ctx, n)
	if err != nil {
		return nil, err
	}
	if len(have.columns[n.ranges]) == 0 {
		return nil, nil
	}
	kept := int64(math.MinInt64)
	if s.conn.TTL > 0 {
		kept = time.Now().Add(-s.conn.TTL).UnixMicro()
	}
	var (
		topic      proto.ColStr
		partition  proto.ColInt32
		first, end proto.ColInt64
		out        []offline.Range
	)
	err = s.server.do(ctx, &query{
		sql: "SELECT CAST(_topic AS String), _partition, _first, max(_end) FROM " + n.qualified(n.ranges) +
			" WHERE _partition >= 0 GROUP BY _topic, _partition, _first HAVING min(_oldest) >= {kept:Int64}",
		params: []param{intParam("kept", kept)},
		result: proto.Results{{Data: &topic}, {Data: &partition}, {Data: &first}, {Data: &end}},
		block: func() error {
			for i := range partition {
				out = append(out, offline.Range{Topic: topic.Row(i), Partition: partition[i], First: first[i], End: end[i]})
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: what %s covers: %w", t.Name, err)
	}
	return offline.Join(out), nil
}
