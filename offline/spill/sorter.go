package spill

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
)

// Options say how much a sorter may hold. The zero value of each field stands for its default.
type Options struct {
	Dir     string // of the temporary file; default the system's
	Memory  int64  // bytes of records, and of what sorts them; default 64 MiB
	Buckets int    // default 256
	Readers int    // buckets that are read at a time, which share the memory; default 1
}

const (
	// pageSize is the step in which a bucket takes memory.
	pageSize = 8 << 10
	// runBlock is how much of a run is read at a time, and fanIn how many runs are merged at a time.
	runBlock = 64 << 10
	fanIn    = 64
	// MaxRecord is the largest record.
	MaxRecord = 64 << 20
	// leastBucket is the least memory in which a bucket is sorted, however small the budget.
	leastBucket = 16 << 10
)

// Sorter sorts records: any number of Writers fill it, then its buckets are read.
type Sorter struct {
	o    Options
	file file

	writers int          // that are open
	inUse   atomic.Int64 // bytes of pages that buckets hold
	spilled atomic.Bool

	mu      sync.Mutex // while Writers are open
	buckets []bucket
	free    [][]byte
}

// bucket is what a sorter holds of one bucket.
type bucket struct {
	pages  [][]byte
	chunks []chunk
	bytes  int64
	count  int64
}

// New returns an empty sorter.
func New(o Options) *Sorter {
	if o.Memory <= 0 {
		o.Memory = 64 << 20
	}
	if o.Buckets <= 0 {
		o.Buckets = 256
	}
	if o.Readers <= 0 {
		o.Readers = 1
	}
	return &Sorter{o: o, file: file{dir: o.Dir}, buckets: make([]bucket, o.Buckets)}
}

// Buckets returns the number of buckets.
func (s *Sorter) Buckets() int { return s.o.Buckets }

// Spilled returns the bytes that went to the temporary file.
func (s *Sorter) Spilled() int64 { return s.file.size() }

// Close gives memory and the temporary file back. No Writer or Reader may be used any more.
func (s *Sorter) Close() error {
	s.buckets, s.free = nil, nil
	return s.file.close()
}

// Writer adds records. It is used by one goroutine; goroutines have one each.
type Writer struct {
	s    *Sorter
	open []openBucket
	held int64  // bytes of its pages
	buf  []byte // for chunks
}

type openBucket struct {
	pages [][]byte
	bytes int64
	count int64
}

// Writer returns a new Writer. All are to be closed before the first bucket is read.
func (s *Sorter) Writer() *Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writers++
	return &Writer{s: s, open: make([]openBucket, s.o.Buckets)}
}

// Add adds a record to a bucket. rec is copied.
func (w *Writer) Add(bucket int, rec []byte) error {
	if len(rec) > MaxRecord {
		return fmt.Errorf("a record of %d bytes; at most %d can be sorted", len(rec), MaxRecord)
	}
	need := len(rec) + uvarintLen(len(rec))
	b := &w.open[bucket]
	if n := len(b.pages); n == 0 || cap(b.pages[n-1])-len(b.pages[n-1]) < need {
		if err := w.grow(b, need); err != nil {
			return err
		}
	}
	p := &b.pages[len(b.pages)-1]
	*p = append(binary.AppendUvarint(*p, uint64(len(rec))), rec...)
	b.bytes += int64(need)
	b.count++
	return nil
}

func uvarintLen(n int) int {
	w := 1
	for ; n >= 0x80; n >>= 7 {
		w++
	}
	return w
}

// grow gives a bucket another page. When the sorter is over its budget, the writer's own pages go to the file first.
func (w *Writer) grow(b *openBucket, need int) error {
	size := int64(max(need, pageSize))
	if w.s.inUse.Add(size) > w.s.o.Memory && w.held > 0 {
		w.s.inUse.Add(-size)
		if err := w.spill(); err != nil {
			return err
		}
		w.s.inUse.Add(size)
	}
	w.held += size
	var page []byte
	if size == pageSize {
		page = w.s.takePage()
	} else {
		page = make([]byte, 0, size)
	}
	b.pages = append(b.pages, page)
	return nil
}

func (s *Sorter) takePage() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p
	}
	return make([]byte, 0, pageSize)
}

// spill writes all pages of the writer to the file, a chunk a bucket.
func (w *Writer) spill() error {
	w.s.spilled.Store(true)
	for i := range w.open {
		b := &w.open[i]
		if len(b.pages) == 0 {
			continue
		}
		chunks, err := w.s.writePages(b.pages, &w.buf)
		if err != nil {
			return err
		}
		w.s.mu.Lock()
		to := &w.s.buckets[i]
		to.chunks = append(to.chunks, chunks...)
		to.bytes += b.bytes
		to.count += b.count
		for _, p := range b.pages {
			if cap(p) == pageSize {
				w.s.free = append(w.s.free, p[:0])
			}
		}
		w.s.mu.Unlock()
		clear(b.pages)
		*b = openBucket{pages: b.pages[:0]}
	}
	w.s.inUse.Add(-w.held)
	w.held = 0
	return nil
}

// maxChunk bounds the body of a chunk of several pages, and so what is read at a time.
const maxChunk = 1 << 20

func (s *Sorter) writePages(pages [][]byte, scratch *[]byte) ([]chunk, error) {
	var out []chunk
	buf := append((*scratch)[:0], make([]byte, chunkHeader)...)
	for i, p := range pages {
		buf = append(buf, p...)
		if i+1 < len(pages) && len(buf)+len(pages[i+1]) <= maxChunk {
			continue
		}
		c, err := s.file.write(buf)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
		buf = buf[:chunkHeader]
	}
	*scratch = buf
	return out, nil
}

// Close hands what the writer holds to the sorter. Once a part of the records is in the file the rest goes there too, so
// that reading has the memory for itself.
func (w *Writer) Close() error {
	if w.s.spilled.Load() {
		if err := w.spill(); err != nil {
			return err
		}
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for i := range w.open {
		b, to := &w.open[i], &w.s.buckets[i]
		to.pages = append(to.pages, b.pages...)
		to.bytes += b.bytes
		to.count += b.count
	}
	w.open, w.buf = nil, nil
	if w.s.writers--; w.s.writers == 0 && w.s.spilled.Load() {
		w.s.free = nil // reading takes memory of its own
	}
	return nil
}
