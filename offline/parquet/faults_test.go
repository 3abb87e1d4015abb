package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
)

// The writer process that tests kill: this binary again, told by the environment where to write.
const (
	writerEnv   = "FRESHET_TEST_PARQUET_WRITER"
	writerEnd   = 6000 // offsets of each of its partitions
	writerParts = 2
)

// runWriter does what a sink does, until all offsets are stored: it asks where a partition goes on, finishes what is pending
// and goes on with ranges whose ends depend on the moment. Now and then it compacts.
func runWriter(url string) error {
	ctx := context.Background()
	s, err := Open(ctx, config.Secret(url), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	table := testTable()
	if err := s.Prepare(ctx, table); err != nil {
		return err
	}
	var next [writerParts]int64
	for p := range int32(writerParts) {
		n, pending, _, err := resumeOne(ctx, s, table, "shop.orders", p)
		if err != nil {
			return err
		}
		if pending != nil {
			if err := s.Write(ctx, table, *pending, rowsOf(*pending, 5)); err != nil {
				return err
			}
			n = pending.End
		}
		next[p] = n
	}
	for rounds := 0; ; rounds++ {
		done := true
		for p := range next {
			if next[p] == writerEnd {
				continue
			}
			done = false
			r := orders(int32(p), next[p], min(writerEnd, next[p]+1+rand.Int64N(120)))
			if err := s.Write(ctx, table, r, rowsOf(r, 5)); err != nil {
				return err
			}
			next[p] = r.End
		}
		if done {
			return s.Close()
		}
		if rounds%10 == 9 {
			if _, err := s.Compact(ctx, table.Name, CompactOptions{Grace: -1}); err != nil {
				return err
			}
		}
	}
}

// allOfWriter is what a writer process stores.
func allOfWriter() []row {
	var want []row
	for p := range int32(writerParts) {
		want = append(want, rowsIn(rowsOf(orders(p, 0, writerEnd), 5))...)
	}
	return sortedRows(want)
}

func TestKilledTwentyTimes(t *testing.T) {
	dir := fastDir(t)
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"=file://"+dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	table := testTable()
	killed := 0
	for rounds := 0; killed < 20 && rounds < 60; rounds++ {
		cmd := start()
		time.Sleep(time.Duration(30+rand.IntN(60)) * time.Millisecond)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			killed++
		}
		// Whatever is there now: each row that is read is there once, and they are those of a prefix of each partition.
		s := openDisk(t, dir)
		covered, err := s.Covered(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		var want []row
		end := int64(writerEnd)
		for _, r := range covered {
			if r.First != 0 {
				t.Fatalf("killed %d times: covers %v", killed, covered)
			}
			want = append(want, rowsIn(rowsOf(r, 5))...)
			end = min(end, r.End)
		}
		same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(want))
		if len(covered) == writerParts && end == writerEnd {
			if err := os.RemoveAll(dir + "/" + table.Name); err != nil { // it was too quick: once more from the beginning
				t.Fatal(err)
			}
		}
	}
	if killed < 20 {
		t.Errorf("killed only %d times", killed)
	}
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	same(t, scanAll(t, openDisk(t, dir), table, offline.Query{Columns: allColumns(table)}), allOfWriter())
}

// smallDisk returns a folder on a full-able file system of its own, if this process may mount one.
func smallDisk(t *testing.T, bytes int) (dir string, ok bool) {
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Logf("no file system of the test's own (%v): writers fail after some bytes instead", err)
		return dir, false
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir, true
}

// cramped is a place whose files cannot be longer than a limit.
type cramped struct {
	place
	limit int
}

func (c *cramped) create(ctx context.Context, name string, write func(io.Writer) error) error {
	return c.place.create(ctx, name, func(w io.Writer) error { return write(&crampedWriter{w, c.limit}) })
}

type crampedWriter struct {
	io.Writer
	left int
}

func (w *crampedWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, syscall.ENOSPC
	}
	return w.Writer.Write(p)
}

func TestDiskFull(t *testing.T) {
	const size = 400 << 10
	dir, real := smallDisk(t, size)
	s, table := openDisk(t, dir), testTable()
	small, large := orders(0, 0, 200), orders(0, 200, 20000)
	mustWrite(t, s, table, small, rowsOf(small, 2))
	full := s
	if !real {
		full = newStore(&cramped{s.place, 50 << 10}, Options{})
	}
	for range 2 {
		err := full.Write(t.Context(), table, large, rowsOf(large, 2))
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir+"/events_orders/dt=2026-03-0") {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if err := full.Prepare(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(rowsIn(rowsOf(small, 2))))
	if left, _ := os.ReadDir(dir + "/events_orders/" + tempDir); len(left) > 0 {
		t.Errorf("%d temporary files are left", len(left))
	}
	if real {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", 100*size)); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, s, table, large, rowsOf(large, 2)) // the sink's retry, when there is room again
	same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), sortedRows(rowsIn(rowsOf(orders(0, 0, 20000), 2))))
}
