package processors

import (
	"errors"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// onlineState is what a task knows of its entities in the online store.
type onlineState struct {
	checked   bool      // the canaries have been looked at: only then may the task publish
	began     time.Time // when the task came into service
	next      int64     // the input offset as of which everything has been published and acknowledged; -1 before that
	refusedAt time.Time // the first refusal since the last committed transaction that nothing explains
	refusals  int
	republish republishing
	lastFull  time.Time       // when everything was last published
	want      feature.Version // what must have been published when the task came into service
	vouch     []online.Node   // whose entities have all been published again; for the canaries
	resending bool            // of the batch being answered, something is to be sent again
}

// published takes up that everything up to an input offset has been acknowledged.
func (o *onlineState) published(next int64) {
	o.next = max(o.next, next)
	o.refusals, o.refusedAt = 0, time.Time{}
}

// refused counts writes that met a newer version. That is how a worker that lost its partition finds out; one that
// still owns it after its next commits has a problem, which readiness reports.
func (o *onlineState) refused(now time.Time) {
	if o.refusals == 0 {
		o.refusedAt = now
	}
	o.refusals++
}

// republishing walks over everything that a task holds and has it published again: first what is in memory, which is
// what changed last, then the rest from the store, a little at a time.
type republishing struct {
	active bool
	round  bool        // nothing is known to be missing: processing is not to pause for it
	memory []heldEntry // of a round: what was in memory when it began and has not been taken up
	done   func()
	owns   func(key []byte) bool // of Redis keys: those that are to be published again; nil for all
	from   []byte                // where the walk over the store goes on; nil at its beginning
	walked bool                  // the walk is over; what it found may still wait
	// target is, for each view, how many entities will have been sent when all that the walk found have been; nil when
	// it is to be taken anew, because some are waiting to be sent again.
	target []uint64
}

// A heldEntry names an entity that was in memory. One that has left since is in the store.
type heldEntry struct {
	v   *viewState
	key string
}

// republishChunk bounds what one step adds to what waits, republishSeen how many cells of the store it looks at, and
// republishRoom how much may wait for more to be added.
const (
	republishChunk = 1000
	republishSeen  = 20_000
	republishRoom  = 4000
)

// startRepublish begins to publish again everything whose Redis key owns says (nil: all); done is called when all of
// it has been acknowledged.
func (t *task) startRepublish(owns func(key []byte) bool, done func()) {
	t.online.republish = republishing{active: true, owns: owns, done: done}
	again := 0
	for _, v := range t.views {
		for _, e := range v.entities {
			if v.owned(owns, e.keyBytes()) {
				e.resend = true
				v.toPublish(e)
				again++
			}
		}
	}
	t.met.republished.Add(float64(again))
}

// startRound begins to publish everything again though nothing is known to be missing. Unlike what has been lost, what is in memory
// is taken up a little at a time too: all of it at once would be as much as processing pauses for.
func (t *task) startRound() {
	r := republishing{active: true, round: true}
	for _, v := range t.views {
		for key := range v.entities {
			r.memory = append(r.memory, heldEntry{v, key})
		}
	}
	t.online.republish = r
}

// continueMemory takes up entities of a round that are still in memory, as many and as large together as there is room for. It returns
// how many.
func (r *republishing) continueMemory(entities int, bytes int64) (added int) {
	for len(r.memory) > 0 && added < entities && bytes > 0 {
		last := len(r.memory) - 1
		held := r.memory[last]
		r.memory = r.memory[:last]
		if e, ok := held.v.entities[held.key]; ok {
			e.resend = true
			held.v.toPublish(e)
			bytes -= int64(e.size)
			added++
		}
	}
	return added
}

// roomForRounds is how many entities, and how many bytes of them, rounds may add to what waits: half of what processing pauses for is
// left to events. It is more than nothing when nothing waits.
func (m *materializer) roomForRounds() (entities int, bytes int64) {
	n, held := m.waiting(), m.waitingBytes()
	entities = m.plane.Processing.MaxPendingWrites/2 - n
	bytes = m.plane.Processing.StateCacheBytes/2 - held
	if n == 0 {
		return max(entities, 1), max(bytes, 1)
	}
	return entities, bytes
}

// continueRepublishing goes on with what the running tasks publish again.
func (m *materializer) continueRepublishing() error {
	for _, t := range m.running {
		r := &t.online.republish
		if !r.active || t.waiting() > republishRoom {
			continue
		}
		limit := republishChunk
		if r.round {
			entities, bytes := m.roomForRounds()
			if limit = min(limit, entities); bytes <= 0 {
				limit = 0
			}
			if len(r.memory) > 0 {
				m.met.republished.Add(float64(r.continueMemory(limit, bytes)))
				continue
			}
		}
		n, err := t.continueRepublish(limit, m.pub.sending)
		if err != nil {
			return err
		}
		m.met.republished.Add(float64(n))
	}
	return nil
}

// owned reports whether an entity is among those that owns says.
func (v *viewState) owned(owns func(key []byte) bool, entity []byte) bool {
	return owns == nil || owns(online.AppendKey(nil, v.project, v.view.Entity.Name, entity))
}

// continueRepublish adds the next entities of the store, up to limit, or finds that all have been acknowledged; sending says
// whether a batch is on its way. It returns how many were added.
func (t *task) continueRepublish(limit int, sending bool) (int, error) {
	r := &t.online.republish
	if r.walked {
		if !sending && t.republished() {
			r.active = false
			if r.done != nil {
				r.done()
			}
		}
		return 0, nil
	}
	if limit <= 0 {
		return 0, nil
	}
	added, seen := 0, 0
	var next []byte
	lastView, lastKey := -1, ""
	err := t.store.scan(t.id, []byte{kindCell}, r.from, func(key, _ []byte) error {
		fp, entity, _, err := feature.ParseCellKey(key[1:])
		if err != nil {
			return err
		}
		seen++
		i := t.viewOf(fp)
		if i >= 0 && i == lastView && string(entity) == lastKey {
			return nil
		}
		if added >= limit || seen > republishSeen {
			next = append([]byte(nil), key...)
			return errStop
		}
		if i < 0 {
			return nil // of a view that is not defined now
		}
		lastView, lastKey = i, string(entity)
		if _, ok := t.views[i].entities[lastKey]; !ok && t.views[i].owned(r.owns, entity) {
			t.views[i].lookFor = append(t.views[i].lookFor, sought{key: lastKey})
			added++
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return added, err
	}
	r.from, r.walked = next, next == nil
	return added, nil
}

// republished reports whether everything that the walk found has been sent and acknowledged. Entities are sent in the
// order in which they began to wait, so counting them is enough.
func (t *task) republished() bool {
	r := &t.online.republish
	for _, v := range t.views {
		if len(v.lookFor) > 0 {
			return false
		}
	}
	if r.target == nil {
		for _, v := range t.views {
			r.target = append(r.target, v.added)
		}
	}
	for i, v := range t.views {
		if v.sent < r.target[i] {
			return false
		}
	}
	return true
}

// viewOf returns the index of the view with a fingerprint, -1 for one that is not of this task any more.
func (t *task) viewOf(fp [8]byte) int {
	for i, v := range t.views {
		if v.fp == fp {
			return i
		}
	}
	return -1
}

func (t *task) waiting() int {
	n := 0
	for _, v := range t.views {
		n += v.waiting()
	}
	return n
}
