package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

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

// NewTable returns the output that is a table in a database, in place of what is there under its name. Its manifest is
// written to the folder dir, as TABLE.manifest.json.
func NewTable(c config.ClickHouse, name, dir string) (Output, error) {
	if name == "" {
		return nil, errors.New("the table of the training set has no name")
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
		if c.Type == feature.Int64 && !plainNumber(c.Node) {
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
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	manifest := newFile{path: filepath.Join(o.dir, o.name+ManifestSuffix)}
	if err := manifest.create(); err != nil {
		return err
	}
	if _, err = manifest.f.Write(append(text, '\n')); err == nil {
		err = manifest.seal()
	}
	if err == nil {
		err = o.table.Commit(ctx)
	}
	if err == nil {
		err = manifest.rename()
	}
	if err != nil {
		return errors.Join(err, manifest.abort())
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
