package sink_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline/parquet"
)

// TestAFullDisk: a sink waits on a disk without room, says so, and goes on when there is some.
func TestAFullDisk(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no file system of the test's own (%v); package parquet tests writers that fail with the same error", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	store, err := parquet.Open(t.Context(), config.Secret("file://"+dir), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w.produce(rand.New(rand.NewPCG(8, 8)), 600)
	w.start()
	w.check()

	log := &text{}
	i := w.startOn("parquet", store, slog.New(slog.NewTextHandler(log, nil)))
	until(t, "what the disk lacks", func() bool {
		err := i.Ready()
		return err != nil && strings.Contains(err.Error(), "no space left on device") && strings.Contains(err.Error(), dir)
	})
	until(t, "the log and the metrics to tell of it", func() bool { // a moment after readiness does
		return log.has("no space left on device") && i.metric(t, "freshet_offline_retries_total") > 0
	})
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", 64<<20)); err != nil {
		t.Fatal(err)
	}
	until(t, "each record once", func() bool { return w.filesHave(store) == "" })
	until(t, "readiness", func() bool { return i.Ready() == nil })
}
