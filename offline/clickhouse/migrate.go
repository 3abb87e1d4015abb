package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// dbColumn is a column as the database has it.
type dbColumn struct{ name, typ, comment string }

// Difference is a column, the sorting or the engine of a table that is not what the definition asks for and that cannot be changed
// without losing something. It is an offline.ErrDiffers.
type Difference struct {
	Table, Column string // no column: the sorting, or the engine
	Engine        bool
	Have, Want    string
}

// Is implements the matching of errors.
func (d *Difference) Is(target error) bool { return target == offline.ErrDiffers }

func (d *Difference) Error() string {
	if d.Engine {
		return fmt.Sprintf("clickhouse: table %s is a %s, the definition asks for a %s (connections.clickhouse.cluster): a table moves to a cluster, or from "+
			"one, by hand; give the connection another database, and fill it anew", d.Table, d.Have, d.Want)
	}
	if d.Column == "" {
		return fmt.Sprintf("clickhouse: table %s is sorted by (%s), the definition asks for (%s); give the source or view another name, or drop the table",
			d.Table, d.Have, d.Want)
	}
	return fmt.Sprintf("clickhouse: column %s of table %s is %s, the definition asks for %s; give the field another name, or drop the column",
		d.Column, d.Table, d.Have, d.Want)
}

// Prepare implements tables.
func (s *database) Prepare(ctx context.Context, t *offline.Table) error {
	steps, err := s.Plan(ctx, t)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := s.alter(ctx, step); err != nil {
			return fmt.Errorf("clickhouse: %s: %w", firstLine(step), err)
		}
		s.Logger.Info("changed clickhouse", "table", t.Name, "statement", firstLine(step))
	}
	_, err = s.load(ctx, t)
	return err
}

// Plan implements tables.
func (s *database) Plan(ctx context.Context, t *offline.Table) ([]string, error) {
	var steps []string
	n := s.names(t)
	if known, err := s.exists(ctx); err != nil {
		return nil, err
	} else if !known {
		steps = append(steps, "CREATE DATABASE IF NOT EXISTS "+identifier(n.database)+layoutOf(s.conn).onCluster())
	}
	have, err := s.describe(ctx, n)
	if err != nil {
		return nil, err
	}
	more, err := s.planTable(t, n, have)
	return append(steps, more...), err
}

// planTable compares what a table consists of.
func (s *database) planTable(t *offline.Table, n names, have *described) ([]string, error) {
	steps, want, err := s.planRows(t, n, have)
	if err != nil {
		return nil, err
	}
	if len(have.columns[n.ranges]) == 0 {
		steps = append(steps, layoutOf(s.conn).createRanges(n))
	}
	if s.conn.Cluster != "" {
		steps = append(steps, s.planAll(t, n, have.columns[n.all], want)...)
	}
	if !slices.Equal(have.columns[n.view], want) {
		steps = append(steps, layoutOf(s.conn).createView(t, n, want))
	}
	if len(t.Same) > 0 && !slices.Equal(have.columns[n.latest], want) {
		steps = append(steps, layoutOf(s.conn).createLatest(t, n, want))
	}
	return steps, nil
}

