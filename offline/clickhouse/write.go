package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// maxMonths is how many monthly partitions one insert may fill. A server refuses more than 100 by default; each becomes a
// part.
const maxMonths = 50

// Write implements tables. That a range is there once however often it is written is the work of three: the insert carries a token
// made of the range, and a server that has seen it drops the rows. What it has forgotten, or has only in part, the storage
// table's engine and the view make one again. Then the range is written down as one that the table has whole.
func (s *database) Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error {
	if b.Len() == 0 {
		return s.record(ctx, t, r, b)
	}
	have, err := s.columnsOf(ctx, t)
	if err != nil {
		return err
	}
	blk, err := newBlock(t, have)
	if err != nil {
		return err
	}
	token := fmt.Sprintf("%s:%s/%d/%d-%d", t.Name, r.Topic, r.Partition, r.First, r.End)
	rows := make([]int, 0, b.Len())
	for _, p := range split(b) {
		rows = rows[:0]
		for i := range b.Meta {
			if p.month == 0 || month(b.Meta[i].Time) == p.month {
				rows = append(rows, i)
			}
		}
		blk.fill(b, rows)
		partToken := token
		if p.month != 0 {
			partToken += "/" + strconv.Itoa(p.month)
		}
		if err := s.insert(ctx, t, blk, partToken); err != nil {
			return fmt.Errorf("clickhouse: insert %s: %w", r, err)
		}
	}
	return s.record(ctx, t, r, b)
}

// portion is the rows of one insert: those of a month, or, month 0, all.
type portion struct{ month int }

// split tells how a batch is inserted. It depends on the rows alone, so that a retry splits alike.
func split(b *offline.Batch) []portion {
	months := map[int]bool{}
	last := 0
	for i := range b.Meta {
		if m := month(b.Meta[i].Time); m != last {
			months[m], last = true, m
		}
	}
	if len(months) <= maxMonths {
		return []portion{{}}
	}
	out := make([]portion, 0, len(months))
	for m := range months {
		out = append(out, portion{m})
	}
	slices.SortFunc(out, func(a, b portion) int { return a.month - b.month })
	return out
}

// month returns yyyymm.
func month(micros int64) int {
	at := time.UnixMicro(micros).UTC()
	return at.Year()*100 + int(at.Month())
}

func (s *database) insert(ctx context.Context, t *offline.Table, b *block, token string) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	settings := []param{
		{"insert_deduplication_token", token},
		{"insert_deduplicate", "1"},
		{"async_insert", "0"}, // an answer means that the rows are in the table
	}
	if s.conn.Cluster != "" {
		settings = append(settings, param{"insert_distributed_sync", "1"})
	}
	n := s.names(t)
	return s.server.do(ctx, &query{
		sql:   "INSERT INTO " + n.qualified(n.all) + " (" + identifiers(b.names()) + ") VALUES",
		input: b.input, settings: settings,
	})
}

// block is the columns of a table, for inserts and scans. The zero columns of it are not there.
type block struct {
	columns []*column // of the table's own

	time, arrived, deleted, topic *column
	ordinal                       proto.ColUInt8
	partition                     proto.ColInt32
	offset                        proto.ColInt64

	input proto.Input
}

// newBlock returns the columns of the table in the forms that the database has.
func newBlock(t *offline.Table, have []dbColumn) (*block, error) {
	b := &block{}
	for i := range t.Columns {
		c := &t.Columns[i]
		if err := b.add(t, c, have); err != nil {
			return nil, err
		}
	}
	b.addMeta()
	return b, nil
}

func (b *block) add(t *offline.Table, c *offline.Column, have []dbColumn) error {
	at := slices.IndexFunc(have, func(h dbColumn) bool { return h.name == c.Name })
	if at < 0 {
		return fmt.Errorf("clickhouse: table %s_rows has no column %s; freshet apply, or a process with the role offline, adds it", t.Name, c.Name)
	}
	f, ok := parseForm(c.Type, have[at].typ)
	if !ok {
		return &Difference{Table: t.Name + "_rows", Column: c.Name, Have: have[at].typ, Want: c.Type.String()}
	}
	col := newColumn(c.Name, f)
	b.columns = append(b.columns, col)
	b.input = append(b.input, proto.InputColumn{Name: c.Name, Data: col})
	return nil
}

func (b *block) addMeta() {
	stamp := form{elem: feature.Timestamp}
	b.time, b.arrived = newColumn(offline.EventTime, stamp), newColumn(offline.ArrivedAt, stamp)
	b.deleted = newColumn(offline.Deleted, form{elem: feature.Bool})
	b.topic = newColumn(offline.Topic, form{elem: feature.String, low: true})
	b.input = append(b.input,
		proto.InputColumn{Name: offline.EventTime, Data: b.time},
		proto.InputColumn{Name: offline.ArrivedAt, Data: b.arrived},
		proto.InputColumn{Name: offline.Deleted, Data: b.deleted},
		proto.InputColumn{Name: offline.Ordinal, Data: &b.ordinal},
		proto.InputColumn{Name: offline.Topic, Data: b.topic},
		proto.InputColumn{Name: offline.Partition, Data: &b.partition},
		proto.InputColumn{Name: offline.Offset, Data: &b.offset},
	)
}

func (b *block) names() []string {
	out := make([]string, len(b.input))
	for i, c := range b.input {
		out[i] = c.Name
	}
	return out
}

// fill puts the numbered rows of a batch in the place of what the block had. It aliases them.
func (b *block) fill(batch *offline.Batch, rows []int) {
	b.input.Reset()
	for c, col := range b.columns {
		for _, i := range rows {
			col.append(&batch.Values[i*batch.Width+c])
		}
	}
	for _, i := range rows {
		m := &batch.Meta[i]
		b.time.nums = append(b.time.nums, m.Time)
		b.arrived.nums = append(b.arrived.nums, m.Arrived)
		b.deleted.bools = append(b.deleted.bools, m.Deleted)
		b.ordinal = append(b.ordinal, m.Ordinal)
		b.topic.dict.append(m.Topic, false)
		b.partition = append(b.partition, m.Partition)
		b.offset = append(b.offset, m.Offset)
	}
}

// drain puts the block's rows into a batch, whose values alias the block.
func (b *block) drain(batch *offline.Batch) {
	rows := len(b.offset)
	batch.Reset(len(b.columns))
	batch.Values = slices.Grow(batch.Values, rows*batch.Width)[:rows*batch.Width]
	batch.Meta = slices.Grow(batch.Meta, rows)[:rows]
	for c, col := range b.columns {
		for i := range rows {
			batch.Values[i*batch.Width+c] = col.value(i)
		}
	}
	for i := range rows {
		topic, _ := b.topic.dict.row(i)
		batch.Meta[i] = offline.Meta{
			Time: b.time.nums[i], Arrived: b.arrived.nums[i], Deleted: b.deleted.bools[i], Ordinal: b.ordinal[i],
			Topic: topic, Partition: b.partition[i], Offset: b.offset[i],
		}
	}
}
