package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/significance"
	"github.com/freshet-io/freshet/monitors/wire"
)

// How much the rows of a window depend on each other shows in how its parts differ, but of one window that says little
// about what lasts longer than its parts, and a window in which something changes looks as if it always did. So the
// parts of the last windows in which nothing had changed are kept (W7).
const (
	// spreadParts is into how many parts of one length a window is divided, if its panes can be.
	spreadParts = 4
	// spreadWindows is how many windows are kept of each slice.
	spreadWindows = 24
	// fewestSpread is of how many windows a spread is known. Until then a window's own panes have to do.
	fewestSpread = 4
)

// spreadKey is a window of a slice.
type spreadKey struct {
	slice string
	end   int64
}

// spreadPart is what a window's parts counted: for each column of the baseline the counts of one part after the other;
// nothing of a column that had changed.
type spreadPart struct {
	build   int64
	columns [][]byte
}

// spreads is what is kept of a monitor's windows, and what follows from it.
type spreads struct {
	parts map[spreadKey]*spreadPart
	ends  map[string][]int64                    // of each slice, ascending
	known map[string][]*significance.Dispersion // of each slice, by column; nil where it is not known
}

func newSpreads() spreads {
	return spreads{parts: map[spreadKey]*spreadPart{}, ends: map[string][]int64{}, known: map[string][]*significance.Dispersion{}}
}

func (s *spreads) set(k spreadKey, p *spreadPart) {
	delete(s.known, k.slice)
	ends := s.ends[k.slice]
	i, found := slices.BinarySearch(ends, k.end)
	switch {
	case p == nil && found:
		delete(s.parts, k)
		if s.ends[k.slice] = slices.Delete(ends, i, i+1); len(s.ends[k.slice]) == 0 {
			delete(s.ends, k.slice)
		}
		return
	case p == nil:
		return
	case !found:
		s.ends[k.slice] = slices.Insert(ends, i, k.end)
	}
	s.parts[k] = p
}

// spread is how a column of a slice varies by itself; nil if too little is known of it.
func (s *spreads) spread(b *baseline.Baseline, slice string, column int) *significance.Dispersion {
	all := s.known[slice]
	if all == nil {
		all = make([]*significance.Dispersion, len(b.Columns))
		for i := range all {
			all[i] = s.estimate(b, slice, i)
		}
		s.known[slice] = all
	}
	if column >= len(all) {
		return nil
	}
	return all[column]
}

func (s *spreads) estimate(b *baseline.Baseline, slice string, column int) *significance.Dispersion {
	bins := b.Columns[column].Profile.Bins()
	var parts [][]uint64
	windows := 0
	for _, end := range s.ends[slice] {
		p := s.parts[spreadKey{slice, end}]
		if p.build != b.Build || column >= len(p.columns) || len(p.columns[column]) == 0 {
			continue
		}
		of, err := decodeParts(p.columns[column], bins.Len())
		if err != nil {
			continue // of another version of this program: as if it were not kept
		}
		parts = append(parts, of...)
		windows++
	}
	if windows < fewestSpread {
		return nil
	}
	d := drift.Dispersion(bins, parts)
	return &d
}

// learnSpread keeps the parts of a window that has been judged. Of windows that overlap it keeps those that do not.
func (w *Watch) learnSpread(m *monitor, b *baseline.Baseline, cur *window, compared []*comparison, verdicts []alert.Verdict) {
	changed := map[[2]string]bool{} // by slice and column
	for i := range verdicts {
		if v := &verdicts[i]; v.Significant && v.Effect >= v.Threshold {
			changed[[2]string{v.Slice, v.Column}] = true
		}
	}
	for _, c := range compared {
		if c.settled {
			w.forgetSpread(m, c.series.Slice, b.Column(c.series.Column))
		}
	}
	size := m.Size.Microseconds()
	if floor(cur.End, size) != cur.End {
		return
	}
	n := int(size / w.pane)
	for slice, s := range cur.slices {
		p := &spreadPart{build: b.Build, columns: make([][]byte, len(b.Columns))}
		for i := range m.columns {
			c := &m.columns[i]
			// Of one with too few rows to be judged nobody knows whether it had changed.
			if at := b.Column(c.name); at >= 0 && !changed[[2]string{slice, c.name}] && s.rows >= uint64(m.MinSample) && len(s.panes[at]) > 0 {
				p.columns[at] = encodeParts(joinParts(s.panes[at], s.at[at], n))
			}
		}
		w.setSpread(m, spreadKey{slice, cur.End}, p)
		for len(m.ends[slice]) > spreadWindows {
			w.setSpread(m, spreadKey{slice, m.ends[slice][0]}, nil)
		}
	}
}

