package replay

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/freshet-io/freshet/internal/feature"
)

const (
	probeMark = 255 // where events have their source's ordinal
	headLen   = 16 + 8 + 1 + 4 + 8
)

// sortable is a time as records sort by it. No event time gives 0, which is that of tombstones.
func sortable(t int64) uint64 { return uint64(max(t, feature.MinTime)) ^ 1<<63 }

func unsortable(u uint64) int64 { return int64(u ^ 1<<63) }

func putWord(b []byte, u uint64) { binary.BigEndian.PutUint64(b, u) }

// appendHead appends what a record begins with, and is sorted by.
func appendHead(dst []byte, e *entity, time uint64, ordinal uint8, partition int32, offset int64) []byte {
	dst = append(dst, e[:]...)
	dst = binary.BigEndian.AppendUint64(dst, time)
	dst = append(dst, ordinal)
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition)^1<<31)
	return binary.BigEndian.AppendUint64(dst, uint64(offset)^1<<63)
}

// head is the beginning of a record.
type head struct {
	time      uint64
	ordinal   uint8
	partition int32
	offset    int64
}

func parseHead(rec []byte) head {
	return head{
		time: binary.BigEndian.Uint64(rec[16:]), ordinal: rec[24],
		partition: int32(binary.BigEndian.Uint32(rec[25:]) ^ 1<<31), offset: int64(binary.BigEndian.Uint64(rec[29:]) ^ 1<<63),
	}
}

// appendValue appends one value.
func appendValue(dst []byte, v *feature.Value) []byte {
	t := v.Type()
	dst = append(dst, byte(t))
	switch t {
	case feature.Null:
	case feature.Bool:
		dst = append(dst, byte(v.Num()))
	case feature.String, feature.Bytes:
		dst = binary.AppendUvarint(dst, uint64(len(v.Str())))
		dst = append(dst, v.Str()...)
	default:
		dst = binary.LittleEndian.AppendUint64(dst, v.Num())
	}
	return dst
}

var errRecord = errors.New("a temporary record is damaged")

// parseValue reads the value at the beginning of b, and returns the rest. Text shares b's memory.
func parseValue(b []byte, v *feature.Value) ([]byte, error) {
	if len(b) == 0 {
		return nil, errRecord
	}
	t := feature.Type(b[0])
	b = b[1:]
	switch t {
	case feature.Null:
		*v = feature.Value{}
		return b, nil
	case feature.Bool:
		if len(b) < 1 {
			return nil, errRecord
		}
		*v = feature.BoolValue(b[0] != 0)
		return b[1:], nil
	case feature.String, feature.Bytes:
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, errRecord
		}
		text := b[w : w+int(n)]
		s := unsafe.String(unsafe.SliceData(text), len(text))
		if t == feature.String {
			*v = feature.StringValue(s)
		} else {
			*v = feature.BytesValue(s)
		}
		return b[w+int(n):], nil
	case feature.Int64, feature.Float64, feature.Timestamp:
		if len(b) < 8 {
			return nil, errRecord
		}
		*v = feature.ScalarValue(t, binary.LittleEndian.Uint64(b))
		return b[8:], nil
	}
	return nil, errRecord
}
