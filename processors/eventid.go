package processors

import (
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// eventIDs remembers the ids of events that a task has counted. They are part of its state: in the changelog, rolled
// back with it, and forgotten when stream time has passed an id's event time by more than the source's horizon.
type eventIDs struct {
	field   int
	horizon int64
	fresh   map[string]seenID // by changelog key, of the open transaction
	ending  map[string]seenID // of the one that ends; empty if none does
	settled map[string]seenID // of the last one that was committed: they may still be on their way into the store
	key     []byte
}

func newEventIDs(s *config.Source) *eventIDs {
	return &eventIDs{field: s.EventID, horizon: s.EventIDHorizon.Microseconds(), fresh: map[string]seenID{}, ending: map[string]seenID{}, settled: map[string]seenID{}}
}

// seal makes the open transaction the one that ends; there is no other.
func (d *eventIDs) seal() { d.ending, d.fresh = d.fresh, d.ending }

// commit takes the ids of the transaction that ends as committed. The ones before them are in the store by then.
func (d *eventIDs) commit() {
	d.settled, d.ending = d.ending, d.settled
	clear(d.ending)
}

func (d *eventIDs) rollback() {
	clear(d.fresh)
	clear(d.ending)
}

// A seenID is the value under a remembered event id. Layout, little-endian: event time (8), partition (4) and offset (8)
// of the original record that was counted: read again for a view that was added later, it is not its own duplicate.
type seenID struct {
	at        int64
	partition int32
	offset    int64
}

const seenIDLen = 8 + 4 + 8

func (s seenID) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.at))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.partition))
	return binary.LittleEndian.AppendUint64(dst, uint64(s.offset))
}

func parseSeenID(b []byte) (s seenID, ok bool) {
	if len(b) != seenIDLen {
		return s, false
	}
	return seenID{
		at: int64(binary.LittleEndian.Uint64(b)), partition: int32(binary.LittleEndian.Uint32(b[8:])), offset: int64(binary.LittleEndian.Uint64(b[12:])),
	}, true
}

// expired reports whether an id with an event time is past the horizon. It is judged by stream time, so that it does
// not matter when the sweep comes by.
func (d *eventIDs) expired(at, streamTime int64) bool {
	return streamTime > at && streamTime-at > d.horizon
}

// seenBefore reports whether the row's event id has been counted, and remembers it if not. A null id is not remembered.
func (t *task) seenBefore(order *feature.Order) (bool, error) {
	d := t.ids
	id := &t.row[d.field]
	if id.IsNull() {
		return false, nil
	}
	var err error
	if d.key, err = feature.AppendKey(append(d.key[:0], kindEventID), *id); err != nil {
		return false, fmt.Errorf("event id of offset %d: %w", order.Offset, err)
	}
	was, seen := d.fresh[string(d.key)]
	if !seen {
		was, seen = d.ending[string(d.key)]
	}
	if !seen {
		was, seen = d.settled[string(d.key)]
	}
	if !seen {
		v, err := t.store.getNow(t.id, d.key)
		if err != nil {
			return false, err
		}
		was, seen = parseSeenID(v)
	}
	if seen && was.partition == order.Partition && was.offset == order.Offset {
		return false, nil
	}
	if seen && !d.expired(was.at, t.now.streamTime) {
		return true, nil
	}
	d.fresh[string(d.key)] = seenID{order.Time, order.Partition, order.Offset}
	return false, nil
}
