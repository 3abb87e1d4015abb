package processors

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
	"github.com/freshet-io/freshet/internal/online"
)

func newViewState(project string, v *config.View, b boundView, expire time.Duration) *viewState {
	s := &viewState{
		project: project, view: v, layout: v.Layout, epoch: b.epoch, fp: [8]byte(b.state), bootstrap: b.bootstrap,
		entities: map[string]*entry{},
		produced: map[*entry][]feature.Cell{},
		txn:      1, unsettled: 1,
		expire: expire,
		inputs: inputs.New(v),
	}
	s.headField, s.tailField = online.Fields(v.Name, b.state)
	return s
}

// expiry returns how long Redis keeps an entity that nothing touches: long enough for every view of it, and without
// end when one of them has features that never expire.
func expiry(p *config.Plane, e *config.Entity) time.Duration {
	var longest int64
	for _, v := range p.Views {
		if v.Entity != e {
			continue
		}
		k := v.Layout.KeepFor()
		if k == 0 {
			return 0
		}
		longest = max(longest, k)
	}
	return time.Duration(longest) * time.Microsecond
}

// get returns the entity with a key, from memory, else from the store, else a new one.
func (v *viewState) get(t *task, key []byte) (*entry, error) {
	if e, ok := v.entities[string(key)]; ok {
		e.used = true
		return e, nil
	}
	e := &entry{key: string(key), tailAt: noTail, used: true}
	if err := v.load(t, e); err != nil {
		return nil, err
	}
	v.entities[e.key] = e
	v.resize(e)
	return e, nil
}

// load fills an entry from the store. It need not wait for what is on its way there: that is of entities that were in
// memory when it was handed over, and none leaves it before the store has it: evict waits, and so does whoever rolls back.
func (v *viewState) load(t *task, e *entry) error {
	v.loading = v.appendPrefix(v.loading[:0], e.keyBytes())
	return t.cells.entity(t.store, t.id, v.loading, func(key, value []byte) error {
		_, _, cell, err := feature.ParseCellKey(key[1:])
		if err == nil {
			err = v.layout.Restore(&e.Entity, cell, value)
		}
		if err != nil {
			return fmt.Errorf("local store of %s: entity %x: %w", t.name(), e.key, err)
		}
		return nil
	})
}

// appendPrefix appends what the changelog keys of all cells of an entity begin with.
func (v *viewState) appendPrefix(dst, key []byte) []byte {
	return feature.AppendEntityPrefix(append(dst, kindCell), v.fp, key)
}

// changed marks an entity as changed by the open transaction and to be published.
func (v *viewState) changed(e *entry) {
	v.markDirty(e)
	v.toPublish(e)
	v.resize(e)
}

// markDirty marks an entity as changed by the open transaction.
func (v *viewState) markDirty(e *entry) {
	if !e.dirty {
		e.dirty = true
		v.dirty = append(v.dirty, e)
	}
	if !e.unflushed {
		e.unflushed = true
		v.unflushed = append(v.unflushed, e)
	}
}

// keyBytes is the entity's key; it is not to be changed.
func (e *entry) keyBytes() []byte { return unsafe.Slice(unsafe.StringData(e.key), len(e.key)) }

func (v *viewState) toPublish(e *entry) {
	if !e.pending {
		e.pending = true
		v.added++
		v.waits += int(e.size)
		v.pending = append(v.pending, e)
	}
}

// resize keeps the account of memory.
func (v *viewState) resize(e *entry) {
	size := e.Bytes() + len(e.key) + entryOverhead
	v.bytes += size - int(e.size)
	if e.pending {
		v.waits += size - int(e.size)
	}
	e.size = int32(min(size, 1<<31-1))
}

// drop forgets an entity that is clean, or whose changes are being rolled back.
func (v *viewState) drop(e *entry) {
	if v.entities[e.key] == e {
		delete(v.entities, e.key)
		v.bytes -= int(e.size)
	}
}

// seal makes what the open transaction has changed that of the one that ends.
func (v *viewState) seal() {
	v.ending, v.dirty = v.dirty, v.ending
	for _, e := range v.ending {
		e.dirty, e.ending, e.unflushed = false, true, false
	}
	clear(v.unflushed)
	v.unflushed = v.unflushed[:0]
	clear(v.produced)
	v.txn++
}

// settle clears the marks of the transaction that has ended with a commit.
func (v *viewState) settle() {
	v.unmarkEnding()
	v.unsettled = v.txn
}

func (v *viewState) unmarkEnding() {
	for _, e := range v.ending {
		e.ending = false
	}
	clear(v.ending)
	v.ending = v.ending[:0]
}

// rollback drops what is not committed. Entities waiting to be published are looked up again.
func (v *viewState) rollback() {
	kept := v.pending[:0]
	for _, e := range v.pending {
		if e.dirty || e.ending {
			s := sought{e.key, e.since}
			if e.sinceTxn >= v.unsettled {
				s.since = 0
			}
			v.lookFor = append(v.lookFor, s)
			e.pending = false
			v.waits -= int(e.size)
			v.sent++
		} else {
			kept = append(kept, e)
		}
	}
	clear(v.pending[len(kept):])
	v.pending = kept
	for _, e := range v.ending {
		v.drop(e)
	}
	v.unmarkEnding()
	for _, e := range v.dirty {
		v.drop(e)
	}
	undone := v.unsettled
	v.seal() // empties what is dirty
	v.settle()
	v.undone, v.redone = undone, v.txn
}

// evict drops entities that were not used since the last pass, clean and published ones only, until `free` bytes are
// freed or all have been looked at. It returns what it freed. Go's map iteration starts anywhere, so that repeated passes
// treat all keys alike.
func (v *viewState) evict(free int) int {
	freed := 0
	for _, e := range v.entities {
		if freed >= free {
			break
		}
		if e.dirty || e.ending || e.pending {
			continue
		}
		if e.used {
			e.used = false
			continue
		}
		freed += int(e.size)
		v.drop(e)
	}
	return freed
}

// waiting is how many entities wait to be published.
func (v *viewState) waiting() int { return len(v.pending) + len(v.lookFor) }
