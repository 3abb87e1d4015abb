package feature

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// A HyperLogLog sketch of 64-bit hashes, in one of two forms:
//
//	sparse  0x01, then at most hllMaxSparse entries of 3 bytes, big-endian, ascending: the hash's first 18 bits, then in
//	        6 bits the rank of the other 46 (1 + number of leading zeros). One entry for each 18-bit prefix seen, with
//	        its largest rank.
//	dense   0x02, then 4096 registers of 6 bits, packed little-endian, register r at bit 6r: the largest rank of the other
//	        52 bits of the hashes whose first 12 bits are r, 0 for none.
//
// The sparse form counts to a fraction of a percent, as 2^18 registers would; it turns dense when one more entry
// would make it larger than the dense form. Whether a sketch is sparse depends on the set of hashes alone, not on how
// it came together.
const (
	hllSparse = 1
	hllDense  = 2

	hllP         = 12
	hllRegisters = 1 << hllP
	hllMaxRank   = 64 - hllP + 1

	hllSparseP       = 18
	hllSparseMaxRank = 64 - hllSparseP + 1

	hllDenseBytes = hllRegisters * 6 / 8
	hllMaxBytes   = 1 + hllDenseBytes
	hllMaxSparse  = hllDenseBytes / 3
)

// hllEntry returns the sparse entry of a hash.
func hllEntry(hash uint64) uint32 {
	rank := bits.LeadingZeros64(hash<<hllSparseP|1<<(hllSparseP-1)) + 1
	return uint32(hash>>(64-hllSparseP))<<6 | uint32(rank)
}

// hllRegister returns the register and the rank in the dense form of a sparse entry: what the hash itself would give.
func hllRegister(entry uint32) (register int, rank uint8) {
	const spare = hllSparseP - hllP
	register = int(entry >> (6 + spare))
	if low := entry >> 6 & (1<<spare - 1); low != 0 {
		return register, uint8(bits.LeadingZeros32(low)-(32-spare)) + 1
	}
	return register, uint8(entry&63) + spare
}

func entryAt(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

func appendEntry(b []byte, e uint32) []byte { return append(b, byte(e>>16), byte(e>>8), byte(e)) }

// hllAdd adds a hash to a sketch, or to nil.
func hllAdd(b []byte, hash uint64) []byte {
	e := hllEntry(hash)
	if len(b) == 0 {
		return appendEntry(append(b, hllSparse), e)
	}
	if b[0] == hllDense {
		raiseRegister(b[1:], e)
		return b
	}
	// The place of the first entry whose prefix is not less than e's.
	lo, hi := 0, (len(b)-1)/3
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if entryAt(b[1+3*mid:])>>6 < e>>6 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	at := 1 + 3*lo
	if at < len(b) {
		if old := entryAt(b[at:]); old>>6 == e>>6 {
			if old < e {
				b[at+2] = byte(e)
			}
			return b
		}
	}
	if len(b) >= 1+3*hllMaxSparse {
		b = hllToDense(b)
		raiseRegister(b[1:], e)
		return b
	}
	entry := [3]byte{byte(e >> 16), byte(e >> 8), byte(e)}
	return splice(b, at, at, entry[:])
}

// raiseRegister raises the register of an entry in the packed registers to its rank.
func raiseRegister(regs []byte, e uint32) {
	r, rank := hllRegister(e)
	g := regs[r/4*3 : r/4*3+3]
	group := uint32(g[0]) | uint32(g[1])<<8 | uint32(g[2])<<16
	shift := uint(r%4) * 6
	if uint8(group>>shift&63) < rank {
		group = group&^(63<<shift) | uint32(rank)<<shift
		g[0], g[1], g[2] = byte(group), byte(group>>8), byte(group>>16)
	}
}

// hllToDense turns a sparse sketch dense, in its own memory if that suffices.
func hllToDense(b []byte) []byte {
	var dense [hllMaxBytes]byte
	dense[0] = hllDense
	for s := b[1:]; len(s) > 0; s = s[3:] {
		raiseRegister(dense[1:], entryAt(s))
	}
	return append(b[:0], dense[:]...)
}

// hllMerge merges sketch src into sketch dst; neither is nil.
func hllMerge(dst, src []byte) []byte {
	if dst[0] == hllSparse && src[0] == hllSparse {
		return hllMergeSparse(dst, src)
	}
	if dst[0] == hllSparse {
		var sparse [hllMaxBytes]byte
		entries := sparse[:copy(sparse[:], dst)]
		dst = append(dst[:0], src...)
		src = entries
	}
	if src[0] == hllSparse {
		for s := src[1:]; len(s) > 0; s = s[3:] {
			raiseRegister(dst[1:], entryAt(s))
		}
		return dst
	}
	hllMergeDense(dst[1:], src[1:])
	return dst
}

// hllMergeSparse merges two sparse sketches.
func hllMergeSparse(dst, src []byte) []byte {
	var merged [1 + 6*hllMaxSparse]byte
	out := append(merged[:0], hllSparse)
	a, b := dst[1:], src[1:]
	for len(a) > 0 && len(b) > 0 {
		ea, eb := entryAt(a), entryAt(b)
		switch {
		case ea>>6 < eb>>6:
			out, a = append(out, a[:3]...), a[3:]
		case ea>>6 > eb>>6:
			out, b = append(out, b[:3]...), b[3:]
		default:
			out = appendEntry(out, max(ea, eb))
			a, b = a[3:], b[3:]
		}
	}
	out = append(append(out, a...), b...)
	if len(out) > 1+3*hllMaxSparse {
		var dense [hllMaxBytes]byte
		dense[0] = hllDense
		for s := out[1:]; len(s) > 0; s = s[3:] {
			raiseRegister(dense[1:], entryAt(s))
		}
		return append(dst[:0], dense[:]...)
	}
	return append(dst[:0], out...)
}

// hllMergeDense raises the packed registers of dst to those of src, eight at a time: the even and the odd ones of six
// bytes lie in lanes of 12 bits, whose upper half takes the carry of the comparison.
func hllMergeDense(dst, src []byte) {
	const lanes = 0x03f_03f_03f_03f
	for len(dst) >= 6 && len(src) >= 6 {
		a, b := sixBytes(dst), sixBytes(src)
		w := laneMax(a&lanes, b&lanes) | laneMax(a>>6&lanes, b>>6&lanes)<<6
		binary.LittleEndian.PutUint32(dst, uint32(w))
		binary.LittleEndian.PutUint16(dst[4:], uint16(w>>32))
		dst, src = dst[6:], src[6:]
	}
}

func sixBytes(b []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint16(b[4:]))<<32
}

