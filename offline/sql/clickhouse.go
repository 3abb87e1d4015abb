package sql

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
)

// OpenClickHouse connects to a plane's ClickHouse, for queries that change nothing: the server refuses others. No error shows
// the URL, which may hold a password.
func OpenClickHouse(c config.ClickHouse) (*sql.DB, error) {
	dsn := string(c.URL)
	secure := strings.HasPrefix(dsn, "clickhouses://")
	if secure {
		dsn = "clickhouse://" + strings.TrimPrefix(dsn, "clickhouses://")
	}
	o, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("connections.clickhouse.url cannot be read")
	}
	if secure || strings.HasPrefix(dsn, "https://") {
		tls := config.TLS{}
		if c.TLS != nil {
			tls = *c.TLS
		}
		if o.TLS, err = security.ClientTLS(tls); err != nil {
			return nil, fmt.Errorf("connections.clickhouse.tls: %w", err)
		}
	}
	if o.Settings == nil {
		o.Settings = clickhouse.Settings{}
	}
	o.Settings["readonly"] = 2 // reads, and settings of the query
	return clickhouse.OpenDB(o), nil
}
