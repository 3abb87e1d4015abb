package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
)

// Options are what a Store needs besides its connection.
type Options struct {
	Logger *slog.Logger
	// AllowDrop lets Prepare and Plan drop columns that the definition no longer has. Types are never narrowed.
	AllowDrop bool
}

// Store is a plane's tables in one database. Its methods may be called from several goroutines at a time.
type Store struct {
	Options
	conn   config.ClickHouse
	addr   *address
	server transport

	mu struct {
		sync.Mutex
		forms map[string][]dbColumn // the columns of a storage table, once known
		runs  map[runKey]run        // the last that this process wrote down
	}
}

// Open reads the connection's definition; the first query connects. The caller must Close the store.
func Open(c config.ClickHouse, o Options) (*Store, error) {
	addr, err := parseAddress(c)
	if err != nil {
		return nil, err
	}
	s := &Store{Options: o, conn: c, addr: addr, server: addr.open()}
	s.mu.forms, s.mu.runs = map[string][]dbColumn{}, map[runKey]run{}
	return s, nil
}

// Close ends the connections. Queries under way fail.
func (s *Store) Close() error {
	s.server.close()
	return nil
}

// Ping succeeds when a server answers and accepts the credentials.
func (s *Store) Ping(ctx context.Context) error {
	if err := ask(ctx, s.server, &query{sql: "SELECT 1", result: discard(), block: func() error { return nil }}); err != nil {
		return fmt.Errorf("clickhouse does not answer: %w", err)
	}
	return nil
}

// Resume knows nothing: rows do not tell where a range ended, for refused records have none. The consumer group's commit
// decides, and the range that it records is written again under the same token.
func (s *Store) Resume(context.Context, *offline.Table, string, []int32) (map[int32]offline.Place, error) {
	return nil, nil
}