// planRows compares the storage table; want is the columns that it will have.
func (s *database) planRows(t *offline.Table, n names, db *described) (steps []string, want []dbColumn, err error) {
	l := layoutOf(s.conn)
	asked, have := fields(t), db.columns[n.rows]
	if len(have) == 0 {
		for _, f := range asked {
			want = append(want, dbColumn{f.name, f.typeName(), f.comment})
		}
		return []string{l.createRows(t, n)}, want, nil
	}
	columns, _ := sortColumns(t)
	if wantSorting := strings.Join(columns, ", "); strings.ReplaceAll(db.sorting, "`", "") != wantSorting {
		return nil, nil, &Difference{Table: n.rows, Have: db.sorting, Want: wantSorting}
	}
	if engine := l.engine(); db.engine != engine {
		return nil, nil, &Difference{Table: n.rows, Engine: true, Have: db.engine, Want: engine}
	}
	alter := "ALTER TABLE " + n.qualified(n.rows) + l.onCluster() + " "
	after := ""
	for i := range asked {
		f := &asked[i]
		at := slices.IndexFunc(have, func(c dbColumn) bool { return c.name == f.name })
		col := dbColumn{f.name, f.typeName(), f.comment}
		if at < 0 {
			steps = append(steps, alter+"ADD COLUMN IF NOT EXISTS "+f.definition()+after)
		} else {
			if col.typ, err = widen(f, have[at].typ); err != nil {
				return nil, nil, &Difference{Table: n.rows, Column: f.name, Have: have[at].typ, Want: f.typeName()}
			}
			if col.typ != have[at].typ {
				steps = append(steps, alter+"MODIFY COLUMN "+identifier(f.name)+" "+col.typ)
			}
			if col.comment != have[at].comment {
				steps = append(steps, alter+"COMMENT COLUMN "+identifier(f.name)+" "+literal(col.comment))
			}
		}
		want = append(want, col)
		after = " AFTER " + identifier(f.name)
	}
	for _, c := range have {
		if slices.ContainsFunc(asked, func(f field) bool { return f.name == c.name }) {
			continue
		}
		if s.AllowDrop {
			steps = append(steps, alter+"DROP COLUMN IF EXISTS "+identifier(c.name))
		} else {
			want = append(want, c)
		}
	}
	return append(steps, l.planTTL(n, db)...), want, nil
}

// planTTL has the rows live as long as the definition says. What an older, shorter TTL may have removed is gone: it is not counted
// as whole any more, however long rows live now.
func (l layout) planTTL(n names, db *described) (steps []string) {
	if db.ttl == l.ttl || l.ttl == 0 && db.ttl < 0 {
		return nil
	}
	if gone := db.ttl; gone > 0 && (l.ttl == 0 || l.ttl > gone) && len(db.columns[n.ranges]) > 0 {
		steps = append(steps, "ALTER TABLE "+n.qualified(n.ranges)+l.onCluster()+
			fmt.Sprintf(" DELETE WHERE _oldest < toUnixTimestamp64Micro(now64(6)) - %d SETTINGS mutations_sync = 2", gone.Microseconds()))
	}
	alter := "ALTER TABLE " + n.qualified(n.rows) + l.onCluster()
	if l.ttl == 0 {
		return append(steps, alter+" REMOVE TTL")
	}
	return append(steps, alter+" MODIFY TTL "+l.ttlExpression())
}

// widen returns the type that a column of type have gets so that it holds f: have itself, or have with null.
func widen(f *field, have string) (string, error) {
	if have == f.typeName() {
		return have, nil
	}
	if f.form.elem == feature.Null { // of the meta columns
		return "", fmt.Errorf("type %s", have)
	}
	t := f.form.elem
	if f.form.list {
		t = feature.ListOf(t)
	}
	is, ok := parseForm(t, have)
	if !ok {
		return "", fmt.Errorf("type %s", have)
	}
	is.nullable = is.nullable || f.form.nullable
	return is.typeName(), nil
}

// planAll has the distributed table follow the storage. It holds nothing, so it is made anew.
func (s *database) planAll(t *offline.Table, n names, have, want []dbColumn) []string {
	same := len(have) == len(want) && !slices.ContainsFunc(want, func(c dbColumn) bool {
		return !slices.ContainsFunc(have, func(h dbColumn) bool { return h.name == c.name && h.typ == c.typ })
	})
	l := layoutOf(s.conn)
	switch {
	case same:
		return nil
	case len(have) == 0:
		return []string{l.createAll(t, n)}
	}
	return []string{"DROP TABLE IF EXISTS " + n.qualified(n.all) + l.onCluster(), l.createAll(t, n)}
}

// firstLine shortens a statement for a message.
func firstLine(sql string) string {
	line, _, _ := strings.Cut(sql, "\n")
	return line
}

func (s *database) alter(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	return s.server.do(ctx, &query{sql: sql})
}

