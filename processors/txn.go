package processors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// txnRecords are the changelog records of the open transaction, kept so that the store can be given the very same bytes
// once the transaction has committed (R4). Its memory is used again for the next one.
type txnRecords struct {
	slabs [][]kgo.Record
	taken int // slabs that records are of
	used  int // records of the last of them
	arena []byte
	parts []txnPart
	of    map[*task]int // into parts
	outcome
}

// txnPart is what one task contributed: its changelog records, and where its meta record ended up.
type txnPart struct {
	t      *task
	recs   []*kgo.Record
	metaAt int64 // changelog offset of the meta record, set by its promise before End returns
	meta   meta
}

// What is kept of a transaction's memory for the next one: the garbage of larger ones costs little beside what they do.
const (
	slabSize  = 1024
	keptSlabs = 64
	keptArena = 16 << 20
	keptRecs  = 16 << 10 // of each part
)

// reset forgets a transaction whose outcome is known. The client has let go of its records: see outcome.wait.
func (x *txnRecords) reset() {
	for _, s := range x.slabs[:x.taken] {
		clear(s)
	}
	x.slabs = slices.Delete(x.slabs, min(len(x.slabs), keptSlabs), len(x.slabs))
	x.taken, x.used = 0, 0
	if x.arena = x.arena[:0]; cap(x.arena) > keptArena {
		x.arena = make([]byte, 0, keptArena)
	}
	for i := range x.parts {
		p := &x.parts[i]
		clear(p.recs)
		if p.recs = p.recs[:0]; cap(p.recs) > keptRecs {
			p.recs = nil
		}
		*p = txnPart{recs: p.recs}
	}
	x.parts = x.parts[:0]
	clear(x.of)
	x.outcome.reset()
}

// record returns a fresh record that lives until reset.
func (x *txnRecords) record() *kgo.Record {
	if x.taken == 0 || x.used == slabSize {
		if x.taken == len(x.slabs) {
			x.slabs = append(x.slabs, make([]kgo.Record, slabSize))
		}
		x.taken++
		x.used = 0
	}
	r := &x.slabs[x.taken-1][x.used]
	x.used++
	return r
}

// storeBytes is about how much a batch for the local store takes that has all of it.
func (x *txnRecords) storeBytes() int {
	const ofRecord, ofPart = 16, 256 // the task's prefix and lengths; a position
	return len(x.arena) + x.taken*slabSize*ofRecord + len(x.parts)*ofPart
}

// begin starts a changelog record of a part; its key is what the caller appends to the arena before finish.
func (x *txnRecords) begin() (keyStart int) { return len(x.arena) }

// finish produces the record whose key was begun at keyStart, with a copy of value, or as a deletion when it is nil.
func (x *txnRecords) finish(ctx context.Context, s *session, p *txnPart, keyStart int, value []byte) {
	r := x.record()
	r.Key = x.arena[keyStart:len(x.arena):len(x.arena)]
	if value != nil {
		start := len(x.arena)
		x.arena = append(x.arena, value...)
		r.Value = x.arena[start:len(x.arena):len(x.arena)]
	}
	r.Topic, r.Partition = p.t.in.changelog, p.t.partition
	p.recs = append(p.recs, r)
	x.produce(ctx, s, r)
}

// add produces one changelog record of a part; key and value are copied.
func (x *txnRecords) add(ctx context.Context, s *session, p *txnPart, key, value []byte) {
	start := x.begin()
	x.arena = append(x.arena, key...)
	x.finish(ctx, s, p, start, value)
}

// part returns what a task contributes. The pointer is valid until another task's part is asked for.
func (x *txnRecords) part(t *task) *txnPart {
	i, ok := x.of[t]
	if !ok {
		if x.of == nil {
			x.of = map[*task]int{}
		}
		i = len(x.parts)
		x.of[t] = i
		if i < cap(x.parts) {
			x.parts = x.parts[:i+1] // with the memory of an earlier part's records
		} else {
			x.parts = append(x.parts, txnPart{})
		}
		x.parts[i].t, x.parts[i].metaAt = t, -1
	}
	return &x.parts[i]
}

// produceMetas produces the meta record of each part, after all its other records.
func (x *txnRecords) produceMetas(ctx context.Context, s *session) {
	// The parts do not move any more: promises may point at them.
	for i := range x.parts {
		p := &x.parts[i]
		r := x.record()
		r.Topic, r.Partition = p.t.in.changelog, p.t.partition
		r.Key, r.Value = []byte{kindMeta}, p.meta.append(nil)
		p.recs = append(p.recs, r)
		x.produceThen(ctx, s, r, func(r *kgo.Record, err error) {
			p.metaAt = r.Offset
			x.produced(r, err)
		})
	}
}

// stored adds what has been committed to a batch, with the positions that it brings the tasks to.
func (x *txnRecords) stored(b *storeBatch, now time.Time) error {
	for i := range x.parts {
		p := &x.parts[i]
		if err := b.addRecords(p.t.id, p.recs); err != nil {
			return err
		}
		if p.metaAt >= 0 { // else the broker did not say; a later commit does
			p.t.pos.offset = p.metaAt + 1
		}
		p.t.pos.at = now.Unix()
		if err := b.position(p.t.in.topic, p.t.partition, p.t.id, p.t.pos); err != nil {
			return fmt.Errorf("write the local store: %w", err)
		}
	}
	return nil
}
