package watch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/significance"
	"github.com/freshet-io/freshet/monitors/wire"
)

// sequentialCheck is the check of a skew that is tested across windows; its method is called so too.
const sequentialCheck = "sequential"

// sequence is what the sequential tests of a slice remember: the scores of the bets of each column of a build of the baseline.
type sequence struct {
	build int64
	bets  [][]float64
	// tests are those of the columns that have been played since the process took the scores up: what bets pay follows from
	// the build.
	tests []*significance.Sequential
}

// sequentialTests go on with a monitor's sequential tests by the panes of a window that no window before it had.
type sequentialTests struct {
	w         *Watch
	m         *monitor
	window    alert.Window
	from      int64   // start of the first of these panes
	runLength float64 // of each test, microseconds
	scores    []Score
	verdicts  []alert.Verdict
}

// sequentialTests begins with a window of a monitor.
func (w *Watch) sequentialTests(m *monitor, b *baseline.Baseline, win alert.Window) *sequentialTests {
	t := &sequentialTests{w: w, m: m, window: win, from: win.End - m.Every.Microseconds()}
	if !m.Sequential {
		return t
	}
	names := baselineSlices(b)
	t.runLength = m.runLength(b, names)
	for slice := range m.sequences {
		if !slices.Contains(names, slice) { // an earlier build had it
			delete(m.sequences, slice)
			w.changed[sequenceRecord(m.Name, slice)] = struct{}{}
		}
	}
	return t
}

// play goes on with the test of a column of a slice.
func (t *sequentialTests) play(of *sample) error {
	ref := of.reference()
	if !t.m.Sequential || !playable(ref) {
		return nil
	}
	b := of.window.baseline
	seq := t.m.sequences[of.slice]
	if seq == nil || seq.build != b.Build || len(seq.bets) != len(b.Columns) {
		seq = &sequence{build: b.Build, bets: make([][]float64, len(b.Columns))}
		t.m.sequences[of.slice] = seq
	}
	if seq.tests == nil {
		seq.tests = make([]*significance.Sequential, len(seq.bets))
	}
	s := Score{
		Monitor: t.m.Name, Model: t.m.Model.Name, Kind: alert.Skew, Column: of.column.name, Slice: of.slice, Check: sequentialCheck, Window: t.window,
		Against: "baseline " + b.Name, Method: sequentialCheck, Threshold: 1, P: Number(math.NaN()), PAdjusted: Number(math.NaN()),
	}
	s.NRef, s.NEffRef = ref.Counts.Rows(), Number(ref.Counts.Rows())
	if d := b.Columns[of.at].Dispersion; d != nil && d.Effect > 1 { // the baseline's rows are taken to depend on each other as the stream's do
		s.NEffRef /= Number(d.Effect)
	}
	if seq.tests[of.at] == nil {
		test, err := t.test(ref, float64(s.NEffRef))
		if err != nil {
			return err
		}
		test.Restore(seq.bets[of.at])
		seq.tests[of.at] = test
	}
	if err := t.bet(of, seq, &s); err != nil {
		return err
	}
	v := s.verdict(of.column.group(), of.column.sources)
	v.Significant, v.Lower = true, significance.SequentialOver // the run length is the test
	t.scores, t.verdicts = append(t.scores, s), append(t.verdicts, v)
	t.w.changed[sequenceRecord(t.m.Name, of.slice)] = struct{}{}
	return nil
}

// playable reports whether there is anything to bet on in a baseline's profile.
func playable(ref *profile.Profile) bool { return ref != nil && ref.Counts.Rows() > 0 }

// runLength is what one series has to reach, in microseconds, so that all together alarm as rarely as the definition says.
func (m *monitor) runLength(b *baseline.Baseline, names []string) float64 {
	series := 0
	for _, slice := range names {
		for i := range m.columns {
			if at := b.Column(m.columns[i].name); at >= 0 && playable(b.Profile(at, slice)) {
				series++
			}
		}
	}
	return float64(series) * float64((30 * 24 * time.Hour).Microseconds()) / falseAlarms(m.Monitor)
}

