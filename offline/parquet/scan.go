package parquet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/offline"
)

// Scan calls fn with the rows of t that q asks for, each once, in any order. With q.Parallel > 1 fn is called from that many
// goroutines at once, at most, each with its own number. A batch belongs to fn until it returns: strings and lists in it
// share the memory of pages.
//
// It reads the files that the table has when it begins. Memory is bounded by a page a column and worker.
func (s *Store) Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error {
	sn, err := s.snapshot(ctx, t.Name)
	if err != nil {
		return err
	}
	sc := &scan{store: s, ctx: ctx, table: t, query: &q, fn: fn}
	for _, c := range q.Columns {
		sc.want = append(sc.want, t.Columns[c])
	}
	sc.queue.Cond.L = &sc.queue.Mutex
	for _, f := range sn.files {
		if sc.wanted(f) {
			sc.queue.files = append(sc.queue.files, f)
		}
	}
	workers := max(1, q.Parallel)
	if workers == 1 {
		sc.work(0)
		return sc.queue.err
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { sc.work(i) })
	}
	wg.Wait()
	return sc.queue.err
}

// scan is one Scan under way.
type scan struct {
	store *Store
	ctx   context.Context // of the call
	table *offline.Table
	query *offline.Query
	want  []offline.Column
	fn    func(int, *offline.Batch) error
	queue scanQueue
}

// scanQueue hands out work: row groups of files that are open first, so that few are open at a time, then files.
type scanQueue struct {
	sync.Mutex
	sync.Cond // broadcast when groups, files, opening or err change
	files     []*dataFile
	groups    []*groupJob
	opening   int // workers that may add groups
	err       error
}

// groupJob is one row group to read.
type groupJob struct {
	file   *openFile
	number int
}

// openFile is a file whose row groups several workers read; the last one closes it.
type openFile struct {
	*opened
	chosen *dataFile
	mu     sync.Mutex
	users  int
}

func (f *openFile) release() error {
	f.mu.Lock()
	f.users--
	last := f.users == 0
	f.mu.Unlock()
	if last {
		return f.Close()
	}
	return nil
}

// wanted prunes by what the name of a file says.
func (sc *scan) wanted(f *dataFile) bool {
	q := sc.query
	if q.Bounded() && !f.day.overlaps(q.From, q.To) {
		return false
	}
	if f.merged || q.Below == nil || f.rng.Topic != sc.table.Source.Topic {
		return true
	}
	below, ok := q.Below[f.rng.Partition]
	return ok && f.rng.First < below
}

func (sc *scan) work(worker int) {
	var b offline.Batch
	for {
		file, group := sc.take()
		var err error
		switch {
		case file != nil:
			err = sc.openFile(file)
		case group != nil:
			err = errors.Join(sc.readGroup(worker, group, &b), group.file.release())
			if err != nil && sc.ctx.Err() == nil {
				err = fmt.Errorf("scan %s: %w", sc.store.place.url(sc.table.Name+"/"+group.file.chosen.path), err)
			}
		default:
			return
		}
		if err != nil {
			sc.fail(err)
		}
	}
}

// fail ends the scan with an error: what is open is closed, nothing more is handed out.
func (sc *scan) fail(err error) {
	q := &sc.queue
	q.Lock()
	defer q.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.files = nil
	for _, g := range q.groups {
		_ = g.file.release() // the first error tells what is wrong
	}
	q.groups = nil
	q.Broadcast()
}

// take returns the next piece of work, nothing when all is done.
func (sc *scan) take() (*dataFile, *groupJob) {
	q := &sc.queue
	q.Lock()
	defer q.Unlock()
	for {
		if err := sc.ctx.Err(); err != nil && q.err == nil {
			q.err = err
		}
		if n := len(q.groups); n > 0 && q.err == nil {
			g := q.groups[n-1]
			q.groups = q.groups[:n-1]
			return nil, g
		}
		if len(q.files) > 0 && q.err == nil {
			f := q.files[0]
			q.files = q.files[1:]
			q.opening++
			return f, nil
		}
		if q.opening == 0 || q.err != nil {
			for _, g := range q.groups {
				_ = g.file.release()
			}
			q.groups = nil
			return nil, nil
		}
		q.Wait()
	}
}

