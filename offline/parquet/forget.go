package parquet

import (
	"context"
	"errors"
	"fmt"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// Match names rows by the values of some columns: those that have every one of the values.
type Match struct {
	Columns []int // of Table.Columns
	Values  []feature.Value
	// Abandoned says that no sink of the definition writes the table any more. What one left half written, and nobody will finish,
	// loses the rows where it is.
	Abandoned bool
}

// Forget removes the rows of a table that match, and every file that was replaced and is still there, and returns how many rows
// it removed. Files that cannot hold such a row, by their bloom filters, are not read. A range that is half
// written and may hold one is an error, unless the table is abandoned: its writer has to finish it first. It may be ended at any moment and run again.
//
// Bytes that were deleted are the file system's or the bucket's matter from then on: a bucket that keeps versions keeps
// them.
func (s *Store) Forget(ctx context.Context, t *offline.Table, m Match) (rows int64, err error) {
	for i, c := range m.Columns {
		if v := &m.Values[i]; v.Type() != t.Columns[c].Type {
			return 0, fmt.Errorf("forget in table %s: column %q is %s, not %s", t.Name, t.Columns[c].Name, t.Columns[c].Type, v.Type())
		}
	}
	sn, err := s.snapshot(ctx, t.Name)
	if err != nil {
		return 0, err
	}
	if rows, err = s.forgetHalfWritten(ctx, sn, t, m); err != nil {
		return 0, err
	}
	next := sn.manifest.next()
	var old []*dataFile
	var merged []mergedFile
	for _, f := range sn.files {
		may, err := s.mayHold(ctx, t, f, m)
		if err != nil {
			return 0, err
		}
		if !may {
			continue
		}
		out, n, err := s.rewrite(ctx, t.Name, sn.manifest.Seq, []*dataFile{f}, func(l *layout, b *offline.Batch, row int) bool {
			return m.matches(t, l, b, row)
		})
		if err != nil {
			return 0, err
		}
		if n == 0 { // the bloom filter erred
			if err := s.place.remove(ctx, t.Name+"/"+out.Path); err != nil {
				return 0, err
			}
			continue
		}
		rows += n
		old = append(old, f)
		if out != nil {
			merged = append(merged, *out)
		}
	}
	if len(old) > 0 {
		next.replace(s.now(), old, merged)
		if err := s.publish(ctx, t.Name, next); err != nil {
			return 0, err
		}
	}
	if sn, err = s.snapshot(ctx, t.Name); err != nil {
		return rows, err
	}
	hour := s.now().Add(-time.Hour)
	return rows, errors.Join(
		s.purge(ctx, sn),
		s.place.sweep(ctx, t.Name, func(_ string, modified time.Time) bool { return modified.Before(hour) }),
	)
}

// forgetHalfWritten sees to the ranges that are half written: they are nobody's or an error.
func (s *Store) forgetHalfWritten(ctx context.Context, sn *snapshot, t *offline.Table, m Match) (rows int64, err error) {
	for _, st := range sn.ranges {
		if st.complete {
			continue
		}
		for _, f := range st.files {
			may, err := s.mayHold(ctx, t, f, m)
			if err != nil {
				return 0, err
			}
			if !may {
				continue
			}
			if !m.Abandoned {
				return 0, fmt.Errorf("forget in table %s: %s is half written and may hold such rows; let its sink finish it, then run this again", t.Name, st.Range)
			}
			n, err := s.rewriteInPlace(ctx, t.Name, f, func(l *layout, b *offline.Batch, row int) bool { return m.matches(t, l, b, row) })
			if err != nil {
				return 0, err
			}
			rows += n
		}
	}
	return rows, nil
}

// matches reports whether a row of a batch of a layout's columns matches.
func (m *Match) matches(t *offline.Table, l *layout, b *offline.Batch, row int) bool {
	for i, c := range m.Columns {
		k := l.column(t.Columns[c].Name)
		if k < 0 || !b.Row(row)[k].Equal(&m.Values[i]) {
			return false
		}
	}
	return true
}

// mayHold reports whether a file may have a row that matches.
func (s *Store) mayHold(ctx context.Context, t *offline.Table, f *dataFile, m Match) (bool, error) {
	o, err := s.open(ctx, t.Name, f, pq.SkipPageIndex(true), pq.SkipBloomFilters(false))
	if err != nil {
		return false, err
	}
	may := false
	for _, group := range o.file.RowGroups() {
		if may = m.mayBeIn(t, o, group, &err); may || err != nil {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("read %s: %w", s.place.url(t.Name+"/"+f.path), err)
	}
	return may, errors.Join(err, o.Close())
}

func (m *Match) mayBeIn(t *offline.Table, o *opened, group pq.RowGroup, failed *error) bool {
	for i, c := range m.Columns {
		name := t.Columns[c].Name
		leaf, ok := o.file.Schema().Lookup(name)
		if !ok {
			return false // null there
		}
		chunk := group.ColumnChunks()[leaf.ColumnIndex]
		filter := chunk.BloomFilter()
		if filter == nil {
			continue
		}
		may, err := filter.Check(parquetValue(&m.Values[i]))
		if err != nil {
			*failed = err
			return false
		}
		if !may {
			return false
		}
	}
	return true
}
