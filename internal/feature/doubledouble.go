package feature

import (
	"encoding/binary"
	"errors"
	"math"
)

// A float sum is a pair of float64, hi the sum rounded and lo what the rounding left: about 106 bits, so that neither
// the number of values nor their order changes the result by more than 1e-12 of the sum of their magnitudes.
//
// The pair is stored in 16 bytes, hi then lo. The two lowest bits of lo's mantissa, far below anything that matters,
// are flags:
//
//	bit 0  the pair holds a sum; clear only for the empty sum, which is all zero bytes
//	bit 1  hi and lo are divided by 2^64, because the sum was once past the largest float64
//
// The second makes a sum right whose partial sums overflow in some orders of arrival and not in others: only the final
// sum decides whether the result is out of range.
//
// Only additions and exact scalings by powers of two are used here, so every machine computes the same bits.
type ddSum struct {
	hi, lo float64
	flags  uint64
}

const (
	ddWidth          = 16
	ddSet     uint64 = 1
	ddScaled  uint64 = 2
	ddFlags          = ddSet | ddScaled
	ddUnscale        = 1 << 64
	ddScale          = 1.0 / ddUnscale
)

func ddAt(b []byte) ddSum {
	_ = b[15]
	lo := binary.LittleEndian.Uint64(b[8:])
	return ddSum{
		hi:    math.Float64frombits(binary.LittleEndian.Uint64(b)),
		lo:    math.Float64frombits(lo &^ ddFlags),
		flags: lo & ddFlags,
	}
}

func (s ddSum) put(b []byte) {
	_ = b[15]
	binary.LittleEndian.PutUint64(b, math.Float64bits(s.hi))
	binary.LittleEndian.PutUint64(b[8:], math.Float64bits(s.lo)&^ddFlags|s.flags)
}

// twoSum returns a+b rounded and the exact error of the rounding.
func twoSum(a, b float64) (sum, err float64) {
	sum = a + b
	bb := sum - a
	return sum, (a - (sum - bb)) + (b - bb)
}

// plus returns s + o.
func (s ddSum) plus(o ddSum) ddSum {
	if o.flags == 0 {
		return s
	}
	if s.flags == 0 {
		return o
	}
	if (s.flags^o.flags)&ddScaled != 0 {
		s, o = s.scaled(), o.scaled()
	}
	r := s.plusAligned(o)
	if !r.finite() {
		r = s.scaled().plusAligned(o.scaled())
	}
	return r
}

// plusAligned adds pairs of the same scale.
func (s ddSum) plusAligned(o ddSum) ddSum {
	hi, e := twoSum(s.hi, o.hi)
	lo, f := twoSum(s.lo, o.lo)
	hi, e = twoSum(hi, e+lo)
	hi, e = twoSum(hi, e+f)
	return ddSum{hi: hi, lo: e, flags: s.flags | o.flags}
}

// plusValue returns s + x.
func (s ddSum) plusValue(x float64) ddSum {
	if s.flags&ddScaled == 0 {
		hi, e := twoSum(s.hi, x)
		hi, e = twoSum(hi, e+s.lo)
		r := ddSum{hi: hi, lo: e, flags: ddSet}
		if r.finite() {
			return r
		}
	}
	return s.plus(ddSum{hi: x, flags: ddSet})
}

// scaled returns s divided by 2^64.
func (s ddSum) scaled() ddSum {
	if s.flags&ddScaled != 0 {
		return s
	}
	return ddSum{hi: s.hi * ddScale, lo: s.lo * ddScale, flags: s.flags | ddScaled}
}

func (s ddSum) finite() bool { return s.hi-s.hi == 0 && s.lo-s.lo == 0 }

// value returns the sum, infinite when it is out of range. A zero sum is +0, whatever the signs of its zeros.
func (s ddSum) value() float64 {
	v := s.hi + s.lo
	if s.flags&ddScaled != 0 {
		v *= ddUnscale
	}
	return v + 0
}

// meanOf returns the sum divided by n, which is positive.
func (s ddSum) meanOf(n uint64) float64 {
	v := s.hi/float64(n) + s.lo/float64(n)
	if s.flags&ddScaled != 0 {
		v *= ddUnscale
	}
	return v + 0
}

// ddFold returns s plus n stored sums, one each stride bytes.
func ddFold(s ddSum, states []byte, stride, n int) ddSum {
	// The errors of the additions are gathered beside the sum, which keeps the chain of dependent additions short.
	sum, rest, flags := s.hi, s.lo, s.flags
	for i := range n {
		t := ddAt(states[i*stride : i*stride+ddWidth])
		var e float64
		sum, e = twoSum(sum, t.hi)
		rest += e + t.lo
		flags |= t.flags
	}
	hi, lo := twoSum(sum, rest)
	if r := (ddSum{hi: hi, lo: lo, flags: flags}); flags&ddScaled == 0 && r.finite() {
		return r
	}
	for i := range n {
		s = s.plus(ddAt(states[i*stride : i*stride+ddWidth]))
	}
	return s
}

var errSum = errors.New("state is not a float sum")

// validate reports why s, as read from a state, is not a sum: an unset flag, or a pair that is not finite and
// normalised.
func (s ddSum) validate() error {
	switch {
	case s.flags == 0 && math.Float64bits(s.hi)|math.Float64bits(s.lo) == 0:
		return nil
	case s.flags&ddSet == 0 || !s.finite() || s.hi+s.lo != s.hi:
		return errSum
	}
	return nil
}
