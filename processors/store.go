package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
)

// store is the local copy of the changelogs of this instance's tasks: a Pebble database whose every batch holds changes
// of a committed prefix of a changelog together with the position of that prefix (R4). It writes no log of its own: what
// a crash loses is a newest part, and restoring brings it back.
//
// Keys:
//
//	't' | topic | 0 | partition (big-endian u32)   → task id (big-endian u32) and position record
//	'd' | task id | changelog key                  → changelog value
type store struct {
	db     *pebble.DB
	failed atomic.Pointer[storeTrouble] // the last failure to write a file

	mu struct {
		sync.Mutex
		next uint32 // the next task id
	}

	// The batch on its way into the database. What may read something of it waits; see cellReader.entity.
	later struct {
		sync.Mutex
		done chan struct{} // nil: there is none
		err  error         // of any; the store is of no more use
	}
}

// position says which prefix of a task's changelog the store holds.
type position struct {
	topicID [16]byte // of the changelog topic
	offset  int64    // the next changelog offset
	at      int64    // wall clock seconds when the store was last known to be current
}

const positionLen = 4 + 16 + 8 + 8

// memTableBytes is how much is written before it becomes a table. A batch of half of it, which the database counts a record of
// at about twice its bytes, becomes a table by itself: a commit each second that did would have compactions rewrite everything all the
// time. The database takes its unwritten tables' memory out of the cache's: without room for them beside it, the cache would be
// there only between them.
const memTableBytes = 32 << 20

// openStore opens or makes the database in dir. One process holds it at a time.
func openStore(dir string, cacheBytes int64, logger *slog.Logger) (*store, error) {
	return openStoreOn(vfs.Default, dir, cacheBytes, logger)
}

func openStoreOn(fs vfs.FS, dir string, cacheBytes int64, logger *slog.Logger) (opened *store, err error) {
	defer func() {
		// A disk that takes nothing is fatal to a database that is being made. To a process that begins it is an error.
		switch r := recover().(type) {
		case nil:
		case runtime.Error:
			panic(r)
		case error: // the database's own, or what its logger was told is fatal
			opened, err = nil, fmt.Errorf("open the local store in %s (is the disk full?): %w", dir, r)
		default:
			panic(r)
		}
	}()
	cache := pebble.NewCache(cacheBytes + 2*memTableBytes)
	defer cache.Unref()
	s, log := &store{}, &pebbleLogger{l: logger}
	opts := &pebble.Options{
		FS:                          fs,
		Comparer:                    storeComparer,
		Cache:                       cache,
		DisableWAL:                  true,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		// The same cells are written again and again: the longer a cell stays above the base level, the more of its
		// versions are dropped without having been merged downwards.
		L0CompactionThreshold: 32, // which counts each table over another twice
		L0StopWritesThreshold: 64,
		LBaseMaxBytes:         512 << 20,
		Logger:                log,
		// The last one whose tables are of rows: columns cost a fifth more to write of keys this short (BenchmarkWriteEntities).
		// A database that has them already goes on with them.
		FormatMajorVersion: pebble.FormatFlushableIngestExcises,
	}
	// Cells of an entity are no versions of one value: all of them are read together, so their values stand beside them.
	opts.Experimental.SpanPolicyFunc = func([]byte) (policy pebble.SpanPolicy, end []byte, err error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true, ValueStoragePolicy: pebble.ValueStorageLowReadLatency}, nil, nil
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 8 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].FilterType = pebble.TableFilter
		if i < 5 {
			// What is soon rewritten is not worth compressing.
			opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		}
	}
	if err := removeFormer(fs, dir); err != nil {
		return nil, err
	}
	opts.EventListener = &pebble.EventListener{BackgroundError: func(err error) {
		s.trouble(err)
		log.Errorf("cannot be written, is tried again: %v", err)
	}}
	db, err := pebble.Open(storeDir(dir), opts)
	if err != nil {
		return nil, fmt.Errorf("open the local store in %s (is another instance using it? every instance needs its own state_dir): %w", dir, err)
	}
	s.db = db
	if err := s.loadNextID(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *store) loadNextID() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'t'}, UpperBound: []byte{'u'}})
	if err != nil {
		return fmt.Errorf("read the local store: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if v := it.Value(); len(v) == positionLen {
			s.mu.next = max(s.mu.next, binary.BigEndian.Uint32(v)+1)
		}
	}
	return it.Close()
}

