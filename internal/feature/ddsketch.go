package feature

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// A DDSketch counts values in bins whose width is in proportion to the values: 35 for each power of two, at the
// fractions binStart, so that the middle of a bin is within 1 % of all values in it. The bins' edges are integers
// compared with the bits of the float64: no logarithm is taken, and every machine puts a value into the same bin.
// Zero has a bin of its own, and each sign has its own bins.
//
// The sketch is bounded by its size. When it would be larger than ddsMaxBytes, every two neighbouring bins are
// joined, over all values alike, as often as is needed; the number of times is its level, and a result is then within
// 2, 4, 8, ... % (ddsError). At level 0 there is room for 600 neighbouring bins of up to 127 values each, so for
// values that fill the range of 1 to 100,000 without a gap. A level is a property of the multiset of values: every
// order and split of the same values gives the same bytes.
//
//	level       1 byte
//	min, max    8 bytes each, float64, little-endian; exact
//	bins        ascending, for each: the number of empty bins since the one before (for the first, since leastKey), then
//	            its count, both as uvarints
//
// Bins are numbered by key: 0 for zero, m+1 for the m-th bin of positive values and -(m+1) of negative ones.
const (
	ddsMaxBytes  = 1280
	ddsHeader    = 1 + 8 + 8
	ddsOctaves   = 1074 + 1024 // powers of two that a float64 can have
	ddsPerOctave = 35
	ddsBins      = ddsOctaves * ddsPerOctave
	ddsMaxLevel  = 17 // one bin for each sign
)

// binStart holds where the bins of an octave start: (2^(k/35) - 1) * 2^32, rounded down. They are part of the format.
var binStart = [ddsPerOctave + 1]uint64{
	0x00000000, 0x051ed352, 0x0a57de9c, 0x0faba81d, 0x151ab8c5, 0x1aa59c41,
	0x204ce108, 0x2611186b, 0x2bf2d6a5, 0x31f2b2e5, 0x38114762, 0x3e4f3168,
	0x44ad1168, 0x4b2b8b0a, 0x51cb453b, 0x588cea3f, 0x5f7127c0, 0x6678aee5,
	0x6da4345d, 0x74f47075, 0x7c6a1f29, 0x8406003b, 0x8bc8d73e, 0x93b36bb1,
	0x9bc68911, 0xa402feeb, 0xac69a0f5, 0xb4fb4720, 0xbdb8cdad, 0xc6a31548,
	0xcfbb031a, 0xd90180e0, 0xe2777d06, 0xec1deabb, 0xf5f5c20d, 0x100000000,
}

// cellBin is the bin in which each 64th of an octave starts; no cell has more than one edge inside.
var cellBin = func() (cells [64]uint8) {
	for k, start := range binStart[:ddsPerOctave] {
		for c := range cells {
			if start <= uint64(c)<<26 {
				cells[c] = uint8(k)
			}
		}
	}
	return cells
}()

// binOf returns the number of the bin at level 0 of a finite x > 0.
func binOf(x float64) int64 {
	b := math.Float64bits(x)
	octave, mant := int64(b>>52)+51, b&(1<<52-1)
	if octave == 51 { // subnormal
		shift := bits.LeadingZeros64(mant) - 11
		octave, mant = int64(52-shift), mant<<shift&(1<<52-1)
	}
	frac := mant >> 20
	k := int64(cellBin[frac>>26])
	if frac >= binStart[k+1] {
		k++
	}
	return octave*ddsPerOctave + k
}

// binKey returns the key of x at a level.
func binKey(x float64, level uint8) int64 {
	switch {
	case x > 0:
		return binOf(x)>>level + 1
	case x < 0:
		return -(binOf(-x)>>level + 1)
	}
	return 0
}

// joinKey returns the key, levels further up, of the bin with a key.
func joinKey(key int64, levels uint8) int64 {
	switch {
	case key > 0:
		return (key-1)>>levels + 1
	case key < 0:
		return -((-key-1)>>levels + 1)
	}
	return 0
}

// leastKey returns the number below every key of a level.
func leastKey(level uint8) int64 { return -((ddsBins-1)>>level + 2) }