// exists reports whether there is the database.
func (s *database) exists(ctx context.Context) (bool, error) {
	found := false
	err := ask(ctx, s.server, &query{
		sql:    "SELECT name FROM system.databases WHERE name = {database:String}",
		params: []param{stringParam("database", s.addr.database)},
		result: discard(),
		block: func() error {
			found = true
			return nil
		},
	})
	if err != nil {
		return false, fmt.Errorf("clickhouse: look for the database: %w", err)
	}
	return found, nil
}

// described is what the database has of a table.
type described struct {
	columns         map[string][]dbColumn // by the name of what the table consists of
	sorting, engine string                // of the storage; empty if there is none
	ttl             time.Duration         // of the storage; 0: none, below 0: one that is not Freshet's
}

// describe looks at what a table consists of.
func (s *database) describe(ctx context.Context, n names) (*described, error) {
	var table, name, typ, comment proto.ColStr
	d := &described{columns: map[string][]dbColumn{}}
	err := ask(ctx, s.server, &query{
		sql: "SELECT table, name, type, comment FROM system.columns WHERE database = {database:String} AND has({tables:Array(String)}, table) ORDER BY table, position",
		params: []param{
			stringParam("database", n.database), stringsParam("tables", []string{n.rows, n.ranges, n.all, n.view, n.latest}),
		},
		result: proto.Results{{Name: "table", Data: &table}, {Name: "name", Data: &name}, {Name: "type", Data: &typ}, {Name: "comment", Data: &comment}},
		block: func() error {
			for i := range table.Rows() {
				d.columns[table.Row(i)] = append(d.columns[table.Row(i)], dbColumn{name.Row(i), typ.Row(i), comment.Row(i)})
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: read the columns of %s: %w", n.view, err)
	}
	var key, engine, full proto.ColStr
	err = ask(ctx, s.server, &query{
		sql:    "SELECT sorting_key, engine, engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
		params: []param{stringParam("database", n.database), stringParam("table", n.rows)},
		result: proto.Results{{Name: "sorting_key", Data: &key}, {Name: "engine", Data: &engine}, {Name: "engine_full", Data: &full}},
		block: func() error {
			d.sorting, d.engine, d.ttl = key.First(), engine.First(), parseTTL(full.First())
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: read the engine of %s: %w", n.rows, err)
	}
	return d, nil
}

// parseTTL reads how long rows live from a table's full engine.
func parseTTL(engine string) time.Duration {
	_, tail, found := strings.Cut(engine, " TTL ")
	if !found {
		return 0
	}
	ours := ttlSeconds.FindStringSubmatch(tail)
	if ours == nil {
		return -1
	}
	n, err := strconv.ParseInt(ours[1], 10, 32)
	if err != nil {
		return -1
	}
	return time.Duration(n) * time.Second
}

// ttlSeconds finds the seconds in what ttlExpression writes, however the server formats it.
var ttlSeconds = regexp.MustCompile(`^toDateTime\(least\(.*toIntervalSecond\((\d+)\)`)

// load asks for the columns of the storage table, and remembers them.
func (s *database) load(ctx context.Context, t *offline.Table) ([]dbColumn, error) {
	n := s.names(t)
	have, err := s.describe(ctx, n)
	if err != nil {
		return nil, err
	}
	if len(have.columns[n.rows]) == 0 {
		return nil, fmt.Errorf("clickhouse: there is no table %s.%s; freshet apply, or a process with the role offline, creates it", n.database, n.rows)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.forms[t.Name] = have.columns[n.rows]
	return have.columns[n.rows], nil
}

// columnsOf returns the columns of the storage table, from memory if they are known. A writer may go by what it remembers: the server
// takes a column that is not null for one that may be.
func (s *database) columnsOf(ctx context.Context, t *offline.Table) ([]dbColumn, error) {
	s.mu.Lock()
	known := s.mu.forms[t.Name]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	return s.load(ctx, t)
}

// discard takes a result whose values are not looked at: one column of any type.
func discard() proto.Results { return proto.Results{proto.AutoResult("")} }