// trouble notes that the database could not write a file. It goes on trying, and holding what it could not write.
func (s *store) trouble(err error) { s.failed.Store(&storeTrouble{time.Now(), err}) }

type storeTrouble struct {
	at  time.Time
	err error
}

// troubleLasts is how long after a failure to write the store counts as failing: Pebble tries again many times a second.
const troubleLasts = 10 * time.Second

// ready reports why the store cannot write.
func (s *store) ready() error {
	if f := s.failed.Load(); f != nil && time.Since(f.at) < troubleLasts {
		return fmt.Errorf("the local store cannot be written: %w", f.err)
	}
	return nil
}

// closeWithin bounds closing: on a disk that takes nothing it would never end.
const closeWithin = 10 * time.Second

// close flushes what is in memory, so that the next start restores nothing, and closes the database. A store that cannot
// be written is left as it is: what it lacks is restored from the changelog.
func (s *store) close() error {
	if err := s.ready(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(s.wait(), s.db.Flush(), s.db.Close()) }()
	select {
	case err := <-done:
		return err
	case <-time.After(closeWithin):
		return errors.Join(fmt.Errorf("the local store was not closed within %s", closeWithin), s.ready())
	}
}

func taskKey(topic string, partition int32) []byte {
	k := append([]byte{'t'}, topic...)
	return binary.BigEndian.AppendUint32(append(k, 0), uint32(partition))
}

// task returns the id and the position of a task, making it when it is new.
func (s *store) task(topic string, partition int32) (id uint32, pos position, err error) {
	if err := s.wait(); err != nil {
		return 0, pos, err
	}
	v, closer, err := s.db.Get(taskKey(topic, partition))
	switch {
	case err == nil:
		defer closer.Close()
		if len(v) != positionLen {
			return 0, pos, fmt.Errorf("local store: position of %s has %d bytes", taskName(topic, partition), len(v))
		}
		id = binary.BigEndian.Uint32(v)
		copy(pos.topicID[:], v[4:])
		pos.offset = int64(binary.BigEndian.Uint64(v[20:]))
		pos.at = int64(binary.BigEndian.Uint64(v[28:]))
		return id, pos, nil
	case errors.Is(err, pebble.ErrNotFound):
		s.mu.Lock()
		defer s.mu.Unlock()
		id = s.mu.next
		s.mu.next++
		return id, pos, nil
	}
	return 0, pos, fmt.Errorf("local store: %w", err)
}

func appendPosition(dst []byte, id uint32, pos position) []byte {
	dst = binary.BigEndian.AppendUint32(dst, id)
	dst = append(dst, pos.topicID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(pos.offset))
	return binary.BigEndian.AppendUint64(dst, uint64(pos.at))
}

func appendData(dst []byte, id uint32, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, 'd'), id)
	return append(dst, key...)
}

// wipe forgets all of a task.
func (s *store) wipe(topic string, partition int32, id uint32) error {
	if err := s.wait(); err != nil {
		return err
	}
	b := s.db.NewBatch()
	err := errors.Join(
		b.DeleteRange(appendData(nil, id, nil), appendData(nil, id+1, nil), nil),
		b.Delete(taskKey(topic, partition), nil),
		b.Commit(pebble.NoSync),
	)
	if err != nil {
		return fmt.Errorf("wipe the local store of %s: %w", taskName(topic, partition), err)
	}
	return nil
}

// A storeBatch collects committed changes of several tasks; commit makes them visible at once.
type storeBatch struct {
	b   *pebble.Batch
	key []byte
}

func (s *store) batch(sizeHint int) *storeBatch {
	return &storeBatch{b: s.db.NewBatchWithSize(sizeHint)}
}

// put adds one changelog record of task id; a nil value deletes.
func (sb *storeBatch) put(id uint32, key, value []byte) error {
	sb.key = appendData(sb.key[:0], id, key)
	if value == nil {
		return sb.b.Delete(sb.key, nil)
	}
	return sb.b.Set(sb.key, value, nil)
}

// position adds the position that the changes of a task bring it to.
func (sb *storeBatch) position(topic string, partition int32, id uint32, pos position) error {
	sb.key = appendPosition(sb.key[:0], id, pos)
	return sb.b.Set(taskKey(topic, partition), sb.key, nil)
}

func (sb *storeBatch) commit() error {
	if err := sb.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write the local store: %w", err)
	}
	return sb.b.Close()
}

