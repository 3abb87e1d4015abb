package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A changelog record is keyed by a kind byte and what it is about:
//
//	0                                   the task's meta record
//	1 | feature.AppendCellKey           one cell of an entity; a null value deletes it
//	2 | event id bytes                  a remembered event id; the value is its event time, a null value forgets it
//
// The local store holds the same keys and values, so that restoring is copying.
const (
	kindMeta    byte = 0
	kindCell    byte = 1
	kindEventID byte = 2
	// Of joiners: kindMeta, and
	//
	//	kindCase      | model / inference id   a join.Case; a null value forgets it
	//	kindProgress  | model                  watch.Progress of the partition's inferences and labels, as JSON
	kindCase     byte = 8
	kindProgress byte = 9
)

// metaVersion is the first byte of a meta record's value.
const metaVersion = 1

// A meta record says what a task's state has counted. Layout of its value, little-endian:
//
//	0      version (1)
//	1..8   next input offset: the front; records below it have been counted by the views that there were
//	9..16  stream time, microseconds
//	then for each view its fingerprint (8) and its own next input offset (8): below the front while a view that was
//	added later catches up
type meta struct {
	next       int64
	streamTime int64
	views      []viewMeta
}

type viewMeta struct {
	fp   [8]byte
	next int64
}

// noMeta is the state of a task that has counted nothing; next is below every offset.
func noMeta() meta { return meta{next: -1, streamTime: math.MinInt64} }

// none reports whether no meta record was ever written.
func (m *meta) none() bool { return m.next < 0 }

// of returns the next input offset of a view, ok false for one that has counted nothing.
func (m *meta) of(fp [8]byte) (next int64, ok bool) {
	for _, v := range m.views {
		if v.fp == fp {
			return v.next, true
		}
	}
	return 0, false
}

const (
	metaLen     = 1 + 8 + 8
	viewMetaLen = 8 + 8
)

func (m *meta) append(dst []byte) []byte {
	dst = append(dst, metaVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.next))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.streamTime))
	for _, v := range m.views {
		dst = append(dst, v.fp[:]...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.next))
	}
	return dst
}

func parseMeta(b []byte) (meta, error) {
	if len(b) < metaLen || b[0] != metaVersion || (len(b)-metaLen)%viewMetaLen != 0 {
		return noMeta(), fmt.Errorf("meta record of %d bytes is not of version %d", len(b), metaVersion)
	}
	m := meta{next: int64(binary.LittleEndian.Uint64(b[1:])), streamTime: int64(binary.LittleEndian.Uint64(b[9:]))}
	if m.next < 0 {
		return noMeta(), fmt.Errorf("meta record with input offset %d", m.next)
	}
	for b = b[metaLen:]; len(b) > 0; b = b[viewMetaLen:] {
		v := viewMeta{fp: [8]byte(b), next: int64(binary.LittleEndian.Uint64(b[8:]))}
		if v.next < 0 || v.next > m.next {
			return noMeta(), fmt.Errorf("meta record with input offset %d of a view, beyond the task's %d", v.next, m.next)
		}
		m.views = append(m.views, v)
	}
	return m, nil
}

// originHeader carries the coordinates of the original record through a repartition topic.
const originHeader = "freshet.origin"

// origin is where a repartitioned record came from. Layout of the header, little-endian:
//
//	0       version (1)
//	1       source ordinal
//	2..5    partition
//	6..13   offset
//	14..21  Kafka timestamp of the original record, milliseconds
type origin struct {
	ordinal   uint8
	partition int32
	offset    int64
	millis    int64
}

const originLen = 1 + 1 + 4 + 8 + 8

func (o origin) header() kgo.RecordHeader {
	b := make([]byte, 0, originLen)
	b = append(b, 1, o.ordinal)
	b = binary.LittleEndian.AppendUint32(b, uint32(o.partition))
	b = binary.LittleEndian.AppendUint64(b, uint64(o.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(o.millis))
	return kgo.RecordHeader{Key: originHeader, Value: b}
}

var errNoOrigin = errors.New("record of a repartition topic without a " + originHeader + " header: something other than the router writes to it")

func parseOrigin(hs []kgo.RecordHeader) (origin, error) {
	for i := len(hs) - 1; i >= 0; i-- {
		if hs[i].Key != originHeader {
			continue
		}
		b := hs[i].Value
		if len(b) != originLen || b[0] != 1 {
			return origin{}, fmt.Errorf("%s header of %d bytes is not of version 1", originHeader, len(b))
		}
		return origin{
			ordinal:   b[1],
			partition: int32(binary.LittleEndian.Uint32(b[2:])),
			offset:    int64(binary.LittleEndian.Uint64(b[6:])),
			millis:    int64(binary.LittleEndian.Uint64(b[14:])),
		}, nil
	}
	return origin{}, errNoOrigin
}
