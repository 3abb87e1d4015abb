package feature

import (
	"encoding/binary"
	"errors"
	"math"
)

// moments is what variance and stddev share: number, mean and M2 (the sum of the squared differences from the mean)
// of int64 or float64 values, merged by Chan's formula. A variance is within 1e-9 of the mean of the values' squares;
// an M2 past the largest float64 is out of range, in every order of arrival.
//
// State, 24 bytes: the number of values, the mean, M2. Out of range is a mean of 0 with an infinite M2.
type moments struct{ typ Type }

const momentsWidth = 24

func momentsType(s AggregatorSpec) (Type, error) { return Float64, s.check("", Int64, Float64) }

// Width implements Aggregator.
func (moments) Width() int { return momentsWidth }

type momentState struct {
	n        uint64
	mean, m2 float64
}

func momentsAt(b []byte) momentState {
	_ = b[momentsWidth-1]
	return momentState{
		n:    binary.LittleEndian.Uint64(b),
		mean: math.Float64frombits(binary.LittleEndian.Uint64(b[8:])),
		m2:   math.Float64frombits(binary.LittleEndian.Uint64(b[16:])),
	}
}

func (m momentState) put(b []byte) {
	_ = b[momentsWidth-1]
	if !m.finite() {
		m.mean, m.m2 = 0, math.Inf(1)
	}
	binary.LittleEndian.PutUint64(b, m.n)
	binary.LittleEndian.PutUint64(b[8:], math.Float64bits(m.mean))
	binary.LittleEndian.PutUint64(b[16:], math.Float64bits(m.m2))
}

func (m momentState) finite() bool { return m.mean-m.mean == 0 && m.m2-m.m2 == 0 }

// The explicit conversions below keep compilers from fusing a product with a sum: every machine computes the same bits.

// Add implements Aggregator.
func (a moments) Add(state []byte, v *Value, _ *Order) []byte {
	x := v.Float64()
	if a.typ == Int64 {
		x = float64(v.Int64())
	}
	m := momentsAt(state)
	m.n++
	d := x - m.mean
	m.mean += d / float64(m.n)
	m.m2 += float64(d * (x - m.mean))
	m.put(state)
	return state
}

// Merge implements Aggregator.
func (a moments) Merge(dst, src []byte) []byte {
	a.Fold(dst, src, momentsWidth, 1)
	return dst
}

// Fold implements Aggregator: Chan's formula for many parts at once. Means are taken relative to the first one, so that
// large means of a small spread lose nothing.
func (moments) Fold(dst, states []byte, stride, n int) {
	sum := momentsAt(dst)
	base, set := sum.mean, sum.n != 0
	var shift float64 // sum of n_i * (mean_i - base)
	for i := range n {
		s := momentsAt(states[i*stride : i*stride+momentsWidth])
		if s.n == 0 {
			continue
		}
		if !set {
			base, set = s.mean, true
		}
		sum.n += s.n
		sum.m2 += s.m2
		shift += float64(float64(s.n) * (s.mean - base))
	}
	if sum.n == 0 {
		return
	}
	shift /= float64(sum.n)
	own := momentsAt(dst)
	if own.n != 0 {
		sum.m2 += float64(float64(own.n) * float64(shift*shift))
	}
	for i := range n {
		s := momentsAt(states[i*stride : i*stride+momentsWidth])
		if s.n == 0 {
			continue // 0 times an overflow is not 0
		}
		d := s.mean - base - shift
		sum.m2 += float64(float64(s.n) * float64(d*d))
	}
	sum.mean = base + shift
	sum.put(dst)
}

// variance returns the population variance, infinite when it is out of range.
func (moments) variance(state []byte) (v float64, ok bool) {
	m := momentsAt(state)
	if m.n == 0 {
		return 0, false
	}
	return m.m2/float64(m.n) + 0, true
}

func (a moments) outOfRange(state []byte) bool {
	v, ok := a.variance(state)
	return ok && v-v != 0
}

// Validate implements Aggregator.
func (moments) Validate(state []byte) error {
	if len(state) != momentsWidth {
		return errStateWidth
	}
	m := momentsAt(state)
	if m.n == 0 {
		if !allZero(state) {
			return errStateEmpty
		}
		return nil
	}
	out := m.mean == 0 && math.IsInf(m.m2, 1)
	if int64(m.n) < 0 || !out && (!m.finite() || m.m2 < 0) {
		return errors.New("state is not a mean and M2")
	}
	return nil
}