// binValue returns the value in the middle of a bin: the one that is off by the same share for both of its edges.
func binValue(key int64, level uint8) float64 {
	if key == 0 {
		return 0
	}
	sign := 1.0
	if key < 0 {
		key, sign = -key, -1
	}
	edge := func(bin int64) (fraction float64, octave int) {
		return 1 + float64(binStart[bin%ddsPerOctave])/(1<<32), int(bin/ddsPerOctave) - 1074
	}
	low, lowOctave := edge((key - 1) << level)
	high, highOctave := edge(key << level)
	ratio := math.Ldexp(low/high, lowOctave-highOctave)
	return sign * math.Ldexp(2*low/(1+ratio), lowOctave)
}

// ddsError returns the relative error that a sketch of a level keeps to.
func ddsError(level uint8) float64 {
	return math.Tanh(math.Ldexp(math.Ln2/ddsPerOctave/2, int(level))) + 1e-9
}

// bins reads the bins of a sketch, joined by levels further than they are stored.
type bins struct {
	rest   []byte
	stored int64 // the key last read from rest
	levels uint8
	key    int64
	count  uint64
	ok     bool // key and count are a bin
	ahead  uint64
	more   bool // stored and ahead are a bin that is read and not yet given
}

// binsOf returns the bins of sketch b at a level not below its own, before the first.
func binsOf(b []byte, level uint8) bins {
	it := bins{rest: b[ddsHeader:], stored: leastKey(b[0]), levels: level - b[0]}
	it.read()
	it.next()
	return it
}

func (it *bins) read() {
	if it.more = len(it.rest) > 0; !it.more {
		return
	}
	gap, count, w := binAt(it.rest)
	it.rest = it.rest[w:]
	it.stored += int64(gap) + 1
	it.ahead = count
}

// binAt reads the bin at the front of b, which is not empty, and its length.
func binAt(b []byte) (gap, count uint64, w int) {
	if len(b) > 1 && (b[0]|b[1]) < 0x80 {
		return uint64(b[0]), uint64(b[1]), 2
	}
	return longBinAt(b)
}

func longBinAt(b []byte) (gap, count uint64, w int) {
	gap, w = uvarint(b)
	count, v := uvarint(b[w:])
	return gap, count, w + v
}

// next steps to the next bin.
func (it *bins) next() {
	if it.ok = it.more; !it.ok {
		return
	}
	it.key, it.count = it.stored, it.ahead
	if it.levels == 0 {
		it.read()
		return
	}
	it.key = joinKey(it.stored, it.levels)
	for it.read(); it.more && joinKey(it.stored, it.levels) == it.key; it.read() {
		it.count += it.ahead
	}
}

// ddsNew returns a sketch of x alone, in the memory of b.
func ddsNew(b []byte, x float64) []byte {
	b = append(b[:0], 0)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	return append(binary.AppendUvarint(b, uint64(binKey(x, 0)-leastKey(0)-1)), 1)
}

func ddsMin(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b[1:])) }
func ddsMax(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b[9:])) }

// ddsWiden makes the extremes of sketch b cover low and high.
func ddsWiden(b []byte, low, high float64) {
	if low < ddsMin(b) {
		binary.LittleEndian.PutUint64(b[1:], math.Float64bits(low))
	}
	if high > ddsMax(b) {
		binary.LittleEndian.PutUint64(b[9:], math.Float64bits(high))
	}
}

// ddsAdd counts x, which is finite and not -0, in a sketch or nil.
func ddsAdd(b []byte, x float64) []byte {
	if len(b) == 0 {
		return ddsNew(b, x)
	}
	ddsWiden(b, x, x)
	key, before := binKey(x, b[0]), leastKey(b[0])
	var e [4 * binary.MaxVarintLen64]byte
	for i := ddsHeader; i < len(b); {
		gap, count, w := binAt(b[i:])
		at := before + int64(gap) + 1
		if at < key {
			before = at
			i += w
			continue
		}
		in := e[:0]
		if at == key {
			in = appendBin(in, key-before-1, count+1)
		} else {
			in = appendBin(appendBin(in, key-before-1, 1), at-key-1, count)
		}
		return ddsFit(splice(b, i, i+w, in))
	}
	return ddsFit(appendBin(b, key-before-1, 1))
}

