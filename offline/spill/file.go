package spill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkHeader is the length of what is before a chunk's body.
const chunkHeader = 4 + 4

// chunk is where some records are in the file.
type chunk struct {
	at   int64
	size int // of the body
}

// file is the temporary file of a sorter. Chunks are written and read by several goroutines.
type file struct {
	dir string

	mu   sync.Mutex
	f    *os.File
	end  int64
	name string // to be removed on close; "" once it has no name
}

// reserve opens the file if need be and returns where n bytes may be written.
func (s *file) reserve(n int64) (*os.File, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, "freshet-*.spill")
		if err != nil {
			return nil, 0, fmt.Errorf("make a temporary file: %w", err)
		}
		s.f, s.name = f, f.Name()
		if os.Remove(s.name) == nil {
			s.name = ""
		}
	}
	at := s.end
	s.end += n
	return s.f, at, nil
}

// write appends a chunk. buf begins with room for the header, which write fills in.
func (s *file) write(buf []byte) (chunk, error) {
	body := buf[chunkHeader:]
	binary.LittleEndian.PutUint32(buf, uint32(len(body)))
	binary.LittleEndian.PutUint32(buf[4:], crc32.Checksum(body, castagnoli))
	f, at, err := s.reserve(int64(len(buf)))
	if err != nil {
		return chunk{}, err
	}
	if _, err := f.WriteAt(buf, at); err != nil {
		return chunk{}, fmt.Errorf("write %d bytes to a temporary file in %s: %w", len(buf), s.folder(), err)
	}
	return chunk{at, len(body)}, nil
}

// read appends the body of a chunk to buf.
func (s *file) read(c chunk, buf []byte) ([]byte, error) {
	s.mu.Lock()
	f := s.f
	s.mu.Unlock()
	start := len(buf)
	var head [chunkHeader]byte
	if _, err := f.ReadAt(head[:], c.at); err != nil {
		return buf, fmt.Errorf("read a temporary file in %s at %d: %w", s.folder(), c.at, err)
	}
	if cap(buf)-start < c.size {
		buf = append(make([]byte, 0, start+c.size), buf...)
	}
	buf = buf[:start+c.size]
	if _, err := f.ReadAt(buf[start:], c.at+chunkHeader); err != nil {
		return buf[:start], fmt.Errorf("read a temporary file in %s at %d: %w", s.folder(), c.at, err)
	}
	if int(binary.LittleEndian.Uint32(head[:])) != c.size || binary.LittleEndian.Uint32(head[4:]) != crc32.Checksum(buf[start:], castagnoli) {
		return buf[:start], fmt.Errorf("a temporary file in %s is damaged: the checksum at %d differs", s.folder(), c.at)
	}
	return buf, nil
}

func (s *file) folder() string {
	if s.dir == "" {
		return os.TempDir()
	}
	return s.dir
}

// size is the number of bytes written.
func (s *file) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

func (s *file) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	if s.name != "" {
		err = errors.Join(err, os.Remove(s.name))
	}
	s.f = nil
	if err != nil {
		return fmt.Errorf("close a temporary file: %w", err)
	}
	return nil
}
