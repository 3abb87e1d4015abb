package quality

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet-io/freshet/monitors/wire"
)

const (
	scoreBins       = 1000    // of the histograms of probabilities
	calibrationBins = 10      // of equal width
	fixedOne        = 1 << 30 // a probability of 1 in the sums of calibration
)

// Sums are what is known of the cases of a pane, or the signed difference that a commit makes to it. Which of them a
// model fills depends on what it predicts. The zero value is empty.
type Sums struct {
	Inferences int64 // by distinct ids
	Duplicates int64 // further inferences with an id that was there
	Labelled   int64 // inferences whose label has come
	Unusable   int64 // labelled ones of which no error can be computed: a prediction is absent or no number, or the label no class

	Correct        int64 // predictions that equal their label
	TP, FP, FN, TN int64 // of the positive class

	abs, square, fourth exact // of errors of numbers
	loss, lossSquare    exact // log loss of probabilities
	positive, negative  map[uint16]int64
	calibration         [calibrationBins]calibrationBin
}

// calibrationBin is a tenth of the probabilities: how many, how many of them were true, and their sum by fixedOne.
type calibrationBin struct{ n, positive, sum int64 }

// Usable is how many cases the metrics are computed of.
func (s *Sums) Usable() int64 { return s.Labelled - s.Unusable }

// Coverage is which share of the inferences has its label; 0 without inferences.
func (s *Sums) Coverage() float64 {
	if s.Inferences <= 0 {
		return 0
	}
	return float64(s.Labelled) / float64(s.Inferences)
}

// counts are the plain numbers in the order of the encoding.
func (s *Sums) counts() []*int64 {
	return []*int64{&s.Inferences, &s.Duplicates, &s.Labelled, &s.Unusable, &s.Correct, &s.TP, &s.FP, &s.FN, &s.TN}
}

func (s *Sums) exacts() []*exact {
	return []*exact{&s.abs, &s.square, &s.fourth, &s.loss, &s.lossSquare}
}

// Merge adds what another has counted.
func (s *Sums) Merge(o *Sums) {
	theirs := o.counts()
	for i, n := range s.counts() {
		*n += *theirs[i]
	}
	sums := o.exacts()
	for i, e := range s.exacts() {
		e.merge(sums[i])
	}
	s.positive, s.negative = mergeBins(s.positive, o.positive), mergeBins(s.negative, o.negative)
	for i := range s.calibration {
		c, d := &s.calibration[i], &o.calibration[i]
		c.n, c.positive, c.sum = c.n+d.n, c.positive+d.positive, c.sum+d.sum
	}
}

func mergeBins(into, from map[uint16]int64) map[uint16]int64 {
	if into == nil && len(from) > 0 {
		into = make(map[uint16]int64, len(from))
	}
	for bin, n := range from {
		addBin(into, bin, n)
	}
	return into
}

func addBin(bins map[uint16]int64, bin uint16, n int64) {
	if bins[bin] += n; bins[bin] == 0 {
		delete(bins, bin)
	}
}

// Empty reports whether nothing is counted.
func (s *Sums) Empty() bool {
	for _, n := range s.counts() {
		if *n != 0 {
			return false
		}
	}
	for _, e := range s.exacts() {
		if e.units.Sign() != 0 {
			return false
		}
	}
	return len(s.positive) == 0 && len(s.negative) == 0 && s.calibration == [calibrationBins]calibrationBin{}
}

// sumsVersion is the first byte of encoded Sums. The rest: the counts (varints), the five exact sums, both histograms
// (how many bins, and for each the distance from the one before as uvarint and its count as varint), and for each bin of
// calibration its three numbers (varints).
const sumsVersion = 1

// AppendBinary appends the encoding; equal sums are equal bytes.
func (s *Sums) AppendBinary(dst []byte) []byte {
	dst = append(dst, sumsVersion)
	for _, n := range s.counts() {
		dst = binary.AppendVarint(dst, *n)
	}
	for _, e := range s.exacts() {
		dst = e.append(dst)
	}
	for _, bins := range []map[uint16]int64{s.positive, s.negative} {
		dst = binary.AppendUvarint(dst, uint64(len(bins)))
		last := uint16(0)
		for _, b := range slices.Sorted(maps.Keys(bins)) {
			dst = binary.AppendVarint(binary.AppendUvarint(dst, uint64(b-last)), bins[b])
			last = b
		}
	}
	for _, c := range s.calibration {
		dst = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, c.n), c.positive), c.sum)
	}
	return dst
}

// Decode reads what AppendBinary wrote, all of data.
func Decode(data []byte) (*Sums, error) {
	r := wire.NewReader(data)
	if v := r.Take(1); v != nil && v[0] != sumsVersion {
		return nil, fmt.Errorf("decode sums of quality: version %d is not known", v[0])
	}
	s := &Sums{}
	for _, n := range s.counts() {
		*n = r.Varint()
	}
	for _, e := range s.exacts() {
		*e = readExact(r)
	}
	var err error
	for _, bins := range []*map[uint16]int64{&s.positive, &s.negative} {
		if *bins, err = readBins(r); err != nil {
			return nil, err
		}
	}
	for i := range s.calibration {
		s.calibration[i] = calibrationBin{r.Varint(), r.Varint(), r.Varint()}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("decode sums of quality: %w", err)
	}
	return s, nil
}

func readBins(r *wire.Reader) (map[uint16]int64, error) {
	n := r.Count()
	if n == 0 {
		return nil, nil
	}
	bins := map[uint16]int64{}
	at := uint64(0)
	for range n {
		if at += min(r.Uvarint(), scoreBins); at >= scoreBins {
			return nil, fmt.Errorf("decode sums of quality: bin %d of %d", at, scoreBins)
		}
		addBin(bins, uint16(at), r.Varint())
	}
	return bins, nil
}
