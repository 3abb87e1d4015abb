package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// Forget implements tables.
func (s *database) Forget(ctx context.Context, t *offline.Table, columns []int, values []feature.Value) (rows int64, err error) {
	n := s.names(t)
	have, err := s.describe(ctx, n)
	if err != nil {
		return 0, err
	}
	var terms []string
	for i, c := range columns {
		if !slices.ContainsFunc(have.columns[n.rows], func(h dbColumn) bool { return h.name == t.Columns[c].Name }) {
			return 0, nil // no table, or one that never had the column
		}
		lit, err := valueLiteral(&values[i])
		if err != nil {
			return 0, fmt.Errorf("clickhouse: forget rows of %s: column %s: %w", t.Name, t.Columns[c].Name, err)
		}
		terms = append(terms, identifier(t.Columns[c].Name)+" = "+lit)
	}
	where := " WHERE " + strings.Join(terms, " AND ")
	var count proto.ColUInt64
	err = s.server.do(ctx, &query{
		sql: "SELECT count() FROM " + n.qualified(n.all) + where, result: proto.Results{{Data: &count}},
		block: func() error {
			rows += int64(count.Row(0))
			return nil
		},
	})
	if err == nil && rows > 0 {
		err = s.server.do(ctx, &query{
			sql:      "ALTER TABLE " + n.qualified(n.rows) + layoutOf(s.conn).onCluster() + " DELETE" + where,
			settings: []param{intParam("mutations_sync", 2)},
		})
	}
	if err != nil {
		return 0, fmt.Errorf("clickhouse: forget rows of %s: %w", t.Name, err)
	}
	return rows, nil
}

// valueLiteral writes a key's value; a mutation keeps its text, so that it has no parameters.
func valueLiteral(v *feature.Value) (string, error) {
	switch v.Type() {
	case feature.String, feature.Bytes:
		return literal(v.Str()), nil
	case feature.Int64:
		return "toInt64(" + strconv.FormatInt(v.Int64(), 10) + ")", nil
	case feature.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case feature.Timestamp:
		return "fromUnixTimestamp64Micro(toInt64(" + strconv.FormatInt(v.Int64(), 10) + "), 'UTC')", nil
	}
	return "", fmt.Errorf("a %s is no key", v.Type())
}
