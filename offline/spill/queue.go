package spill

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Queue keeps records in the order in which they are added, for one reading after the last: in memory up to its budget, the
// rest in a temporary file of its own. It is used by one goroutine at a time.
type Queue struct {
	file   file
	left   int64 // of the budget
	blocks []block
	open   []byte // with room for a chunk's header
	count  int64

	reading int
	buf     []byte
	off     int
}

// block is a run of records: in memory, or a chunk.
type block struct {
	mem []byte
	at  chunk
}

// queueBlock is the size of a block.
const queueBlock = 256 << 10

// NewQueue returns an empty Queue that holds about so many bytes in memory; dir is of its temporary file.
func NewQueue(dir string, memory int64) *Queue {
	return &Queue{file: file{dir: dir}, left: memory}
}

// Len returns the number of records.
func (q *Queue) Len() int64 { return q.count }

// Spilled returns the bytes that went to the temporary file.
func (q *Queue) Spilled() int64 { return q.file.size() }

// Close gives memory and the temporary file back.
func (q *Queue) Close() error {
	q.blocks, q.open, q.buf = nil, nil, nil
	return q.file.close()
}

// Add adds a record. rec is copied.
func (q *Queue) Add(rec []byte) error {
	if len(rec) > MaxRecord {
		return fmt.Errorf("a record of %d bytes; at most %d can be kept", len(rec), MaxRecord)
	}
	if len(q.open) > chunkHeader && len(q.open)+len(rec)+binary.MaxVarintLen64 > queueBlock {
		if err := q.flush(); err != nil {
			return err
		}
	}
	if q.open == nil {
		q.open = make([]byte, chunkHeader, queueBlock)
	}
	q.open = append(binary.AppendUvarint(q.open, uint64(len(rec))), rec...)
	q.count++
	return nil
}

func (q *Queue) flush() error {
	if int64(cap(q.open)) <= q.left {
		q.left -= int64(cap(q.open))
		q.blocks = append(q.blocks, block{mem: q.open[chunkHeader:]})
		q.open = nil
		return nil
	}
	c, err := q.file.write(q.open)
	q.blocks = append(q.blocks, block{at: c})
	q.open = q.open[:chunkHeader]
	return err
}

// Next returns the next record, nil after the last. It is valid until the next call. Nothing is added any more.
func (q *Queue) Next() ([]byte, error) {
	if len(q.open) > chunkHeader {
		if err := q.flush(); err != nil {
			return nil, err
		}
	}
	q.open = nil
	for q.off == len(q.buf) {
		if q.reading == len(q.blocks) {
			return nil, nil
		}
		b := &q.blocks[q.reading]
		q.reading++
		q.off = 0
		if b.mem != nil {
			q.buf = b.mem
			*b = block{}
			continue
		}
		var err error
		if q.buf, err = q.file.read(b.at, q.buf[:0]); err != nil {
			return nil, err
		}
	}
	n, w := binary.Uvarint(q.buf[q.off:])
	if w <= 0 || n > uint64(len(q.buf)-q.off-w) {
		return nil, errors.New("a queue of records is damaged")
	}
	from := q.off + w
	q.off = from + int(n)
	return q.buf[from:q.off:q.off], nil
}