// ddsMerge merges sketch src into sketch dst; neither is nil.
func ddsMerge(dst, src []byte) []byte {
	level := max(dst[0], src[0])
	var merged [2 * ddsMaxBytes]byte
	out := merged[:0]
	a, b := binsOf(dst, level), binsOf(src, level)
	before := leastKey(level)
	for a.ok || b.ok {
		var key int64
		var count uint64
		switch {
		case !b.ok || a.ok && a.key < b.key:
			key, count = a.key, a.count
			a.next()
		case !a.ok || b.key < a.key:
			key, count = b.key, b.count
			b.next()
		default:
			key, count = a.key, a.count+b.count
			a.next()
			b.next()
		}
		out = appendBin(out, key-before-1, count)
		before = key
	}
	ddsWiden(dst, ddsMin(src), ddsMax(src))
	dst[0] = level
	return ddsFit(append(dst[:ddsHeader], out...))
}

func appendBin(b []byte, gap int64, count uint64) []byte {
	if uint64(gap)|count < 0x80 {
		return append(b, byte(gap), byte(count))
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(gap)), count)
}

// ddsFit joins bins until the sketch is within its bound. Joined bins never take more bytes than they did before.
func ddsFit(b []byte) []byte {
	for len(b) > ddsMaxBytes && b[0] < ddsMaxLevel {
		level := b[0] + 1
		out := b[:ddsHeader]
		before := leastKey(level)
		for it := binsOf(b, level); it.ok; {
			key, count := it.key, it.count
			it.next()
			out = appendBin(out, key-before-1, count)
			before = key
		}
		b = out
		b[0] = level
	}
	return b
}

// ddsQuantile returns the value of rank floor(q*(n-1)) of n, counted from 0: the least and the largest exactly,
// others from the middle of their bin.
func ddsQuantile(b []byte, q float64) float64 {
	var n uint64
	for i := ddsHeader; i < len(b); {
		_, count, w := binAt(b[i:])
		n += count
		i += w
	}
	low, high := ddsMin(b), ddsMax(b)
	rank := uint64(math.Floor(q * float64(n-1)))
	if rank == 0 {
		return low
	}
	if rank >= n-1 {
		return high
	}
	var seen uint64
	key := leastKey(b[0])
	for i := ddsHeader; i < len(b); {
		gap, count, w := binAt(b[i:])
		key += int64(gap) + 1
		if seen += count; seen > rank {
			return math.Min(math.Max(binValue(key, b[0]), low), high)
		}
		i += w
	}
	return high
}

// ddsValidate reports why bytes from outside, not empty, are not a sketch.
func ddsValidate(b []byte) error {
	if len(b) < ddsHeader+2 {
		return errStateShort
	}
	if len(b) > ddsMaxBytes {
		return errStateLong
	}
	level, low, high := b[0], ddsMin(b), ddsMax(b)
	if level > ddsMaxLevel {
		return errors.New("state has a level that no sketch has")
	}
	for _, x := range [...]float64{low, high} {
		if x-x != 0 || math.Float64bits(x) == signBit {
			return errors.New("state has an extreme that is not finite or is -0")
		}
	}
	key, first, total := leastKey(level), true, uint64(0)
	for rest := b[ddsHeader:]; len(rest) > 0; first = false {
		gap, w, err := checkUvarint(rest)
		if err != nil {
			return err
		}
		count, v, err := checkUvarint(rest[w:])
		if err != nil {
			return err
		}
		rest = rest[w+v:]
		if gap > 2*ddsBins || count == 0 || count > 1<<62 || total > 1<<62 {
			return errors.New("state has a bin that no value is in, or too many")
		}
		key += int64(gap) + 1
		total += count
		if first && key != binKey(low, level) {
			return errors.New("state's least value is not in its first bin")
		}
	}
	if key != binKey(high, level) || low > high {
		return errors.New("state's largest value is not in its last bin")
	}
	return nil
}
