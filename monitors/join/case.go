package join

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/freshet-io/freshet/monitors/quality"
	"github.com/freshet-io/freshet/monitors/wire"
)

// maxWaiting is how many labels of an id wait for its inference; of more the oldest is dropped.
const maxWaiting = 8

// Case is what is remembered of one inference id.
type Case struct {
	inference *Inference
	build     int64   // of the definition under which it is counted
	labels    []Label // in order; once the inference is there at most one, that is counted
}

// Counts are what became of records.
type Counts struct {
	Inferences, Duplicates int
	Joined                 int // labels that found their inference
	Corrected              int // those that took the place of another
	Superseded             int // labels older than the one that counts, or equal to it
	Late                   int // labels of a time more than `within` after their inference's
	Unmatched              int // labels whose inference had not come when they were forgotten
}

// Add adds others up.
func (c *Counts) Add(o Counts) {
	c.Inferences += o.Inferences
	c.Duplicates += o.Duplicates
	c.Joined += o.Joined
	c.Corrected += o.Corrected
	c.Superseded += o.Superseded
	c.Late += o.Late
	c.Unmatched += o.Unmatched
}

// Joiner joins the cases of one model.
type Joiner struct {
	definition quality.Definition
	build      int64
	within     int64
	pane       int64
	panes      map[Pane]*quality.Sums // what has changed since the last Flush
	counts     Counts
}

// Pane is a slice of a pane.
type Pane struct {
	Start int64
	Slice string // "" for all rows
}

// NewJoiner joins labels that come within a time after their inference, and counts in panes of a length, both in
// microseconds.
func NewJoiner(d quality.Definition, within, pane int64) *Joiner {
	return &Joiner{definition: d, build: d.Build(), within: within, pane: pane, panes: map[Pane]*quality.Sums{}}
}

// Build is the definition under which cases are counted.
func (j *Joiner) Build() int64 { return j.build }

// Flush returns what has changed since the last call, and what became of the records since then.
func (j *Joiner) Flush() (map[Pane]*quality.Sums, Counts) {
	panes, counts := j.panes, j.counts
	j.panes, j.counts = map[Pane]*quality.Sums{}, Counts{}
	for k, s := range panes {
		if s.Empty() {
			delete(panes, k)
		}
	}
	return panes, counts
}

// each calls fn for the sums that an inference is in (J4).
func (j *Joiner) each(in *Inference, fn func(*quality.Sums)) {
	start := floor(in.At, j.pane)
	fn(j.sums(Pane{start, ""}))
	for _, s := range in.Slices {
		fn(j.sums(Pane{start, s}))
	}
}

func (j *Joiner) sums(k Pane) *quality.Sums {
	s := j.panes[k]
	if s == nil {
		s = &quality.Sums{}
		j.panes[k] = s
	}
	return s
}

// Expired reports whether a case is forgotten at a time (J3).
func (j *Joiner) Expired(c *Case, now int64) bool {
	last := int64(math.MinInt64)
	if c.inference != nil {
		last = c.inference.At
	} else if n := len(c.labels); n > 0 {
		last = c.labels[n-1].At
	}
	return last < now && now-last > j.within
}

// Forget counts what a case leaves behind that is forgotten.
func (j *Joiner) Forget(c *Case) {
	if c.inference == nil {
		j.counts.Unmatched += len(c.labels)
	}
}

// Infer takes an inference (J1).
func (j *Joiner) Infer(c *Case, in *Inference) {
	if c.inference != nil {
		j.counts.Duplicates++
		j.each(in, func(s *quality.Sums) { s.Duplicates++ })
		return
	}
	j.counts.Inferences++
	c.inference, c.build = in, j.build
	j.each(in, func(s *quality.Sums) { s.Inferences++ })
	waiting := c.labels
	c.labels = nil
	for _, l := range waiting {
		j.Label(c, l)
	}
}

// Label takes a label (J2).
func (j *Joiner) Label(c *Case, l Label) {
	if c.inference == nil {
		i, found := slices.BinarySearchFunc(c.labels, l, func(a, b Label) int {
			switch {
			case a.before(b.Order):
				return -1
			case b.before(a.Order):
				return 1
			}
			return 0
		})
		if found {
			j.counts.Superseded++
			return
		}
		c.labels = slices.Insert(c.labels, i, l)
		if len(c.labels) > maxWaiting {
			j.counts.Superseded++
			c.labels = c.labels[1:]
		}
		return
	}
	switch {
	case l.At > c.inference.At && l.At-c.inference.At > j.within:
		j.counts.Late++
		return
	case len(c.labels) > 0 && !c.labels[0].before(l.Order):
		j.counts.Superseded++
		return
	case len(c.labels) > 0:
		j.counts.Corrected++
		if c.build == j.build {
			j.count(c, -1)
		}
	default:
		j.counts.Joined++
	}
	if c.build != j.build { // J5
		c.build = j.build
		j.each(c.inference, func(s *quality.Sums) { s.Inferences++ })
	}
	c.labels = append(c.labels[:0], l)
	j.count(c, 1)
}

// count adds a joined case to the sums, or takes it out.
func (j *Joiner) count(c *Case, sign int64) {
	j.each(c.inference, func(s *quality.Sums) { j.definition.Count(s, &c.inference.Prediction, &c.labels[0].Value, sign) })
}

// caseVersion is the first byte of an encoded Case. The rest: a byte, 1 if the inference is there, then its build (varint) and
// itself as in a Record; the number of labels and each.
const caseVersion = 1

// AppendBinary appends the case's encoding.
func (c *Case) AppendBinary(dst []byte) []byte {
	dst = append(dst, caseVersion)
	if c.inference == nil {
		dst = append(dst, 0)
	} else {
		dst = appendInference(binary.AppendVarint(append(dst, 1), c.build), c.inference)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.labels)))
	for i := range c.labels {
		dst = appendLabel(dst, &c.labels[i])
	}
	return dst
}

// DecodeCase reads what AppendBinary wrote, all of data.
func DecodeCase(data []byte) (*Case, error) {
	r := wire.NewReader(data)
	c := &Case{}
	if v := r.Byte(); v != caseVersion {
		return nil, fmt.Errorf("decode a joined case: version %d is not known", v)
	}
	if r.Byte() == 1 {
		c.build = r.Varint()
		c.inference = readInference(r)
	}
	for range r.Count() {
		c.labels = append(c.labels, *readLabel(r))
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("decode a joined case: %w", err)
	}
	return c, nil
}

// floor returns the largest multiple of step that is at most t.
func floor(t, step int64) int64 {
	q := t / step
	if t%step != 0 && t < 0 {
		q--
	}
	return q * step
}