// test makes the test of values that should be distributed as in a baseline's profile.
func (t *sequentialTests) test(ref *profile.Profile, nEffRef float64) (*significance.Sequential, error) {
	special := 0
	if bins := ref.Bins(); bins.Kind() == profile.Numeric {
		special = bins.Regular()
	}
	counts := make([]float64, ref.Bins().Len())
	for i, n := range ref.Counts.Counts() {
		counts[i] = float64(n)
	}
	return significance.NewSequential(counts, special, nEffRef, t.runLength)
}

// bet plays the panes of the window's last step, remembers the scores of the bets, and completes the score.
func (t *sequentialTests) bet(of *sample, seq *sequence, s *Score) error {
	q, bets := seq.tests[of.at], &seq.bets[of.at]
	for i, start := range of.starts { // a time without values has no weight: it would be an alarm for their absence
		if start < t.from {
			continue
		}
		for _, n := range of.Panes[i] {
			s.NCur += n
		}
		if _, err := q.Observe(of.Panes[i], float64(of.window.pane)); err != nil {
			return err
		}
		*bets = q.State((*bets)[:0])
	}
	s.NEffCur = Number(s.NCur)
	s.Score = Number(q.Score() / float64(time.Second.Microseconds()))
	s.Effect = Number(q.Score() / t.runLength)
	s.Outcome = string(drift.Stable)
	switch {
	case *bets == nil: // nothing has come on this build yet; a step without values says nothing on a thin stream
		s.Outcome = string(drift.NoRows)
	case s.Effect >= 1:
		s.Outcome = string(drift.Exceeded)
	}
	s.Notes = []string{fmt.Sprintf("an alarm on average not earlier than every %.0f days of this series while nothing changes", t.runLength/float64((24*time.Hour).Microseconds()))}
	return nil
}

// sequenceVersion is the first byte of a sequence's record. The rest: what windows it is of (as windows says), the build
// (varint), how many columns (uvarint), and of each how many numbers its test remembers and these (bits of float64s,
// big-endian).
const sequenceVersion = 1

func (q *sequence) encode(windows string) []byte {
	b := binary.AppendVarint(wire.AppendBytes([]byte{sequenceVersion}, windows), q.build)
	b = binary.AppendUvarint(b, uint64(len(q.bets)))
	for _, of := range q.bets {
		b = binary.AppendUvarint(b, uint64(len(of)))
		for _, x := range of {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(x))
		}
	}
	return b
}

func decodeSequence(data []byte) (q *sequence, windows string, err error) {
	r := wire.NewReader(data)
	if version := r.Byte(); len(data) > 0 && version != sequenceVersion {
		return nil, "", fmt.Errorf("version %d is not known", version)
	}
	windows = r.Text()
	q = &sequence{build: r.Varint()}
	for range r.Count() {
		var of []float64
		for range r.Count() {
			if bits := r.Take(8); len(bits) == 8 {
				of = append(of, math.Float64frombits(binary.BigEndian.Uint64(bits)))
			}
		}
		q.bets = append(q.bets, of)
	}
	return q, windows, r.End()
}

const sequenceKind = "sequence"

func sequenceRecord(monitor, slice string) string { return sequenceKind + "/" + monitor + "/" + slice }

func (w *Watch) restoreSequence(name string, value []byte) error {
	monitor, slice := parseSliceKey(name)
	m := w.monitor(monitor)
	if m == nil || !m.Sequential {
		w.changed[sequenceRecord(monitor, slice)] = struct{}{} // it is not tested any more
		return nil
	}
	q, of, err := decodeSequence(value)
	if err != nil {
		return err
	}
	if of != windows(m.Monitor) { // its windows have been defined anew, and begin anew
		w.changed[sequenceRecord(monitor, slice)] = struct{}{}
		return nil
	}
	m.sequences[slice] = q
	return nil
}
