package processors

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestAStoreThatCannotBeWrittenSaysSoAndCloses(t *testing.T) {
	s, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	if err := s.ready(); err != nil {
		t.Errorf("a new store: %v", err)
	}
	full := errors.New("no space left on device")
	s.trouble(full)
	if err := s.ready(); !errors.Is(err, full) {
		t.Errorf("after a failure: %v", err)
	}
	if err := s.close(); !errors.Is(err, full) {
		t.Errorf("closed with %v", err)
	}
}

// A full disk must not fill the log too.
func TestThePebbleLoggerComplainsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := pebbleLogger{l: slog.New(slog.NewTextHandler(&out, nil))}
		for range 1000 {
			l.Errorf("disk full")
			time.Sleep(15 * time.Millisecond)
		}
		if n := strings.Count(out.String(), "disk full"); n != 2 {
			t.Errorf("%d lines in 15 seconds: %s", n, out.String())
		}
	})
}

// What is on its way into the store is there for whoever waits, batch after batch.
func TestBatchesOnTheirWayAreWaitedFor(t *testing.T) {
	s, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		b := s.batch(0)
		for k := range 50 {
			if err := b.put(7, fmt.Appendf(nil, "key %d", k), fmt.Appendf(nil, "value %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.commitLater(b, func() {}); err != nil {
			t.Fatal(err)
		}
		if i%7 > 0 {
			continue // the next batch waits for it too
		}
		n := 0
		err := s.scan(7, []byte("key"), nil, func(_, v []byte) error {
			if n++; string(v) != fmt.Sprintf("value %d", i) {
				t.Fatalf("batch %d: %s", i, v)
			}
			return nil
		})
		if err != nil || n != 50 {
			t.Fatalf("batch %d: %d keys, %v", i, n, err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// TestAFullDiskAtTheStartIsAnError: wherever in the making of a store the disk is full.
func TestAFullDiskAtTheStartIsAnError(t *testing.T) {
	for whole := int64(0); ; whole++ {
		var writes atomic.Int64
		full := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && writes.Add(1) > whole {
				return syscall.ENOSPC
			}
			return nil
		})
		s, err := openStoreOn(errorfs.Wrap(vfs.NewMem(), full), "dir", 8<<20, slog.New(slog.DiscardHandler))
		if err == nil {
			if whole < 5 {
				t.Errorf("a store was made with %d writes", whole)
			}
			if err := s.db.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("after %d writes: %v does not say that the disk is full", whole, err)
		}
	}
}

// TestADiskThatIsFullIsLogged: the store goes on when there is room, and the log says what it waited for.
func TestADiskThatIsFullIsLogged(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	var log lockedBuffer
	s, err := openStoreOn(fs, "dir", 8<<20, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	b := s.batch(0)
	if err := errors.Join(b.put(1, []byte("k"), []byte("v")), b.commit()); err != nil {
		t.Fatal(err)
	}
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word in the log", func() error {
		if !strings.Contains(log.String(), "local store: cannot be written, is tried again") || !strings.Contains(log.String(), "no space left on device") {
			return fmt.Errorf("it says %q", log.String())
		}
		return nil
	})
	full.Store(false)
	<-flushed
	if err := s.db.Close(); err != nil {
		t.Error(err)
	}
}

// TestStalePositions is the table of when a store may be gone on from.
func TestStalePositions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	topic := [16]byte{1}
	for _, c := range []struct {
		name  string
		pos   position
		stale string
	}{
		{"current", position{topicID: topic, offset: 7, at: now.Unix()}, ""},
		{"at the start of the log", position{topicID: topic, offset: 5, at: now.Unix()}, ""},
		{"at its end", position{topicID: topic, offset: 9, at: now.Unix()}, ""},
		{"as old as it may be", position{topicID: topic, offset: 7, at: now.Add(-staleAfter).Unix()}, ""},
		{"another topic", position{topicID: [16]byte{2}, offset: 7, at: now.Unix()}, "another one"},
		{"before the log", position{topicID: topic, offset: 4, at: now.Unix()}, "outside the changelog [5, 9]"},
		{"behind the log", position{topicID: topic, offset: 10, at: now.Unix()}, "outside the changelog [5, 9]"},
		{"too old", position{topicID: topic, offset: 7, at: now.Add(-staleAfter).Unix() - 1}, "last current at"},
		{"never", position{}, "another one"},
	} {
		if why := c.pos.stale(topic, 5, 9, now, staleAfter); (why == "") != (c.stale == "") || !strings.Contains(why, c.stale) {
			t.Errorf("%s: %q, want %q", c.name, why, c.stale)
		}
	}
}
