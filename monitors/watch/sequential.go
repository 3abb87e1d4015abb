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
}

// sequential goes on with the sequential tests by the panes of a window that no window before it had.
func (w *Watch) sequential(m *monitor, b *baseline.Baseline, win alert.Window) ([]Score, []alert.Verdict, error) {
	if !m.Sequential {
		return nil, nil, nil
	}
	names := baselineSlices(b)
	runLength := m.runLength(b, names)
	for slice := range m.sequences {
		if !slices.Contains(names, slice) { // an earlier build had it
			delete(m.sequences, slice)
			w.changed[sequenceRecord(m.Name, slice)] = struct{}{}
		}
	}
	var scores []Score
	var verdicts []alert.Verdict
	for _, slice := range names {
		seq := m.sequences[slice]
		if seq == nil || seq.build != b.Build {
			seq = &sequence{build: b.Build, bets: make([][]float64, len(b.Columns))}
			m.sequences[slice] = seq
		}
		for i := range m.columns {
			c := &m.columns[i]
			at, ok := played(b, c.name, slice)
			if !ok {
				continue
			}
			s := Score{
				Monitor: m.Name, Model: m.Model.Name, Kind: alert.Skew, Column: c.name, Slice: slice, Check: sequentialCheck, Window: win,
				Against: "baseline " + b.Name, Method: sequentialCheck, Threshold: 1, P: Number(math.NaN()), PAdjusted: Number(math.NaN()),
			}
			var err error
			if seq.bets[at], err = w.bet(m, b, at, seq.bets[at], &s, runLength); err != nil {
				return nil, nil, fmt.Errorf("column %s, slice %q: %w", c.name, slice, err)
			}
			v := s.verdict(c.group(), c.sources)
			v.Significant, v.Lower = true, significance.SequentialOver // the run length is the test
			scores, verdicts = append(scores, s), append(verdicts, v)
		}
		w.changed[sequenceRecord(m.Name, slice)] = struct{}{}
	}
	return scores, verdicts, nil
}

// played returns the baseline's column of a series, if there is anything to bet on.
func played(b *baseline.Baseline, column, slice string) (at int, ok bool) {
	at = b.Column(column)
	if at < 0 || b.Profile(at, slice) == nil {
		return at, false
	}
	return at, b.Profile(at, slice).Counts.Rows() > 0
}

// runLength is what one series has to reach, in microseconds, so that all together alarm as rarely as the definition says.
func (m *monitor) runLength(b *baseline.Baseline, names []string) float64 {
	series := 0
	for _, slice := range names {
		for i := range m.columns {
			if _, ok := played(b, m.columns[i].name, slice); ok {
				series++
			}
		}
	}
	return float64(series) * float64((30 * 24 * time.Hour).Microseconds()) / falseAlarms(m.Monitor)
}

// bet plays the panes of the window's last step, completes the score, and returns the scores of the bets.
func (w *Watch) bet(m *monitor, b *baseline.Baseline, at int, bets []float64, s *Score, runLength float64) ([]float64, error) {
	ref := b.Profile(at, s.Slice)
	bins := ref.Bins()
	special := 0
	if bins.Kind() == profile.Numeric {
		special = bins.Regular()
	}
	counts := make([]float64, bins.Len())
	for i, n := range ref.Counts.Counts() {
		counts[i] = float64(n)
		s.NRef += n
	}
	s.NEffRef = Number(s.NRef)
	if d := b.Columns[at].Dispersion; d != nil && d.Effect > 1 { // rows of a live stream depend on each other
		s.NEffRef /= Number(d.Effect)
	}
	q, err := significance.NewSequential(counts, special, float64(s.NEffRef), runLength)
	if err != nil {
		return nil, err
	}
	q.Restore(bets)
	for start := s.Window.End - m.Every.Microseconds(); start < s.Window.End; start += w.pane {
		p := w.panes[b.Name][paneKey{start, s.Slice}]
		if p == nil || p.build != b.Build || len(p.columns[at]) == 0 {
			continue // a time without values has no weight: it would be an alarm for their absence
		}
		part, err := profile.Decode(bins, p.columns[at])
		if err != nil {
			return nil, err
		}
		s.NCur += part.Counts.Rows()
		if _, err := q.Observe(part.Counts.Counts(), float64(w.pane)); err != nil {
			return nil, err
		}
		bets = q.State(nil)
	}
	s.NEffCur = Number(s.NCur)
	s.Score = Number(q.Score() / float64(time.Second.Microseconds()))
	s.Effect = Number(q.Score() / runLength)
	s.Outcome = string(drift.Stable)
	switch {
	case bets == nil: // nothing has come on this build yet; a step without values says nothing on a thin stream
		s.Outcome = string(drift.NoRows)
	case s.Effect >= 1:
		s.Outcome = string(drift.Exceeded)
	}
	s.Notes = []string{fmt.Sprintf("an alarm on average not earlier than every %.0f days of this series while nothing changes", runLength/float64((24*time.Hour).Microseconds()))}
	return bets, nil
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
