package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
)

// tableOutput writes a table of ClickHouse. The manifest is a file in a folder.
type tableOutput struct {
	store *clickhouse.Store
	name  string
	dir   string
	ctx   context.Context // of Begin: rows come without one
	table *clickhouse.NewTable
	spine []SpineColumn
	row   []feature.Value
}

// NewTable returns the output that is a table in a database, in place of an earlier training set of its name and of nothing
// else. Its manifest is written to the folder dir, as TABLE.manifest.json.
func NewTable(p *config.Plane, c config.ClickHouse, name, dir string) (Output, error) {
	if name == "" || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("%q is no name for the table of a training set", name)
	}
	for _, t := range offline.Tables(p) {
		if slices.Contains(clickhouse.Names(t), name) {
			return nil, fmt.Errorf("table %s is the plane's own, of %s: give the training set another name", name, t.Name)
		}
	}
	s, err := clickhouse.Open(c, clickhouse.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &tableOutput{store: s, name: name, dir: dir}, nil
}

// Text implements Output.
func (o *tableOutput) Text() bool { return false }

// Begin implements Output.
func (o *tableOutput) Begin(ctx context.Context, spine []SpineColumn, features []offline.Column) error {
	var cols []offline.Column
	for i := range spine {
		c := &spine[i]
		if !c.Plain() {
			return fmt.Errorf("column %q of the spine is %s, which a table does not keep: write Parquet, or cast it", c.Name, c.Node.Type())
		}
		cols = append(cols, offline.Column{Name: c.Name, Type: c.Type, Nullable: true})
	}
	o.ctx, o.spine, o.row = ctx, spine, make([]feature.Value, len(spine))
	var err error
	o.table, err = o.store.CreateTable(ctx, o.name, append(cols, features...))
	return err
}

// Write implements Output. Times become microseconds.
func (o *tableOutput) Write(spine, features []feature.Value) error {
	copy(o.row, spine)
	for i := range o.spine {
		c, v := &o.spine[i], &o.row[i]
		if c.Unit == 0 || v.IsNull() {
			continue
		}
		switch t := v.Int64(); c.Unit {
		case 1e3:
			*v = feature.TimestampValue(t * 1000)
		case 1e9:
			*v = feature.TimestampValue(feature.FloorTo(t, 1000) / 1000)
		}
	}
	return o.table.Write(o.ctx, o.row, features)
}

// Commit implements Output.
func (o *tableOutput) Commit(ctx context.Context, m *Manifest) error {
	if err := replace(filepath.Join(o.dir, o.name+ManifestSuffix), m, func() error { return o.table.Commit(ctx) }); err != nil {
		return err
	}
	return o.store.Close()
}

// Abort implements Output.
func (o *tableOutput) Abort() error {
	var err error
	if o.table != nil {
		err = o.table.Abort(context.WithoutCancel(o.ctx))
	}
	return errors.Join(err, o.store.Close())
}
