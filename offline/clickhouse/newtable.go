package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// NewTable is a table that is written once, of whatever columns: a training set. It has another name until it is whole.
type NewTable struct{ newTableRows }

// newTableRows is what a NewTable does; newTable does it.
type newTableRows interface {
	// Write adds a row, with a value for each column. A list that is null is an empty array there. Values are copied.
	Write(ctx context.Context, parts ...[]feature.Value) error
	// Commit puts the table in its place.
	Commit(ctx context.Context) error
	// Abort drops what has been written. It does nothing after a Commit that succeeded.
	Abort(ctx context.Context) error
}

// newTable is the rows of a NewTable.
type newTable struct {
	s       *database
	name    string // in the end
	writing string
	columns []*column
	input   proto.Input
	rows    int
}

const (
	newTableInsert = 50_000 // of one insert
	// madeHere begins the comment of every new table: what has another is somebody else's, and never replaced or dropped.
	madeHere = "Made by freshet train"
	// writingSuffix comes between a table's name and a random text while it is written.
	writingSuffix = "_writing_"
)

// ErrNotReplaced is wrapped by the refusal to put a new table in the place of one that is not known to be a new table too.
var ErrNotReplaced = errors.New("there is another table or view of this name, which is not replaced: give the new table another name, or drop the other")

// Names returns the names of what a table of the plane consists of: no other table may have them.
func Names(t *offline.Table) []string {
	return []string{t.Name, t.Name + "_rows", t.Name + "_all", t.Name + rangesSuffix, t.Name + offline.LatestSuffix}
}

// CreateTable implements tables.
func (s *database) CreateTable(ctx context.Context, name string, columns []offline.Column) (*NewTable, error) {
	if s.conn.Cluster != "" {
		return nil, errors.New("clickhouse: a new table is one server's, and the connection is to a cluster: write a Parquet file, and insert it")
	}
	t := &newTable{s: s, name: name, writing: name + writingSuffix + strings.ToLower(rand.Text()[:8])}
	if err := t.permitted(ctx); err != nil {
		return nil, err
	}
	if err := t.clean(ctx); err != nil {
		return nil, err
	}
	var ddl []string
	for _, c := range columns {
		f := form{elem: c.Type.Elem(), list: c.Type.IsList(), nullable: c.Nullable && !c.Type.IsList()}
		col := newColumn(c.Name, f)
		t.columns = append(t.columns, col)
		t.input = append(t.input, proto.InputColumn{Name: c.Name, Data: col})
		line := identifier(c.Name) + " " + f.typeName()
		if c.Description != "" {
			line += " COMMENT " + literal(c.Description)
		}
		ddl = append(ddl, line)
	}
	err := t.s.alter(ctx, "CREATE TABLE "+t.qualified(t.writing)+" ("+strings.Join(ddl, ", ")+") ENGINE = MergeTree ORDER BY tuple()"+
		" COMMENT "+literal(madeHere))
	if err != nil {
		return nil, fmt.Errorf("clickhouse: create table %s: %w", name, err)
	}
	return &NewTable{t}, nil
}

// permitted refuses a name that something has which was not made here.
func (t *newTable) permitted(ctx context.Context) error {
	made, err := t.made(ctx, "name = {table:String}", t.name)
	if err != nil {
		return err
	}
	if here, ok := made[t.name]; ok && !here {
		return fmt.Errorf("clickhouse: table %s: %w", t.name, ErrNotReplaced)
	}
	return nil
}

// clean drops what runs that were killed have left of a table of this name: half a table, or the one that was replaced.
func (t *newTable) clean(ctx context.Context) error {
	left, err := t.made(ctx, "match(name, {table:String})", "^"+regexp.QuoteMeta(t.name+writingSuffix)+"[a-z0-9]{8}(_old)?$")
	if err != nil {
		return err
	}
	for name, here := range left {
		if !here {
			continue
		}
		if err := t.s.alter(ctx, "DROP TABLE IF EXISTS "+t.qualified(name)); err != nil {
			return fmt.Errorf("clickhouse: drop what an earlier run left of %s: %w", t.name, err)
		}
	}
	return nil
}

// made returns the tables of the database of which a condition on the name holds, and whether they were made here.
func (t *newTable) made(ctx context.Context, condition, value string) (map[string]bool, error) {
	out := map[string]bool{}
	var name, comment proto.ColStr
	err := ask(ctx, t.s.server, &query{
		sql:    "SELECT name, comment FROM system.tables WHERE database = {database:String} AND " + condition,
		params: []param{stringParam("database", t.s.addr.database), stringParam("table", value)},
		result: proto.Results{{Name: "name", Data: &name}, {Name: "comment", Data: &comment}},
		block: func() error {
			for i := range name.Rows() {
				out[name.Row(i)] = strings.HasPrefix(comment.Row(i), madeHere)
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: look for tables of the name %s: %w", t.name, err)
	}
	return out, nil
}

func (t *newTable) qualified(name string) string {
	return identifier(t.s.addr.database) + "." + identifier(name)
}

// Write implements newTableRows.
func (t *newTable) Write(ctx context.Context, parts ...[]feature.Value) error {
	i := 0
	for _, values := range parts {
		for k := range values {
			t.columns[i].append(&values[k])
			i++
		}
	}
	if t.rows++; t.rows < newTableInsert {
		return nil
	}
	return t.flush(ctx)
}

func (t *newTable) flush(ctx context.Context) error {
	if t.rows == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	err := t.s.server.do(ctx, &query{
		sql:   "INSERT INTO " + t.qualified(t.writing) + " (" + identifiers(names) + ") VALUES",
		input: t.input, settings: []param{{"async_insert", "0"}},
	})
	t.input.Reset()
	t.rows = 0
	if err != nil {
		return fmt.Errorf("clickhouse: insert into %s: %w", t.name, err)
	}
	return nil
}

// Commit implements newTableRows.
func (t *newTable) Commit(ctx context.Context) error {
	if err := t.flush(ctx); err != nil {
		return err
	}
	if err := t.permitted(ctx); err != nil { // it may have been made meanwhile
		return err
	}
	// What is there under the name goes once the new table has it.
	old := t.writing + "_old"
	if err := t.s.alter(ctx, "RENAME TABLE IF EXISTS "+t.qualified(t.name)+" TO "+t.qualified(old)+", "+t.qualified(t.writing)+" TO "+t.qualified(t.name)); err != nil {
		return fmt.Errorf("clickhouse: rename to %s: %w", t.name, err)
	}
	if err := t.s.alter(ctx, "DROP TABLE IF EXISTS "+t.qualified(old)); err != nil {
		return fmt.Errorf("clickhouse: drop what was %s: %w", t.name, err)
	}
	return nil
}

// Abort implements newTableRows.
func (t *newTable) Abort(ctx context.Context) error {
	if err := t.s.alter(ctx, "DROP TABLE IF EXISTS "+t.qualified(t.writing)); err != nil {
		return fmt.Errorf("clickhouse: drop what was written of %s: %w", t.name, err)
	}
	return nil
}
