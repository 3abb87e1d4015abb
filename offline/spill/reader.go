package spill

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// Reader reads buckets, each sorted. It is used by one goroutine; several share a sorter, for different buckets.
type Reader struct {
	s      *Sorter
	limit  int64
	blocks [][]byte
	arena  []byte
	refs   []ref

	next   int // of refs
	merged *merge
}

// ref is a record in memory: its first 24 bytes, padded with zeros, and where it is.
type ref struct {
	a, b, c    uint64
	block, off uint32
}

// refSize is the memory of a ref.
const refSize = 32

// Reader returns a new Reader.
func (s *Sorter) Reader() *Reader {
	return &Reader{s: s, limit: max(s.o.Memory/int64(s.o.Readers), leastBucket)}
}

// Open begins a bucket. Its memory is given back when the next one is opened: a bucket is read once.
func (r *Reader) Open(i int) error {
	r.merged, r.next = nil, 0
	r.blocks, r.refs = r.blocks[:0], r.refs[:0]
	b := &r.s.buckets[i]
	if len(b.chunks) == 0 || b.bytes+b.count*refSize <= r.limit {
		return r.load(b)
	}
	return r.external(b)
}

// load sorts a whole bucket in memory.
func (r *Reader) load(b *bucket) error {
	r.arena = slices.Grow(r.arena[:0], int(b.bytes))
	for _, c := range b.chunks {
		start := len(r.arena)
		var err error
		if r.arena, err = r.s.file.read(c, r.arena); err != nil {
			return err
		}
		r.blocks = append(r.blocks, r.arena[start:])
	}
	r.blocks = append(r.blocks, b.pages...)
	b.pages = nil
	return r.sort()
}

// sort indexes the records of the blocks in order.
func (r *Reader) sort() error {
	for i, block := range r.blocks {
		for off := 0; off < len(block); {
			n, w := binary.Uvarint(block[off:])
			if w <= 0 || n > uint64(len(block)-off-w) {
				return errDamaged
			}
			rec := block[off+w : off+w+int(n)]
			r.refs = append(r.refs, ref{word(rec, 0), word(rec, 8), word(rec, 16), uint32(i), uint32(off)})
			off += w + int(n)
		}
	}
	slices.SortFunc(r.refs, func(x, y ref) int {
		switch {
		case x.a != y.a:
			return cmp.Compare(x.a, y.a)
		case x.b != y.b:
			return cmp.Compare(x.b, y.b)
		case x.c != y.c:
			return cmp.Compare(x.c, y.c)
		}
		return bytes.Compare(r.record(&x), r.record(&y))
	})
	return nil
}

var errDamaged = errors.New("a temporary file is damaged: a record ends outside its chunk")

// word returns eight bytes of a record, with zeros for what is behind its end.
func word(rec []byte, from int) uint64 {
	if len(rec) >= from+8 {
		return binary.BigEndian.Uint64(rec[from:])
	}
	var b [8]byte
	if len(rec) > from {
		copy(b[:], rec[from:])
	}
	return binary.BigEndian.Uint64(b[:])
}

func (r *Reader) record(x *ref) []byte {
	block := r.blocks[x.block]
	n, w := binary.Uvarint(block[x.off:])
	from := int(x.off) + w
	return block[from : from+int(n) : from+int(n)]
}

// Next returns the next record of the bucket, nil after the last. It is valid until the next call.
func (r *Reader) Next() ([]byte, error) {
	if r.merged != nil {
		return r.merged.next()
	}
	if r.next == len(r.refs) {
		return nil, nil
	}
	r.next++
	return r.record(&r.refs[r.next-1]), nil
}

// external sorts a bucket that memory does not hold: parts of it are sorted and written as runs, and the runs merged.
func (r *Reader) external(b *bucket) error {
	var runs []run
	half := r.limit / 2 // the rest is for refs and what a run is written through
	chunks := b.chunks
	if len(b.pages) > 0 { // of a Writer that was closed before others had to spill
		var scratch []byte
		held, err := r.s.writePages(b.pages, &scratch)
		if err != nil {
			return err
		}
		chunks, b.pages = append(slices.Clip(chunks), held...), nil
	}
	for len(chunks) > 0 {
		r.arena, r.blocks, r.refs, r.next = r.arena[:0], r.blocks[:0], r.refs[:0], 0
		n, size := 0, int64(0)
		for n < len(chunks) && (n == 0 || size+int64(chunks[n].size) <= half) {
			size += int64(chunks[n].size)
			n++
		}
		part := bucket{chunks: chunks[:n], bytes: size}
		if err := r.load(&part); err != nil {
			return err
		}
		chunks = chunks[n:]
		out, err := r.s.writeRun(r.Next)
		if err != nil {
			return err
		}
		runs = append(runs, out)
	}
	r.arena, r.refs, r.blocks = nil, nil, nil // as much memory goes to the merge
	for len(runs) > r.s.fanIn() {
		m, err := r.s.merge(runs[:r.s.fanIn()])
		if err != nil {
			return err
		}
		out, err := r.s.writeRun(m.next)
		if err != nil {
			return err
		}
		runs = append(runs[r.s.fanIn():], out)
	}
	var err error
	r.merged, err = r.s.merge(runs)
	return err
}

// fanIn is how many runs are merged at a time: as many as the budget has blocks for.
func (s *Sorter) fanIn() int {
	return int(min(fanIn, max(s.o.Memory/int64(s.o.Readers)/runBlock, 2)))
}
