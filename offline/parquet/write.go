package parquet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/freshet-io/freshet/offline"
)

// Write stores the rows of a range: a file for each day that they have, or a mark if there are none. Called again with the
// same range and rows it puts equal files over those that are there. When it returns nil, all of it is durable.
func (s *Store) Write(ctx context.Context, t *offline.Table, r offline.Range, b *offline.Batch) error {
	if r.First == r.End && b.Len() == 0 {
		return nil
	}
	if r.First < 0 || r.End <= r.First || r.Partition < 0 || r.Topic == "" {
		return fmt.Errorf("write table %s: %s is no range", t.Name, r)
	}
	if b.Len() > 0 && b.Width != len(t.Columns) {
		return fmt.Errorf("write table %s: rows of %d columns; the table has %d", t.Name, b.Width, len(t.Columns))
	}
	for i := range b.Meta {
		if i > 0 && b.Meta[i].Offset <= b.Meta[i-1].Offset {
			return fmt.Errorf("write table %s: %s: rows are not in the order of their offsets", t.Name, r)
		}
		if m := &b.Meta[i]; m.Topic != r.Topic || m.Partition != r.Partition || m.Offset < r.First || m.Offset >= r.End {
			return fmt.Errorf("write table %s: a row of %s/%d offset %d is not of the range %s", t.Name, m.Topic, m.Partition, m.Offset, r)
		}
	}
	if b.Len() == 0 {
		return s.place.create(ctx, t.Name+"/"+emptyDir+"/"+rangeName(r), func(io.Writer) error { return nil })
	}
	days, rows := byDay(b)
	l := layoutOf(t)
	for i, d := range days {
		f := outFile{table: t.Name, layout: l, ranges: []offline.Range{r}, days: days}
		err := s.place.create(ctx, t.Name+"/"+rangePath(d, r), func(w io.Writer) error {
			return s.writeRows(w, &f, b, rows[i])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// byDay returns the days that rows have, in order, and the rows of each in the order of a file: by event time, then as
// feature.Order has it.
func byDay(b *offline.Batch) (days []day, rows [][]int32) {
	index := map[day]int{}
	last := -1 // the day of the row before: rows of a day come together
	for i := range b.Meta {
		d := dayOf(b.Meta[i].Time)
		if last < 0 || days[last] != d {
			k, ok := index[d]
			if !ok {
				k = len(days)
				index[d] = k
				days, rows = append(days, d), append(rows, nil)
			}
			last = k
		}
		rows[last] = append(rows[last], int32(i))
	}
	order := make([]int, len(days))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(days[a]) - int(days[b]) })
	sortedDays, sortedRows := make([]day, len(days)), make([][]int32, len(days))
	for i, k := range order {
		sortedDays[i], sortedRows[i] = days[k], rows[k]
		sortRows(b, rows[k])
	}
	return sortedDays, sortedRows
}

// sortRows sorts rows of one range. They are in the order of their offsets, so that where times are equal the order that
// they have is that of feature.Order.
func sortRows(b *offline.Batch, rows []int32) {
	type key struct {
		time int64
		row  int32
	}
	keys := make([]key, len(rows))
	sorted := true
	for i, r := range rows {
		keys[i] = key{b.Meta[r].Time, r}
		sorted = sorted && (i == 0 || keys[i-1].time <= keys[i].time)
	}
	if sorted {
		return
	}
	slices.SortFunc(keys, func(x, y key) int {
		if x.time != y.time {
			return cmp.Compare(x.time, y.time)
		}
		return int(x.row - y.row)
	})
	for i, k := range keys {
		rows[i] = k.row
	}
}

// outFile is a file to write.
type outFile struct {
	table  string
	layout *layout
	ranges []offline.Range
	days   []day
}

// writeRows writes a whole file of rows of a batch, in their order.
func (s *Store) writeRows(w io.Writer, f *outFile, b *offline.Batch, rows []int32) error {
	fw := s.writers.get(f.table, f.layout, dictionaries(f.layout, b, rows))
	fw.begin(w)
	if err := fw.append(b, rows); err != nil {
		return err // the writer is left to the collector: what it holds is half a file
	}
	if err := fw.finish(f.ranges, f.days); err != nil {
		return err
	}
	s.writers.put(fw)
	return nil
}
