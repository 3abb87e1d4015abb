// Package offlinetest has what tests of the offline half share: a store of events in memory. Nothing that a user runs
// imports it.
package offlinetest

import (
	"context"
	"sync"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// Row is an event, with a value for each column of its table.
type Row struct {
	offline.Meta
	Values []feature.Value
}

// Memory is a store that holds the rows of one table. Its scans hand out rows in the order in which they were added, split
// into batches and over readers without regard to anything.
type Memory struct {
	Rows      []Row
	BatchRows int // default 100
	Twice     int // every so many rows one is handed out twice; 0: none
}

// Add adds a row.
func (m *Memory) Add(meta offline.Meta, values ...feature.Value) {
	m.Rows = append(m.Rows, Row{meta, values})
}

// Scan hands out the rows of a query.
func (m *Memory) Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error {
	size := m.BatchRows
	if size <= 0 {
		size = 100
	}
	var batches [][]Row
	var open []Row
	for i := range m.Rows {
		if !wanted(&m.Rows[i].Meta, t, &q) {
			continue
		}
		open = append(open, m.Rows[i])
		if m.Twice > 0 && i%m.Twice == 0 {
			open = append(open, m.Rows[i])
		}
		if len(open) >= size {
			batches, open = append(batches, open), nil
		}
	}
	batches = append(batches, open)
	workers := max(q.Parallel, 1)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			b := &offline.Batch{}
			for i := w; i < len(batches) && errs[w] == nil && ctx.Err() == nil; i += workers {
				b.Reset(len(q.Columns))
				for _, r := range batches[i] {
					for _, c := range q.Columns {
						b.Values = append(b.Values, r.Values[c])
					}
					b.Meta = append(b.Meta, r.Meta)
				}
				errs[w] = fn(w, b)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func wanted(m *offline.Meta, t *offline.Table, q *offline.Query) bool {
	if q.Bounded() && (m.Time < q.From || m.Time >= q.To) {
		return false
	}
	if q.Below == nil || m.Topic != t.Source.Topic {
		return true
	}
	below, ok := q.Below[m.Partition]
	return ok && m.Offset < below
}

// Covered returns, for each partition of the rows, the offsets up to the last.
func (m *Memory) Covered(_ context.Context, _ *offline.Table) ([]offline.Range, error) {
	var out []offline.Range
rows:
	for i := range m.Rows {
		r := &m.Rows[i]
		for k := range out {
			if out[k].Topic == r.Topic && out[k].Partition == r.Partition {
				out[k].First, out[k].End = min(out[k].First, r.Offset), max(out[k].End, r.Offset+1)
				continue rows
			}
		}
		out = append(out, offline.Range{Topic: r.Topic, Partition: r.Partition, First: r.Offset, End: r.Offset + 1})
	}
	return out, nil
}
