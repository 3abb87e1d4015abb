package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// storeComparer orders keys as bytes. What it adds is where the key of a cell divides: what all cells of an entity share
// is the prefix, so that a table's filter knows the entities that it has cells of, and an entity that the store does not
// know costs no table a read.
var storeComparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "freshet.cells.1"
	c.Split = splitCell
	c.ImmediateSuccessor = nextPrefix
	return &c
}()

// cellLength is where the key of a cell has the length of the entity key: after 'd', task id, kindCell, format and view. The entity key,
// hop and start follow.
const cellLength = 1 + 4 + 1 + 1 + 8

// splitCell returns how long the prefix of a key is: for a cell the part that names the entity, for others, and for parts
// of keys, all of it. No prefix begins with another one that has a suffix, for the length stands before the entity key:
// so bytes order prefixes first and suffixes after them.
func splitCell(key []byte) int {
	if len(key) <= cellLength || key[0] != 'd' || key[5] != kindCell {
		return len(key)
	}
	n, w := binary.Uvarint(key[cellLength:])
	if w <= 0 || n > uint64(len(key)) {
		return len(key)
	}
	return min(cellLength+w+int(n), len(key))
}

// nextPrefix appends the first prefix after a. What follows a whole prefix of cells is their suffixes.
func nextPrefix(dst, a []byte) []byte {
	next := append(append(dst, a...), 0)
	if splitCell(next[len(dst):]) == len(a) {
		return append(dst, upperBound(a)...)
	}
	return next
}

// storeDir is where a store is in a state directory; it is named by the comparer, which a database cannot change.
func storeDir(dir string) string { return filepath.Join(dir, "cells.1") }

// removeFormer deletes a store of an earlier form. All that it has is restored from the changelog.
func removeFormer(fs vfs.FS, dir string) error {
	former := filepath.Join(dir, "state")
	if _, err := fs.Stat(former); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := pebble.LockDirectory(former, fs)
	if err != nil {
		return fmt.Errorf("remove the local store of an earlier version in %s (is an instance of that version using it?): %w", dir, err)
	}
	if err := errors.Join(fs.RemoveAll(former), lock.Close()); err != nil {
		return fmt.Errorf("remove the local store of an earlier version in %s: %w", dir, err)
	}
	return nil
}

// A cellReader reads the cells of entities out of one store. Held, it keeps the view of the store that the first read
// saw, which spares most of the price of a read. That is right until an entity leaves memory which the store got later: tasks
// hold theirs while they take events up, and let go of it before entities leave memory, and when they end.
type cellReader struct {
	it   *pebble.Iterator
	key  []byte
	held bool
}

// hold keeps the view of the store until release.
func (r *cellReader) hold() { r.held = true }

// release lets go of the view, which has to be done before the store is closed.
func (r *cellReader) release() {
	r.held = false
	if r.it != nil {
		_ = r.it.Close() // its error is that of the last read, which has told it
		r.it = nil
	}
}

// entity calls fn for the cells of an entity of a task, whose keys begin with prefix, in order. It does not wait for the
// batch on its way, which must not have any. The slices are valid during the call.
func (r *cellReader) entity(s *store, id uint32, prefix []byte, fn func(key, value []byte) error) (err error) {
	if r.it == nil {
		if r.it, err = s.db.NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
			return fmt.Errorf("read the local store: %w", err)
		}
	}
	if !r.held {
		defer r.release()
	}
	r.key = appendData(r.key[:0], id, prefix)
	for ok := r.it.SeekPrefixGE(r.key); ok; ok = r.it.Next() {
		v, err := r.it.ValueAndErr()
		if err == nil {
			err = fn(r.it.Key()[5:], v)
		}
		if err != nil {
			return err
		}
	}
	if err := r.it.Error(); err != nil {
		return fmt.Errorf("read the local store: %w", err)
	}
	return nil
}