func (w *Watch) setSpread(m *monitor, k spreadKey, p *spreadPart) {
	m.set(k, p)
	w.changed[spreadRecord(m.Name, k)] = struct{}{}
}

// forgetSpread drops what is known of a column that has a new normal: the step to it is no variation.
func (w *Watch) forgetSpread(m *monitor, slice string, column int) {
	for _, end := range m.ends[slice] {
		k := spreadKey{slice, end}
		if p := m.parts[k]; column < len(p.columns) && len(p.columns[column]) > 0 {
			p.columns[column] = nil
			w.setSpread(m, k, p)
		}
	}
}

// joinParts adds up panes to parts of one length; at says which of the window's n panes each is.
func joinParts(panes [][]uint64, at []int, n int) [][]uint64 {
	parts := spreadParts
	for n%parts != 0 {
		parts--
	}
	out := make([][]uint64, parts)
	for k := range out {
		out[k] = make([]uint64, len(panes[0]))
	}
	for i, p := range panes {
		part := out[at[i]*parts/n]
		for j, c := range p {
			part[j] += c
		}
	}
	return out
}

// encodeParts writes the counts of the parts, one after the other: each a uvarint, and after a zero how many more zeros
// follow it.
func encodeParts(parts [][]uint64) []byte {
	var out []byte
	zeros := 0
	flush := func() {
		if zeros > 0 {
			out = binary.AppendUvarint(append(out, 0), uint64(zeros-1))
			zeros = 0
		}
	}
	for _, p := range parts {
		for _, c := range p {
			if c == 0 {
				zeros++
				continue
			}
			flush()
			out = binary.AppendUvarint(out, c)
		}
	}
	flush()
	return out
}

var errParts = errors.New("the counts are not those of whole parts")

// decodeParts reads what encodeParts wrote, for parts of so many bins.
func decodeParts(data []byte, bins int) ([][]uint64, error) {
	r := wire.NewReader(data)
	most := spreadParts * bins
	flat := make([]uint64, 0, most)
	for more := len(data) > 0; more && r.Err() == nil; more = r.Left() > 0 {
		n, c := uint64(1), r.Uvarint()
		if c == 0 {
			n += min(r.Uvarint(), uint64(most))
		}
		if n > uint64(most-len(flat)) {
			return nil, errParts
		}
		for range n {
			flat = append(flat, c)
		}
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	if bins == 0 || len(flat)%bins != 0 {
		return nil, errParts
	}
	return slices.Collect(slices.Chunk(flat, bins)), nil
}

// spreadVersion is the first byte of a spread's record. The rest: what windows it is of (as windows says), the build
// (varint), rows (always 0) and columns as a pane's.
const spreadVersion = 1

func spreadRecord(monitor string, k spreadKey) string {
	return "spread/" + monitor + "/" + strconv.FormatInt(k.end, 10) + "/" + k.slice
}

func parseSpreadKey(s string) (monitor string, k spreadKey, err error) {
	monitor, p, err := parsePaneKey(s) // NAME/TIME/SLICE as well
	return monitor, spreadKey{p.slice, p.start}, err
}

// encodeSpread makes the value of a spread's record; nil if it is gone.
func (w *Watch) encodeSpread(rest string) ([]byte, error) {
	name, k, err := parseSpreadKey(rest)
	if err != nil {
		return nil, err
	}
	m := w.monitor(name)
	if m == nil || m.parts[k] == nil {
		return nil, nil
	}
	p := m.parts[k]
	head := binary.AppendVarint(wire.AppendBytes([]byte{spreadVersion}, windows(m.Monitor)), p.build)
	return appendColumns(head, 0, p.columns), nil
}

func (w *Watch) restoreSpread(rest string, value []byte) error {
	name, k, err := parseSpreadKey(rest)
	if err != nil {
		return err
	}
	m := w.monitor(name)
	r := wire.NewReader(value)
	if v := r.Byte(); r.Err() == nil && v != spreadVersion {
		return fmt.Errorf("version %d is not known", v)
	}
	of := r.Text()
	p := &spreadPart{build: r.Varint()}
	_, p.columns = readColumns(r)
	if err := r.End(); err != nil {
		return err
	}
	if m == nil || of != windows(m.Monitor) { // of windows that are not defined any more
		w.changed["spread/"+rest] = struct{}{}
		return nil
	}
	m.set(k, p)
	return nil
}
