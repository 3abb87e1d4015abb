package clickhouse

import (
	"fmt"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// field is a column of a storage table as the definition asks for it.
type field struct {
	name    string
	form    form
	codec   string
	comment string
}

// fields lists the columns of a table: its own, then those that every table has.
func fields(t *offline.Table) []field {
	key := map[int]bool{}
	for _, k := range t.Key {
		key[k] = true
	}
	out := make([]field, 0, len(t.Columns)+7)
	for i, c := range t.Columns {
		f := field{name: c.Name, comment: c.Description, form: form{elem: c.Type.Elem(), list: c.Type.IsList(), nullable: c.Nullable && !c.Type.IsList()}}
		// Text that is no key and no id repeats itself; a part's dictionary makes it small and its comparisons quick. Where a
		// string does not repeat, the server stores what exceeds the dictionary as it is.
		f.form.low = f.form.elem == feature.String && !f.form.list && !key[i] && !t.Unique(i)
		f.codec = "ZSTD(1)"
		if f.form.elem == feature.Timestamp && !f.form.list {
			f.codec = "Delta(8), ZSTD(1)"
		}
		out = append(out, f)
	}
	return append(out, metaFields()...)
}

// metaFields lists the columns that every table has, in the order in which rows are written and read.
func metaFields() []field {
	time, flag, text := form{elem: feature.Timestamp}, form{elem: feature.Bool}, form{elem: feature.String, low: true}
	return []field{
		{offline.EventTime, time, "Delta(8), ZSTD(1)", "when the event happened, UTC"},
		{offline.ArrivedAt, time, "Delta(8), ZSTD(1)", "when it arrived: the time stamp of its Kafka record"},
		{offline.Deleted, flag, "ZSTD(1)", "true: the record deletes its entity, and only the key is set"},
		{offline.Ordinal, form{}, "ZSTD(1)", "0: loaded from files; 1: from Kafka. Order within an entity is (_event_time, _ordinal, _partition, _offset)"},
		{offline.Topic, text, "ZSTD(1)", "the Kafka topic, or backfill/NAME"},
		{offline.Partition, form{}, "ZSTD(1)", "the topic's partition, or the number of the file"},
		{offline.Offset, form{}, "Delta(8), ZSTD(1)", "the record's offset, or the row of the file"},
	}
}

// typeName of a field; three of the meta columns have types of their own.
func (f *field) typeName() string {
	switch f.name {
	case offline.Ordinal:
		return "UInt8"
	case offline.Partition:
		return "Int32"
	case offline.Offset:
		return "Int64"
	}
	return f.form.typeName()
}

func (f *field) definition() string {
	text := identifier(f.name) + " " + f.typeName()
	if f.comment != "" {
		text += " COMMENT " + literal(f.comment)
	}
	return text + " CODEC(" + f.codec + ")"
}

// names of what a table consists of.
type names struct{ database, rows, ranges, all, view, latest string }

func (s *database) names(t *offline.Table) names {
	n := names{database: s.addr.database, rows: t.Name + "_rows", ranges: t.Name + rangesSuffix, view: t.Name, latest: t.Name + offline.LatestSuffix}
	n.all = n.rows
	if s.conn.Cluster != "" {
		n.all = t.Name + "_all"
	}
	return n
}

func (n names) qualified(table string) string {
	return identifier(n.database) + "." + identifier(table)
}

// layout writes the DDL of one store.
type layout struct {
	cluster string
	ttl     time.Duration
}

// engine of the storage.
func (l layout) engine() string {
	if l.cluster != "" {
		return "ReplicatedReplacingMergeTree"
	}
	return "ReplacingMergeTree"
}

// onCluster has a statement run on every node.
func (l layout) onCluster() string {
	if l.cluster == "" {
		return ""
	}
	return " ON CLUSTER " + identifier(l.cluster)
}

// sortColumns is what rows are sorted by and what makes two rows the same record. primary of them are in the index.
func sortColumns(t *offline.Table) (columns []string, primary int) {
	for _, k := range t.Key {
		columns = append(columns, t.Columns[k].Name)
	}
	columns = append(columns, offline.EventTime, offline.Topic, offline.Partition, offline.Offset)
	return columns, len(t.Key) + 1
}

// createRows creates the storage table. Rows of one record are in one partition, because they have one event time.
func (l layout) createRows(t *offline.Table, n names) string {
	defs := make([]string, 0, len(t.Columns)+7)
	for _, f := range fields(t) {
		defs = append(defs, "    "+f.definition())
	}
	sorted, primary := sortColumns(t)
	// A table that is not replicated does not recognise inserts that come again (non_replicated_deduplication_window is 0, its
	// default): the server would write an insert's token down before its rows, so that one killed in between had only the
	// token, and drop the retry. Rows that are there twice are merged.
	engine := l.engine()
	if l.cluster != "" {
		engine += "(" + literal("/clickhouse/tables/{shard}/"+n.database+"/"+n.rows) + ", '{replica}')"
	}
	return "CREATE TABLE IF NOT EXISTS " + n.qualified(n.rows) + l.onCluster() + "\n(\n" + strings.Join(defs, ",\n") + "\n)\nENGINE = " + engine +
		"\nPARTITION BY toYYYYMM(" + identifier(offline.EventTime) + ")" +
		"\nPRIMARY KEY (" + identifiers(sorted[:primary]) + ")" +
		"\nORDER BY (" + identifiers(sorted) + ")" + l.ttlClause() +
		"\nCOMMENT " + literal("Storage of "+n.view+": a row may be here twice for a while. Read "+n.view+".")
}

// ttlClause bounds the time: beyond 2105 a DateTime would start anew.
func (l layout) ttlClause() string {
	if l.ttl == 0 {
		return ""
	}
	return "\nTTL " + l.ttlExpression()
}

func (l layout) ttlExpression() string {
	return fmt.Sprintf("toDateTime(least(%s, toDateTime64('2100-01-01 00:00:00', 6, 'UTC'))) + toIntervalSecond(%d)",
		identifier(offline.EventTime), int64(l.ttl/time.Second))
}

// createAll creates the table over all shards. A record's place is a function of its key, so that a retry finds the shard
// that has it and an entity is on one.
func (l layout) createAll(t *offline.Table, n names) string {
	shardBy := []string{offline.Topic, offline.Partition, offline.Offset}
	if len(t.Key) > 0 {
		shardBy = nil
		for _, k := range t.Key {
			shardBy = append(shardBy, t.Columns[k].Name)
		}
	}
	return "CREATE TABLE IF NOT EXISTS " + n.qualified(n.all) + l.onCluster() + " AS " + n.qualified(n.rows) +
		"\nENGINE = Distributed(" + identifier(l.cluster) + ", " + identifier(n.database) + ", " + identifier(n.rows) +
		", cityHash64(" + identifiers(shardBy) + "))"
}

// createView creates what people read, with the columns that the storage has. Records never share a row's sort columns
// across partitions, so each partition is deduplicated by itself.
func (l layout) createView(t *offline.Table, n names, columns []dbColumn) string {
	return l.viewOf(n.qualified(n.view), columns) + "\nFROM " + n.qualified(n.all) + " FINAL\nSETTINGS do_not_merge_across_partitions_select_final = 1" +
		"\nCOMMENT " + literal(viewComment(t))
}

// createLatest creates the view of the rows that hold, of a table whose rows are revised.
func (l layout) createLatest(t *offline.Table, n names, columns []dbColumn) string {
	same := []string{offline.EventTime}
	for _, c := range t.Same {
		same = append(same, t.Columns[c].Name)
	}
	return l.viewOf(n.qualified(n.latest), columns) + "\nFROM " + n.qualified(n.view) +
		"\nORDER BY " + identifier(t.Columns[t.Revision].Name) + " DESC LIMIT 1 BY " + identifiers(same) + "\nCOMMENT " + literal(t.LatestAbout())
}

// viewOf is the beginning of a view that has these columns of what follows.
func (l layout) viewOf(name string, columns []dbColumn) string {
	heads, names := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		heads[i] = "    " + identifier(c.name) + " " + c.typ
		if c.comment != "" {
			heads[i] += " COMMENT " + literal(c.comment)
		}
		names[i] = c.name
	}
	return "CREATE OR REPLACE VIEW " + name + l.onCluster() + "\n(\n" + strings.Join(heads, ",\n") + "\n)\nAS SELECT " + identifiers(names)
}

func viewComment(t *offline.Table) string {
	if t.About != "" {
		return t.About
	}
	text := "Events of the source " + t.Source.Name + ", one row a record"
	description := t.Source.Description
	if t.View != nil {
		text = "Features of the view " + t.View.Name + " as they were computed, one row an accepted event"
		description = t.View.Description
	}
	if description != "" {
		text += ": " + description
	}
	return text
}

func layoutOf(c config.ClickHouse) layout { return layout{cluster: c.Cluster, ttl: c.TTL} }
