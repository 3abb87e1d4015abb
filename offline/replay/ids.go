package replay

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/spill"
)

// A record of the sorter of event ids: the hash of entity and id (16), then the place in the order of arrival: source
// ordinal (1), time stamp (8, 0 where offsets are the order), partition (4), offset (8); then 1 if the event is accepted,
// the event time (8), and the record of the event.
const (
	idPartition = 16 + 1 + 8
	idFlag      = idPartition + 4 + 8
	idTime      = idFlag + 1
	idEvent     = idTime + 8
)

// addID hands the record of an event to the sorter of ids.
func (ld *loader) addID(e *entity, m *offline.Meta, accepted bool) error {
	l := ld.l
	var err error
	if ld.key, err = feature.AppendKey(append(ld.key[:0], e[:]...), ld.row[l.id]); err != nil {
		// An id that is no key is no id to the processors either: they stop at it. It counts as it is.
		if accepted {
			return ld.events.Add(bucketOf(e[:], l.sorter.Buckets()), ld.rec)
		}
		return nil
	}
	id := l.hash(ld.key)
	var stamp uint64
	if !l.q.Direct {
		stamp = sortable(m.Arrived)
	}
	b := append(append(ld.idRec[:0], id[:]...), m.Ordinal)
	b = binary.BigEndian.AppendUint64(b, stamp)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Partition)^1<<31)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Offset)^1<<63)
	flag := byte(0)
	if accepted {
		flag = 1
	}
	b = binary.LittleEndian.AppendUint64(append(b, flag), uint64(m.Time))
	ld.idRec = append(b, ld.rec...)
	return ld.ids.Add(bucketOf(id[:], l.ids.Buckets()), ld.idRec)
}

// counted is the event of an id that counts.
type counted struct {
	id        []byte
	at        int64
	ordinal   uint8
	partition int32
	offset    int64
}

// dropDuplicates hands on the events that are not duplicates by their ids, in the order of arrival for each id.
func (l *Log) dropDuplicates(ctx context.Context) error {
	l.clocks.complete()
	readers := make([]*spill.Reader, l.o.Workers)
	writers := make([]*spill.Writer, l.o.Workers)
	for i := range readers {
		readers[i], writers[i] = l.ids.Reader(), l.sorter.Writer()
	}
	err := l.parallel(ctx, l.ids.Buckets(), func(worker, bucket int) error {
		r := readers[worker]
		if err := r.Open(bucket); err != nil {
			return err
		}
		var last counted
		for {
			rec, err := r.Next()
			if err != nil || rec == nil {
				return err
			}
			if len(rec) < idEvent {
				return errRecord
			}
			if !l.counts(&last, rec) || rec[idFlag] == 0 {
				continue
			}
			if err := writers[worker].Add(bucketOf(rec[idEvent:], l.sorter.Buckets()), rec[idEvent:]); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			return err
		}
	}
	return l.ids.Close()
}

// counts reports whether an event counts after the last one of its id that did, and notes it if so.
func (l *Log) counts(last *counted, rec []byte) bool {
	now := counted{
		id: rec[:16], at: int64(binary.LittleEndian.Uint64(rec[idTime:])), ordinal: rec[16],
		partition: int32(binary.BigEndian.Uint32(rec[idPartition:]) ^ 1<<31),
		offset:    int64(binary.BigEndian.Uint64(rec[idPartition+4:]) ^ 1<<63),
	}
	if bytes.Equal(last.id, now.id) {
		if last.ordinal == now.ordinal && last.partition == now.partition && last.offset == now.offset {
			return false // the same row again
		}
		streamTime := feature.NoTime
		if now.ordinal != 0 {
			streamTime = l.clocks.before(now.partition, now.offset)
		}
		horizon := l.q.Table.Source.EventIDHorizon.Microseconds()
		if streamTime <= last.at || streamTime-last.at <= horizon {
			return false
		}
	}
	now.id = append(last.id[:0], now.id...)
	*last = now
	return true
}
