package processors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/ingest"
)

// TestOutOfRange is the table of what a partition says of a position.
func TestOutOfRange(t *testing.T) {
	for _, c := range []struct {
		at, first, end int64
		says           string
	}{
		{5, 0, 10, ""},
		{5, 5, 5, ""},
		{10, 0, 10, ""},
		{4, 5, 10, "t[0]: records [4, 5) were deleted before they were processed (retention); --accept-gap goes on without them"},
		{4, 5, 5, "t[0]: records [4, 5) were deleted"},
		{11, 0, 10, "t[0]: the topic ends at offset 10, and records up to 11 have been processed"},
		{11, 0, 0, "t[0]: the topic ends at offset 0"},
	} {
		gap := outOfRange("t[0]", c.at, c.first, c.end)
		if (gap == nil) != (c.says == "") || gap != nil && !strings.HasPrefix(gap.Error(), c.says) {
			t.Errorf("at %d of [%d, %d): %v, want %q", c.at, c.first, c.end, gap, c.says)
		}
	}
}

// loseNext has all readers of a partition fall behind what the topic keeps: n events are produced that nobody can read, and those
// on the partition are deleted. The events that are left are the oracle's.
func (w *world) loseNext(n int, partition int32) (lost int) {
	w.t.Helper()
	defer w.failFetches()()
	before := len(w.events)
	w.produce(n)
	if err := w.cluster.DeleteRecords(w.topic, partition, -1); err != nil {
		w.t.Fatal(err)
	}
	kept := w.events[:before:before]
	for _, e := range w.events[before:] {
		if ingest.Partition([]byte(e.User), testPartitions) != partition {
			kept = append(kept, e)
		}
	}
	lost = len(w.events) - len(kept)
	w.events = kept
	return lost
}

// failFetches has nobody read the source until resume is called.
func (w *world) failFetches() (resume func()) {
	w.t.Helper()
	fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: w.topic, Err: kerr.KafkaStorageError, Count: -1})
	eventually(w.t, "fetches that fail", func() error { // those that wait in the broker have been answered
		if fault.Hits() < 4 {
			return errors.New("none yet")
		}
		return nil
	})
	return fault.Remove
}

// stoppedAt waits until readiness names the bounds of what was lost to both readers of the source.
func (in *instance) stoppedAt(first, lost int) {
	in.w.t.Helper()
	bounds := fmt.Sprintf("orders[0]: records [%d, %d) were deleted", first, first+lost)
	eventually(in.w.t, "both readers to stop", func() error {
		err := in.rt.Ready()
		if err == nil || !strings.Contains(err.Error(), "router of orders.shop: "+bounds) || !strings.Contains(err.Error(), "stopped: "+bounds) {
			return fmt.Errorf("ready says %v", err)
		}
		return nil
	})
}

// TestLostRecordsStopTheirPartitionAlone: both the task and the router of a partition whose records are gone stop with the bounds,
// while they run and at a start; the other partitions go on. An operator who accepts the gap is asked once.
func TestLostRecordsStopTheirPartitionAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(nil)
	w.produce(200)
	eventually(t, "features", w.check)
	first := w.onPartition(0)
	lost := w.loseNext(100, 0)
	in.stoppedAt(first, lost)
	w.produceExcept(60, 0)
	eventually(t, "features of the other partitions", w.check)
	if n := testutil.ToFloat64(in.rt.met.taskFailures); n != 2 {
		t.Errorf("%v partitions stopped, want 2", n)
	}
	in.stop()
	in = w.run(nil)
	in.stoppedAt(first, lost)
	in.stop()

	in = w.run(func(o *Options) { o.AcceptGap = true })
	in.waitReady()
	if n := testutil.ToFloat64(in.rt.met.gapRecords); n != float64(2*lost) {
		t.Errorf("%v records passed over, want %d by each of two readers", n, lost)
	}
	in.stop()
	in = w.run(nil) // no record has come since: the gap has been recorded all the same
	in.waitReady()
	w.produce(60)
	eventually(t, "features after the gap", w.check)
}

// TestAcceptedGapsArePassedOverWhileRunning: a task and a router that fall behind what the topic keeps go on.
func TestAcceptedGapsArePassedOverWhileRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	in := w.run(func(o *Options) { o.AcceptGap = true })
	w.produce(200)
	eventually(t, "features", w.check)
	for range 2 {
		before := testutil.ToFloat64(in.rt.met.gapRecords)
		lost := w.loseNext(100, 0)
		w.produce(60)
		eventually(t, "features after the gap", w.check)
		if n := testutil.ToFloat64(in.rt.met.gapRecords) - before; n != float64(2*lost) {
			t.Errorf("%v records passed over, want %d by each of two readers", n, lost)
		}
	}
	in.waitReady()
	if n := testutil.ToFloat64(in.rt.met.sessions); n != 0 {
		t.Errorf("%v sessions were replaced", n)
	}
}

// onPartition is how many events a partition of the source has had.
func (w *world) onPartition(p int32) (n int) {
	for _, e := range w.events {
		if ingest.Partition([]byte(e.User), testPartitions) == p {
			n++
		}
	}
	return n
}

// produceExcept produces n events that are not on a partition.
func (w *world) produceExcept(n int, except int32) {
	w.t.Helper()
	before := len(w.events)
	for len(w.events) < before+n {
		if e := w.random(); ingest.Partition([]byte(e.User), testPartitions) != except {
			w.events = append(w.events, e)
		}
	}
	w.send(w.events[before:]...)
}

// TestLostInferencesStopTheirPartition: a profiler says what it has missed, and goes on only when told to.
func TestLostInferencesStopTheirPartition(t *testing.T) {
	t.Parallel()
	s := newScored(t)
	m, stop := s.run("one")
	s.produce(time.Minute, 0)
	eventually(t, "inferences", func() error {
		if n := testutil.ToFloat64(m.met.inferences.WithLabelValues("scorer")); n != 60 {
			return fmt.Errorf("%v are counted", n)
		}
		return nil
	})
	stop()
	s.produce(time.Minute, 0)
	if err := s.cluster.DeleteRecords("scores", 0, -1); err != nil {
		t.Fatal(err)
	}
	m, stop = s.run("one")
	eventually(t, "the partition to stop", func() error {
		err := m.Ready()
		if err == nil || !strings.Contains(err.Error(), "profiler: scores[0]: records [") || !strings.Contains(err.Error(), "--accept-gap") {
			return fmt.Errorf("ready says %v", err)
		}
		return nil
	})
	stop()
	m, _ = s.run("one", func(o *MonitorOptions) { o.AcceptGap = true })
	eventually(t, "ready", m.Ready)
	if n := testutil.ToFloat64(m.met.gaps.WithLabelValues("scores")); n == 0 {
		t.Error("no record is counted as passed over")
	}
}
