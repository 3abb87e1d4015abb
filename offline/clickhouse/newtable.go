package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// NewTable is a table that is written once, of whatever columns: a training set. It has another name until it is whole.
type NewTable struct {
	s       *Store
	name    string // in the end
	writing string
	columns []*column
	input   proto.Input
	rows    int
}

// newTableRows is how many rows one insert has.
const newTableRows = 50_000

// CreateTable begins a table that Commit puts under a name, in place of what is there.
func (s *Store) CreateTable(ctx context.Context, name string, columns []offline.Column) (*NewTable, error) {
	if s.conn.Cluster != "" {
		return nil, errors.New("clickhouse: a new table is one server's, and the connection is to a cluster: write a Parquet file, and insert it")
	}
	t := &NewTable{s: s, name: name, writing: name + "_writing_" + strings.ToLower(rand.Text()[:8])}
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
	err := t.s.alter(ctx, "CREATE TABLE "+t.qualified(t.writing)+" ("+strings.Join(ddl, ", ")+") ENGINE = MergeTree ORDER BY tuple()")
	if err != nil {
		return nil, fmt.Errorf("clickhouse: create table %s: %w", name, err)
	}
	return t, nil
}

func (t *NewTable) qualified(name string) string {
	return identifier(t.s.addr.database) + "." + identifier(name)
}

// Write adds a row, with a value for each column. A list that is null is an empty array there. Values are copied.
func (t *NewTable) Write(ctx context.Context, parts ...[]feature.Value) error {
	i := 0
	for _, values := range parts {
		for k := range values {
			t.columns[i].append(&values[k])
			i++
		}
	}
	if t.rows++; t.rows < newTableRows {
		return nil
	}
	return t.flush(ctx)
}

func (t *NewTable) flush(ctx context.Context) error {
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

// Commit puts the table in its place.
func (t *NewTable) Commit(ctx context.Context) error {
	if err := t.flush(ctx); err != nil {
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

// Abort drops what has been written. It does nothing after a Commit that succeeded.
func (t *NewTable) Abort(ctx context.Context) error {
	if err := t.s.alter(ctx, "DROP TABLE IF EXISTS "+t.qualified(t.writing)); err != nil {
		return fmt.Errorf("clickhouse: drop what was written of %s: %w", t.name, err)
	}
	return nil
}
