package watch

import (
	"slices"
	"testing"
	"time"
)

// A monitor whose windows are defined anew begins anew, with whole counts.
func TestWindowsThatAreDefinedAnewBeginAnew(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 11)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, 61*time.Minute, nil)
	y := newPlant(t, loadPlane(t, "2m", "skew: {baseline: scorer_1}"), b)
	y.kept = x.kept
	y.restart()
	y.run(s, 61*time.Minute, 2*time.Hour, nil)
	if len(y.out) < 20 {
		t.Fatalf("%d windows were judged", len(y.out))
	}
	for _, j := range y.out {
		since := j.Window.End - (start + 61*time.Minute.Microseconds())
		if want := uint64(min(since, 10*time.Minute.Microseconds()) / gap); j.Rows != want {
			t.Errorf("the window that ends %s after the change has %d rows, want %d", time.Duration(since)*time.Microsecond, j.Rows, want)
		}
	}
}

func TestAMonitorThatIsNoLongerDefinedIsResolved(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 12)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, 40*time.Minute, shifted)
	if got := delivered(x.messages()); len(got) != 1 {
		t.Fatalf("messages %q", got)
	}
	other := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	other.Monitors[0].Name = "renamed"
	y := newPlant(t, other, b)
	y.kept = x.kept
	y.restart()
	y.run(s, 40*time.Minute, 41*time.Minute, nil)
	if got := delivered(y.messages()); !slices.Equal(got, []string{"resolved orders [skew:spend_1d]"}) {
		t.Errorf("messages %q", got)
	}
	y.restart()
	y.out = nil
	y.run(s, 41*time.Minute, 42*time.Minute, nil)
	if got := delivered(y.messages()); len(got) > 0 {
		t.Errorf("told again: %q", got)
	}
}

// Records that only earlier versions wrote are passed over, whatever is in them, and deleted.
func TestRecordsOfEarlierVersionsAreDeleted(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 16)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, 30*time.Minute, shifted)
	told := delivered(x.messages())
	old := []string{"scorer/spread/inputs/1700002200000000/region=eu", "scorer/spread/inputs/1700002200000000/", "scorer/spread/gone/17/"}
	for _, k := range old {
		x.kept[k] = []byte{1, 9, '1', '0', 'm'}
	}
	x.restart()
	changes, err := x.watch.Changes()
	if err != nil {
		t.Fatal(err)
	}
	var deleted []string
	for _, c := range changes {
		if c.Value == nil {
			deleted = append(deleted, string(c.Key))
		}
	}
	slices.Sort(old)
	if !slices.Equal(deleted, old) {
		t.Errorf("deleted %q, want %q", deleted, old)
	}
	if x.run(s, 30*time.Minute, time.Hour, shifted); len(told) != 1 || len(delivered(x.messages())) != 1 {
		t.Errorf("messages %q, before the restart %q: the episode is not the one that had begun", delivered(x.messages()), told)
	}
}

// Without its baseline a monitor says nothing, and above all not that nothing comes.
func TestADeletedBaselineIsNoSilence(t *testing.T) {
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}")
	s := newStream(p, 13)
	b := s.baseline(t, 5000)
	x := newPlant(t, p, b)
	x.run(s, 0, time.Hour, nil)
	x.acc.SetBaseline(b.Name, nil)
	x.watch.SetBaseline(b.Name, nil)
	x.run(s, time.Hour, 2*time.Hour, nil)
	again := *b
	again.Build++
	x.acc.SetBaseline(b.Name, &again)
	x.watch.SetBaseline(b.Name, &again)
	x.run(s, 2*time.Hour, 3*time.Hour, nil)
	if ms := x.messages(); len(ms) > 0 {
		t.Errorf("messages %q", delivered(ms))
	}
	if last := x.out[len(x.out)-1]; last.Rows != 600 || last.Scores[0].NCur == 0 {
		t.Errorf("the last window: %+v", last)
	}
}

// A partition that nobody tells of for a while is read by nobody: windows wait, however long others go on.
func TestAPartitionThatNobodyReadsIsWaitedFor(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 14)
	x := newPlant(t, p, s.baseline(t, 5000))
	clock := start
	both := func(from, to time.Duration, partitions ...int32) {
		x.acc.Partitions(partitions, 2)
		for at := start + from.Microseconds(); at < start+to.Microseconds(); at += gap {
			x.acc.Add(partitions[s.n%len(partitions)], s.row(at, nil), at)
			if clock = max(clock, at); (at-start)%(5*gap) == 0 {
				x.commit(clock)
			}
		}
	}
	both(0, 9*time.Minute, 0, 1)
	both(9*time.Minute, 25*time.Minute, 0) // the reader of 1 hangs
	if len(x.out) > 0 {
		t.Fatalf("%d windows were judged without a partition that nobody reads", len(x.out))
	}
	for at := start + 9*time.Minute.Microseconds(); at < start+25*time.Minute.Microseconds(); at += gap { // it is read at last
		x.acc.Partitions([]int32{0, 1}, 2)
		x.acc.Add(1, s.row(at, nil), at)
	}
	x.commit(clock)
	if len(x.out) != 2 || x.out[0].Rows != 660 || x.out[1].Rows != 1200 {
		t.Errorf("judged %+v", x.out)
	}
}

// One event ahead of the clock does not close the windows between now and then.
func TestAnEventFromTheFutureIsNoProgress(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 15)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.run(s, 0, 8*time.Minute, nil)
	ahead := start + 12*time.Minute.Microseconds()
	x.acc.Add(0, s.row(ahead, nil), ahead)
	x.acc.Add(1, s.row(ahead, nil), ahead)
	x.run(s, 8*time.Minute, 11*time.Minute, nil)
	if len(x.out) != 1 || x.out[0].Rows != 600 || x.watch.Late() != 0 {
		t.Errorf("%d late, judged %+v", x.watch.Late(), x.out)
	}
}

// Of two baselines one counts its own versions, whichever came last, and stays when the other goes.
func TestBaselinesOfTwoVersions(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 16)
	old := s.baseline(t, 1000)
	renamed := *old
	renamed.Name = "scorer_new"
	acc := NewAccumulator(p.Models[0], Pane(p, p.Models[0]))
	acc.SetBaseline(old.Name, old)
	acc.SetBaseline(renamed.Name, &renamed)
	acc.SetBaseline(old.Name, nil)
	acc.Partitions([]int32{0}, 1)
	acc.Add(0, s.row(start, nil), start)
	ds := acc.Flush(start)
	if len(ds) != 1 || ds[0].Baseline != "scorer_new" || len(ds[0].Strays) > 0 {
		t.Errorf("counted %+v", ds[0])
	}
}

// A monitor of a baseline that nothing is counted on has not begun, and tells of no silence.
func TestAMonitorBeginsWithItsOwnInferences(t *testing.T) {
	p := loadPlane(t, "10m", "skew: {baseline: scorer_1}")
	s := newStream(p, 17)
	x := newPlant(t, p, s.baseline(t, 1000))
	other := *x.b
	other.Name = "another"
	x.acc.SetBaseline(x.b.Name, nil)
	x.acc.SetBaseline(other.Name, &other)
	x.watch.SetBaseline(other.Name, &other)
	x.run(s, 0, 2*time.Hour, nil)
	if len(x.out) > 0 {
		t.Errorf("%d windows were judged: %q", len(x.out), delivered(x.messages()))
	}
}
