package processors

import (
	"bytes"

	"github.com/freshet-io/freshet/internal/feature"
)

// erase forgets the entity whose key a tombstone named, for a source that says so. What the store holds of it becomes
// tombstones in the changelog; what is in Redis becomes an entity without events. Only views keyed as the source is are
// reached: a tombstone says nothing of other entities.
func (t *task) erase(offset int64) error {
	for _, v := range t.views {
		if offset < t.now.views[v.index].next {
			continue // this view erased it when it first came by
		}
		if err := t.eraseFrom(v, t.keys[v.key].bytes); err != nil {
			return err
		}
	}
	return nil
}

func (t *task) eraseFrom(v *viewState, key []byte) error {
	e, err := v.get(t, key)
	if err != nil {
		return err
	}
	prefix := v.appendPrefix(nil, key)
	err = t.store.scan(t.id, prefix, nil, func(key, _ []byte) error {
		t.erased = append(t.erased, append([]byte(nil), key...))
		return nil
	})
	if err != nil {
		return err
	}
	// What this transaction has produced, and the one that ends, the store does not have.
	for _, c := range v.produced[e] {
		t.erased = append(t.erased, feature.AppendCellKey([]byte{kindCell}, v.fp, key, c))
	}
	for _, r := range t.ending {
		if r.Value != nil && bytes.HasPrefix(r.Key, prefix) {
			t.erased = append(t.erased, bytes.Clone(r.Key))
		}
	}
	delete(v.produced, e)
	e.Entity = feature.Entity{}
	e.tailAt = noTail
	v.changed(e)
	return nil
}
