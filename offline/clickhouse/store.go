package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// Options are what a Store needs besides its connection.
type Options struct {
	Logger *slog.Logger
	// AllowDrop lets Prepare and Plan drop columns that the definition no longer has. Types are never narrowed.
	AllowDrop bool
}

// Store is a plane's tables in one database. Its methods may be called from several goroutines at a time.
//
// What is behind it is an interface for the compiler's sake: a package that imports this one compiles anew what it can see
// of ch-go's generic columns, and that took each of them ten seconds.
type Store struct{ tables }

// tables is what a Store does; database does it.
type tables interface {
	// Prepare creates the table, or changes it into what the definition asks for: columns are added and made nullable,
	// nothing is dropped or narrowed. A difference that it will not make is a *Difference.
	Prepare(ctx context.Context, t *offline.Table) error

	// Plan returns the statements that Prepare would run, none if the table is as it should be.
	Plan(ctx context.Context, t *offline.Table) ([]string, error)

	// Write inserts the rows of a range, once however often it is called with the same range and rows.
	Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error

	// Resume knows nothing: rows do not tell where a range ended, for refused records have none. The consumer group's commit
	// decides, and the range that it records is written again under the same token.
	Resume(ctx context.Context, t *offline.Table, topic string, partitions []int32) (map[int32]offline.Place, error)

	// Identify returns the id of the topic of which the table has offsets; it is id from now on if none was known.
	Identify(ctx context.Context, t *offline.Table, topic, id string) (string, error)

	// Covered returns for each partition of each topic, and each file of a backfill, the offsets whose records the store has
	// whole, those that were refused among them. What was skipped as a gap is not among them, nor a range of which the TTL may
	// have removed a row.
	Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error)

	// Scan calls fn with batches of rows in any order; see package replay's Scanner. A row may come twice after a retry whose
	// parts have not been merged. Values of a batch alias memory that is used again when fn returns.
	//
	// With q.Parallel above 1 the time is cut into as many pieces of about equal numbers of rows.
	Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error

	// Forget deletes the rows of a table whose columns have every one of the values, and returns how many there were; a table that
	// there is not, or not with these columns, has none. It is a
	// mutation, which rewrites the parts that hold such a row, and returns when every replica has done it. A row that is
	// inserted meanwhile stays.
	Forget(ctx context.Context, t *offline.Table, columns []int, values []feature.Value) (rows int64, err error)

	// CreateTable begins a table that Commit puts under a name, in place of one that was made alike. What an earlier one of the
	// name left that was killed goes: one that is being written at the same time fails.
	CreateTable(ctx context.Context, name string, columns []offline.Column) (*NewTable, error)

	// Ping succeeds when a server answers and accepts the credentials.
	Ping(ctx context.Context) error

	// Close ends the connections. Queries under way fail.
	Close() error
}

// Open reads the connection's definition; the first query connects. The caller must Close the store.
func Open(c config.ClickHouse, o Options) (*Store, error) {
	d, err := openDatabase(c, o)
	if err != nil {
		return nil, err
	}
	return &Store{d}, nil
}

// database is the tables of a Store.
type database struct {
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

func openDatabase(c config.ClickHouse, o Options) (*database, error) {
	addr, err := parseAddress(c)
	if err != nil {
		return nil, err
	}
	s := &database{Options: o, conn: c, addr: addr, server: addr.open()}
	s.mu.forms, s.mu.runs = map[string][]dbColumn{}, map[runKey]run{}
	return s, nil
}

// Close implements tables.
func (s *database) Close() error {
	s.server.close()
	return nil
}

// Ping implements tables.
func (s *database) Ping(ctx context.Context) error {
	if err := ask(ctx, s.server, &query{sql: "SELECT 1", result: discard(), block: func() error { return nil }}); err != nil {
		return fmt.Errorf("clickhouse does not answer: %w", err)
	}
	return nil
}

// Resume implements tables.
func (s *database) Resume(context.Context, *offline.Table, string, []int32) (map[int32]offline.Place, error) {
	return nil, nil
}
