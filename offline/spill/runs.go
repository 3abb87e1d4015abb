package spill

import (
	"bytes"
	"encoding/binary"
)

// run is a sorted sequence of records in the file.
type run []chunk

// writeRun writes what next returns, which is sorted, to the file.
func (s *Sorter) writeRun(next func() ([]byte, error)) (run, error) {
	var out run
	buf := make([]byte, chunkHeader, runBlock+chunkHeader)
	flush := func() error {
		if len(buf) == chunkHeader {
			return nil
		}
		c, err := s.file.write(buf)
		out, buf = append(out, c), buf[:chunkHeader]
		return err
	}
	for {
		rec, err := next()
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return out, flush()
		}
		if len(buf) > chunkHeader && len(buf)+len(rec)+binary.MaxVarintLen64 > runBlock {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		buf = append(binary.AppendUvarint(buf, uint64(len(rec))), rec...)
	}
}

// cursor reads one run.
type cursor struct {
	s      *Sorter
	chunks run
	buf    []byte
	off    int
	rec    []byte // the current record; nil after the last
	from   int    // the place of the run, which breaks ties
}

func (c *cursor) advance() error {
	if c.off == len(c.buf) {
		if len(c.chunks) == 0 {
			c.rec = nil
			return nil
		}
		var err error
		if c.buf, err = c.s.file.read(c.chunks[0], c.buf[:0]); err != nil {
			return err
		}
		c.chunks, c.off = c.chunks[1:], 0
	}
	n, w := binary.Uvarint(c.buf[c.off:])
	if w <= 0 || n > uint64(len(c.buf)-c.off-w) {
		return errDamaged
	}
	from := c.off + w
	c.off = from + int(n)
	c.rec = c.buf[from:c.off:c.off]
	return nil
}

// merge reads several runs as one. Its heap has the cursors that are not at their ends, the least record first.
type merge struct {
	heap    []*cursor
	started bool
}

func (s *Sorter) merge(runs []run) (*merge, error) {
	m := &merge{}
	for i, r := range runs {
		c := &cursor{s: s, chunks: r, from: i}
		if err := c.advance(); err != nil {
			return nil, err
		}
		if c.rec != nil {
			m.heap = append(m.heap, c)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

// next returns the next record; the one before is not valid any more.
func (m *merge) next() ([]byte, error) {
	if m.started && len(m.heap) > 0 {
		top := m.heap[0]
		if err := top.advance(); err != nil {
			return nil, err
		}
		if top.rec == nil {
			last := len(m.heap) - 1
			m.heap[0] = m.heap[last]
			m.heap = m.heap[:last]
		}
		m.down(0)
	}
	m.started = true
	if len(m.heap) == 0 {
		return nil, nil
	}
	return m.heap[0].rec, nil
}

func (m *merge) less(i, j int) bool {
	c := bytes.Compare(m.heap[i].rec, m.heap[j].rec)
	return c < 0 || c == 0 && m.heap[i].from < m.heap[j].from
}

func (m *merge) down(i int) {
	for {
		least := i
		for _, k := range [2]int{2*i + 1, 2*i + 2} {
			if k < len(m.heap) && m.less(k, least) {
				least = k
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}
