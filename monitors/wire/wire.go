// Package wire reads what the encodings of monitors are made of: varints, and bytes that follow their length. What they
// mean stands beside each encoder.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	errShort = errors.New("it ends too early")
	errLarge = errors.New("a number is too large")
)

// Reader reads an encoding until its first error, after which everything it returns is zero.
type Reader struct {
	data []byte
	err  error
}

// NewReader reads data, which what it returns aliases.
func NewReader(data []byte) *Reader { return &Reader{data: data} }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// End is the first error, or that data is left.
func (r *Reader) End() error {
	if r.err == nil && len(r.data) > 0 {
		return fmt.Errorf("%d bytes are left over", len(r.data))
	}
	return r.err
}

// Left is how many bytes are left.
func (r *Reader) Left() int { return len(r.data) }

// Take reads n bytes.
func (r *Reader) Take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.data)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

// Rest reads all that is left.
func (r *Reader) Rest() []byte { return r.Take(len(r.data)) }

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uvarint reads an unsigned number.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	return number(r, v, n)
}

// Varint reads a signed number.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.data)
	return number(r, v, n)
}

// number takes the n bytes of v; n is as encoding/binary returns it.
func number[T int64 | uint64](r *Reader, v T, n int) T {
	switch {
	case r.err == nil && n == 0:
		r.err = errShort
	case r.err == nil && n < 0:
		r.err = errLarge
	}
	if r.Take(n); r.err != nil {
		return 0
	}
	return v
}

// Count reads a number of elements that follow, each of at least a byte.
func (r *Reader) Count() int {
	n := r.Uvarint()
	if n > uint64(len(r.data)) && r.err == nil {
		r.err = errShort
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// Bytes reads a length and as many bytes.
func (r *Reader) Bytes() []byte { return r.Take(r.Count()) }

// Text is Bytes as a string.
func (r *Reader) Text() string { return string(r.Bytes()) }

// AppendBytes appends what Bytes reads.
func AppendBytes[B []byte | string](dst []byte, b B) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
