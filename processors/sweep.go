package processors

import (
	"bytes"
	"context"
	"errors"

	"github.com/freshet-io/freshet/internal/feature"
)

// sweepKeys is how many keys of a task's store one transaction looks at. A store is walked round and round, so that
// tiles of entities that nothing touches any more, and forgotten event ids, leave it in time.
const sweepKeys = 512

// sweep adds deletions of dead cells and event ids to the open transaction, before its changes are flushed. What is dead is judged by stream time alone;
// when it is deleted changes no result.
func (m *materializer) sweep(ctx context.Context, t *task, p *txnPart) {
	seen := 0
	var last []byte
	err := t.store.scan(t.id, nil, t.swept, func(key, value []byte) error {
		if seen++; seen > sweepKeys {
			last = append([]byte(nil), key...)
			return errStop
		}
		if t.isDead(key, value) {
			m.txn.add(ctx, m.sess, p, key, nil)
			m.met.sweptCells.Inc()
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		m.logger.Warn("sweep of the local store failed", "task", t.name(), "err", err)
	}
	t.swept = last
}

// isDead reports whether a stored key has nothing to say any more and no entity in memory is ahead of it.
func (t *task) isDead(key, value []byte) bool {
	switch key[0] {
	case kindEventID:
		id, ok := parseSeenID(value)
		return ok && t.ids != nil && t.ids.expired(id.at, t.now.streamTime)
	case kindCell:
		fp, entity, cell, err := feature.ParseCellKey(key[1:])
		if err != nil {
			return false
		}
		for _, v := range t.views {
			if !bytes.Equal(v.fp[:], fp[:]) {
				continue
			}
			if e, ok := v.entities[string(entity)]; ok {
				// In memory: the entity itself says when its tiles are trimmed, and its changes must not be overtaken.
				if !e.dirty {
					v.layout.Trim(&e.Entity, t.now.streamTime)
					if v.layout.Dirty(&e.Entity) {
						v.markDirty(e)
					}
				}
				return false
			}
			return v.layout.ExpiredCell(cell, value, t.now.streamTime)
		}
	}
	return false
}
