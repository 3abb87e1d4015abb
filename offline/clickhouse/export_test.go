package clickhouse

import (
	"context"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
)

func (s *Store) database() *database { return s.tables.(*database) }

// Number runs a statement in the store's database whose answer is one number.
func (s *Store) Number(ctx context.Context, sql string) (n int64, err error) {
	var col proto.ColInt64
	err = s.database().server.do(ctx, &query{
		sql: "SELECT assumeNotNull(toInt64((" + s.inDatabase(sql) + ")))", result: proto.Results{{Data: &col}},
		block: func() error { n = col[0]; return nil },
	})
	return n, err
}

// Exec runs a statement.
func (s *Store) Exec(ctx context.Context, sql string) error {
	return s.database().alter(ctx, s.inDatabase(sql))
}

// inDatabase puts the database before the names of a statement, where it stands for "db.".
func (s *Store) inDatabase(sql string) string {
	return strings.ReplaceAll(sql, "db.", identifier(s.database().addr.database)+".")
}

// DDL is what Prepare runs for a table that is not there.
func DDL(c config.ClickHouse, t *offline.Table) []string {
	s, err := openDatabase(c, Options{})
	if err != nil {
		return []string{err.Error()}
	}
	defer s.Close()
	steps, err := s.planTable(t, s.names(t), &described{}) // of a table that is not there
	if err != nil {
		return []string{err.Error()}
	}
	return steps
}