// commitLater commits the batch in a goroutine of its own, when the one before it has been, and calls written after it.
// The error is an earlier batch's.
func (s *store) commitLater(sb *storeBatch, written func()) error {
	if err := s.wait(); err != nil {
		sb.discard()
		return err
	}
	done := make(chan struct{})
	s.later.Lock()
	s.later.done = done
	s.later.Unlock()
	go func() {
		defer close(done)
		err := sb.commit()
		s.later.Lock()
		s.later.done, s.later.err = nil, err
		s.later.Unlock()
		written()
	}()
	return nil
}

// wait returns when no batch is on its way.
func (s *store) wait() error {
	s.later.Lock()
	done, err := s.later.done, s.later.err
	s.later.Unlock()
	if done == nil {
		return err
	}
	<-done
	s.later.Lock()
	defer s.later.Unlock()
	return s.later.err
}

func (sb *storeBatch) discard() { _ = sb.b.Close() }

// get returns the value of one key of a task, nil when there is none. The value is the caller's.
func (s *store) get(id uint32, key []byte) ([]byte, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	return s.getNow(id, key)
}

// getNow is get for a key that the batch on its way does not have.
func (s *store) getNow(id uint32, key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(appendData(nil, id, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the local store: %w", err)
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

// errStop ends a scan early without an error.
var errStop = errors.New("stop")

// scan calls fn for the keys of a task that start with prefix and are at or after from (nil: all), in order. The slices
// are valid during the call. fn may return errStop.
func (s *store) scan(id uint32, prefix, from []byte, fn func(key, value []byte) error) error {
	if err := s.wait(); err != nil {
		return err
	}
	lower := appendData(nil, id, prefix)
	opts := &pebble.IterOptions{LowerBound: lower, UpperBound: upperBound(lower)}
	if from != nil {
		opts.LowerBound = appendData(nil, id, from)
	}
	it, err := s.db.NewIter(opts)
	if err != nil {
		return fmt.Errorf("scan the local store: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = fn(it.Key()[5:], v)
		}
		if errors.Is(err, errStop) {
			break
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("scan the local store: %w", err)
	}
	return nil
}

// upperBound returns the first key after all that start with prefix.
func upperBound(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// addRecords puts changelog records of a task into a batch, for a commit and for a restore alike.
func (sb *storeBatch) addRecords(id uint32, recs []*kgo.Record) error {
	for _, r := range recs {
		if err := sb.put(id, r.Key, r.Value); err != nil {
			return fmt.Errorf("write the local store: %w", err)
		}
	}
	return nil
}

// fresh reports why a store at pos may not be continued from: another topic, a position outside the log, or too long
// ago for the tombstones written since to be certain to be there still. An empty string means that it may.
func (pos position) stale(topicID [16]byte, start, end int64, now time.Time, horizon time.Duration) string {
	switch {
	case pos.topicID != topicID:
		return "the changelog topic is another one"
	case pos.offset < start || pos.offset > end:
		return fmt.Sprintf("position %d is outside the changelog [%d, %d]", pos.offset, start, end)
	case now.Sub(time.Unix(pos.at, 0)) > horizon:
		return "it was last current at " + time.Unix(pos.at, 0).UTC().Format(time.RFC3339)
	}
	return ""
}

// pebbleLogger passes Pebble's messages on: what it says at info level is of interest only when debugging. On a full disk
// it tries, and complains, a hundred times a second.
type pebbleLogger struct {
	l  *slog.Logger
	mu struct {
		sync.Mutex
		complained time.Time
	}
}

// complainEvery is how often an error of Pebble's is logged.
const complainEvery = 10 * time.Second

func (p *pebbleLogger) Infof(format string, args ...any) {
	p.l.Debug("local store: " + fmt.Sprintf(format, args...))
}

func (p *pebbleLogger) Errorf(format string, args ...any) {
	p.mu.Lock()
	soon := time.Since(p.mu.complained) < complainEvery
	if !soon {
		p.mu.complained = time.Now()
	}
	p.mu.Unlock()
	if !soon {
		p.l.Error("local store: " + fmt.Sprintf(format, args...))
	}
}

func (p *pebbleLogger) Fatalf(format string, args ...any) {
	fatal := fatalStoreError{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			fatal.cause = err
		}
	}
	p.l.Error("local store: " + fatal.text)
	panic(fatal)
}

// A fatalStoreError is what a database panics with that cannot go on.
type fatalStoreError struct {
	text  string
	cause error // nil if the database did not say
}

func (e fatalStoreError) Error() string { return e.text }
func (e fatalStoreError) Unwrap() error { return e.cause }
