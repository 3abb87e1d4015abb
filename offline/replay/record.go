package replay

import (
	"encoding/binary"
	"errors"

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

var errRecord = errors.New("a temporary record is damaged")