// laneMax returns the larger of each two numbers of 6 bits in lanes of 12.
func laneMax(a, b uint64) uint64 {
	const carry = 0x040_040_040_040
	ge := (a | carry) - b&^carry
	ge &= carry
	mask := ge - ge>>6 // 6 ones in each lane where a >= b
	return a&mask | b&^mask
}

// hllEstimate returns the estimated number of hashes in a sketch.
func hllEstimate(b []byte) int64 {
	if b[0] == hllSparse {
		const m = 1 << hllSparseP
		return int64(math.Round(m * math.Log(m/(m-float64((len(b)-1)/3)))))
	}
	var histogram [64]int
	for i := 1; i < len(b); i += 3 {
		group := uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16
		histogram[group&63]++
		histogram[group>>6&63]++
		histogram[group>>12&63]++
		histogram[group>>18&63]++
	}
	return int64(math.Min(math.Round(ertlEstimate(&histogram)), 1<<62)) // infinite when all registers are full
}

// ertlEstimate is Ertl's improved raw estimator ("New cardinality estimation algorithms for HyperLogLog sketches",
// 2017, algorithm 6), which needs no correction tables. histogram[k] is the number of registers with rank k.
func ertlEstimate(histogram *[64]int) float64 {
	const m = hllRegisters
	z := m * ertlTau(1-float64(histogram[hllMaxRank])/m)
	for k := hllMaxRank - 1; k >= 1; k-- {
		z = 0.5 * (z + float64(histogram[k]))
	}
	z += m * ertlSigma(float64(histogram[0])/m)
	return m * m / (2 * math.Ln2 * z)
}

// ertlSigma returns x + sum of x^(2^k) * 2^(k-1) over k >= 1.
func ertlSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += float64(x * y)
		y += y
		if z == before {
			return z
		}
	}
}

// ertlTau returns (1 - x - sum of (1 - x^(2^-k))^2 * 2^-k over k >= 1) / 3.
func ertlTau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= float64(float64((1-x)*(1-x)) * y)
		if z == before {
			return z / 3
		}
	}
}

var errRank = errors.New("state has a rank that no hash has")

func hllValidateSparse(b []byte) error {
	if len(b) == 1 || (len(b)-1)%3 != 0 {
		return errStateShort
	}
	if len(b) > 1+3*hllMaxSparse {
		return errStateLong
	}
	before := int64(-1)
	for s := b[1:]; len(s) > 0; s = s[3:] {
		e := entryAt(s)
		if int64(e>>6) <= before {
			return errStateOrder
		}
		before = int64(e >> 6)
		if e&63 < 1 || e&63 > hllSparseMaxRank {
			return errRank
		}
	}
	return nil
}

func hllValidateDense(b []byte) error {
	if len(b) != hllMaxBytes {
		return errStateWidth
	}
	for i := 1; i < len(b); i += 3 {
		group := uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16
		for ; group != 0; group >>= 6 {
			if group&63 > hllMaxRank {
				return errRank
			}
		}
	}
	return nil
}