// openFile opens a file and hands out its row groups.
func (sc *scan) openFile(f *dataFile) error {
	o, err := sc.store.open(sc.ctx, sc.table.Name, f, pq.SkipPageIndex(true))
	q := &sc.queue
	q.Lock()
	defer q.Unlock()
	q.opening--
	q.Broadcast()
	if err != nil {
		return err
	}
	n := len(o.file.RowGroups())
	if n == 0 || q.err != nil {
		return o.Close()
	}
	open := &openFile{opened: o, chosen: f, users: n}
	for i := n - 1; i >= 0; i-- {
		q.groups = append(q.groups, &groupJob{file: open, number: i})
	}
	return nil
}

func (sc *scan) readGroup(worker int, g *groupJob, b *offline.Batch) error {
	group := g.file.file.RowGroups()[g.number]
	from, to, err := sc.rows(g.file.opened, group)
	if err != nil || from >= to {
		return err
	}
	r, err := newRowReader(g.file.opened, g.file.chosen, group, sc.want, from, to)
	if err != nil {
		return err
	}
	for {
		more, err := r.next(b)
		if err == nil && more {
			if sc.filter(g.file.chosen, b); b.Len() > 0 {
				err = sc.fn(worker, b)
			}
		}
		if err == nil {
			err = sc.ctx.Err()
		}
		if err != nil || !more {
			return errors.Join(err, r.close())
		}
	}
}

// rows returns the rows of a row group that can be of the query's time: by the statistics of the group, then by those of its
// pages. They are sorted by it, so they are one run.
func (sc *scan) rows(o *opened, group pq.RowGroup) (from, to int64, err error) {
	all := group.NumRows()
	q := sc.query
	if !q.Bounded() {
		return 0, all, nil
	}
	leaf, ok := leafOf(o.file.Schema(), offline.EventTime)
	if !ok {
		return 0, 0, fmt.Errorf("the file has no column %q", offline.EventTime)
	}
	chunks := group.ColumnChunks()
	chunk, ok := chunks[leaf.ColumnIndex].(*pq.FileColumnChunk)
	if !ok {
		return 0, all, nil
	}
	low, high, ok := chunk.Bounds()
	if !ok || low.Int64() >= q.From && high.Int64() < q.To {
		return 0, all, nil
	}
	if low.Int64() >= q.To || high.Int64() < q.From {
		return 0, 0, nil
	}
	pages, err := chunk.ColumnIndex()
	if err != nil {
		return 0, 0, err
	}
	places, err := chunk.OffsetIndex()
	if err != nil {
		return 0, 0, err
	}
	from, to = all, 0
	for i := range pages.NumPages() {
		end := all
		if i+1 < pages.NumPages() {
			end = places.FirstRowIndex(i + 1)
		}
		if pages.MinValue(i).Int64() < q.To && pages.MaxValue(i).Int64() >= q.From {
			from, to = min(from, places.FirstRowIndex(i)), max(to, end)
		}
	}
	if from > 0 { // with it the other columns find the row without reading what is before
		for _, c := range chunks {
			if _, err := c.OffsetIndex(); err != nil {
				return 0, 0, err
			}
		}
	}
	return from, to, nil
}

// filter drops the rows that the query does not ask for.
func (sc *scan) filter(f *dataFile, b *offline.Batch) {
	q := sc.query
	if !q.Bounded() && q.Below == nil && f.keep == nil {
		return
	}
	kept := 0
	for i := range b.Meta {
		m := &b.Meta[i]
		if q.Bounded() && (m.Time < q.From || m.Time >= q.To) || f.keep != nil && !f.keeps(m.Offset) {
			continue
		}
		if q.Below != nil && m.Topic == sc.table.Source.Topic && !strings.HasPrefix(m.Topic, offline.BackfillPrefix) {
			if below, ok := q.Below[m.Partition]; !ok || m.Offset >= below {
				continue
			}
		}
		if kept < i {
			b.Meta[kept] = *m
			copy(b.Values[kept*b.Width:(kept+1)*b.Width], b.Row(i))
		}
		kept++
	}
	b.Meta, b.Values = b.Meta[:kept], b.Values[:kept*b.Width]
}
