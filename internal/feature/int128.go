package feature

import (
	"encoding/binary"
	"math/bits"
)

// int128 is a two's complement integer. No sum of int64 values that can be counted leaves its range.
type int128 struct{ hi, lo uint64 }

func int128At(b []byte) int128 {
	return int128{lo: binary.LittleEndian.Uint64(b), hi: binary.LittleEndian.Uint64(b[8:])}
}

// put writes a into the first 16 bytes of b, little-endian.
func (a int128) put(b []byte) {
	_ = b[15]
	binary.LittleEndian.PutUint64(b, a.lo)
	binary.LittleEndian.PutUint64(b[8:], a.hi)
}

func int128Of(x int64) int128 { return int128{lo: uint64(x), hi: uint64(x >> 63)} }

func (a int128) add(b int128) int128 {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return int128{hi: hi, lo: lo}
}

// double returns 2a, and half returns a/2 rounded down.
func (a int128) double() int128 { return int128{hi: a.hi<<1 | a.lo>>63, lo: a.lo << 1} }

func (a int128) half() int128 {
	return int128{hi: uint64(int64(a.hi) >> 1), lo: a.lo>>1 | a.hi<<63}
}

// int64 returns a, and whether it fits.
func (a int128) int64() (int64, bool) {
	x := int64(a.lo)
	return x, int64(a.hi) == x>>63
}

// abs returns the magnitude, and whether a is negative.
func (a int128) abs() (mag int128, negative bool) {
	if int64(a.hi) >= 0 {
		return a, false
	}
	lo, borrow := bits.Sub64(0, a.lo, 0)
	hi, _ := bits.Sub64(0, a.hi, borrow)
	return int128{hi: hi, lo: lo}, true
}

// meanOf returns a/n, rounded to within one unit in the last place; n is positive and |a| <= n*2^63, which holds for
// every sum of n int64 values. Other a give some finite number.
func (a int128) meanOf(n uint64) float64 {
	mag, negative := a.abs()
	var mean float64
	if mag.hi < n {
		quo, rem := bits.Div64(mag.hi, mag.lo, n)
		mean = float64(quo) + float64(rem)/float64(n)
	} else {
		mean = (float64(mag.hi)*(1<<64) + float64(mag.lo)) / float64(n)
	}
	if negative {
		return -mean
	}
	return mean
}
