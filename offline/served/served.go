package served

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/train"
)

// Options are what a window is compared with.
type Options struct {
	Plane  *config.Plane
	Store  replay.Scanner // has the inferences and the events that the model's features are computed from
	Dir    string         // of temporary files; default the system's
	Memory int64          // bytes; default as of train.Options
}

// Tables returns the tables that Compare reads of a model: the store must have them up to the lookups.
func Tables(m *config.Model) []*offline.Table {
	out := []*offline.Table{offline.InferencesTable(m)}
	for _, f := range m.Service.Features {
		t := offline.EventsTable(f.View.Source)
		if !slices.ContainsFunc(out, func(o *offline.Table) bool { return o.Name == t.Name }) {
			out = append(out, t)
		}
	}
	return out
}

// Compare draws inferences of the window [start, end) of event time, microseconds, of a monitor with ValueSkew, and compares
// each feature that they log.
func Compare(ctx context.Context, o Options, m *config.Monitor, start, end int64) (*valueskew.Result, error) {
	r := &valueskew.Result{}
	columns := compared(m.Model)
	for _, c := range columns {
		r.Features = append(r.Features, valueskew.Feature{Column: c.Name})
	}
	drawn, err := draw(ctx, o.Store, m, start, end)
	if err != nil {
		return nil, fmt.Errorf("draw inferences of model %s: %w", m.Model.Name, err)
	}
	r.Rows, r.Unkeyed = drawn.seen, drawn.unkeyed
	if len(drawn.rows) == 0 {
		return r, nil
	}
	s := newSpine(m, drawn.rows)
	set, err := train.New(train.Options{
		Plane: o.Plane, Service: m.Model.Service.Name, Spine: s, Store: o.Store, Output: &judge{spine: s, columns: columns, skew: m.ValueSkew, result: r},
		TimeColumn: timeColumn, FullNames: true, AsServed: true, Dir: o.Dir, Memory: o.Memory,
	})
	if err == nil {
		_, err = set.Build(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("compute the features of %d inferences of model %s: %w", len(drawn.rows), m.Model.Name, err)
	}
	return r, nil
}

// compared are the columns of a model that the offline path computes too. Derived features are, unless they need a request
// field of a type that inferences do not have.
func compared(m *config.Model) []config.Column {
	derived := true
	for _, q := range m.Service.Request {
		derived = derived && requestColumn(m, q.Name) != nil
	}
	var out []config.Column
	for _, c := range m.Columns {
		if c.Feature >= 0 && (derived || c.Feature < len(m.Service.Features)) {
			out = append(out, c)
		}
	}
	return out
}

// requestColumn is the column that holds a request field, nil if none does.
func requestColumn(m *config.Model, name string) *config.Column {
	for i := range m.Columns {
		if c := &m.Columns[i]; c.Feature < 0 && c.Name == name && c.Field >= m.Inferences.NestedFrom {
			return c
		}
	}
	return nil
}

var errNoKeys = errors.New("the model has no join keys in its inferences")
