package quality

import (
	"encoding/binary"
	"math"
	"math/big"

	"github.com/freshet-io/freshet/monitors/wire"
)

// exact is a sum of finite float64s without rounding, as a whole number of 2^-1074, which every float64 is. What was
// added in any order and taken out again leaves nothing behind.
type exact struct{ units big.Int }

// unit is the binary exponent of the smallest float64.
const unit = -1074

// add adds sign times x, which is finite; sign is 1 or -1.
func (e *exact) add(x float64, sign int64) {
	if x == 0 {
		return
	}
	fraction, exponent := math.Frexp(x)
	mantissa := int64(fraction * (1 << 53))
	var v big.Int
	v.SetInt64(sign * mantissa)
	if shift := exponent - 53 - unit; shift >= 0 {
		v.Lsh(&v, uint(shift))
	} else {
		v.Quo(&v, new(big.Int).Lsh(big.NewInt(1), uint(-shift))) // subnormal: the bits shifted out are zero
	}
	e.units.Add(&e.units, &v)
}

func (e *exact) merge(o *exact) { e.units.Add(&e.units, &o.units) }

// float is the sum, rounded once.
func (e *exact) float() float64 {
	if e.units.Sign() == 0 {
		return 0
	}
	var f big.Float
	f.SetInt(&e.units)
	f.SetMantExp(&f, unit)
	v, _ := f.Float64()
	return v
}

// append appends the sum: its sign (a byte: 0 for zero, 1, or 2 for negative), and if it is not zero how many zero bits end it
// (uvarint) and the bytes before them, big-endian, after their number.
func (e *exact) append(dst []byte) []byte {
	switch e.units.Sign() {
	case 0:
		return append(dst, 0)
	case 1:
		dst = append(dst, 1)
	default:
		dst = append(dst, 2)
	}
	var v big.Int
	v.Abs(&e.units)
	zeros := v.TrailingZeroBits()
	v.Rsh(&v, zeros)
	return wire.AppendBytes(binary.AppendUvarint(dst, uint64(zeros)), v.Bytes())
}

// maxZeros is more zero bits than a sum of float64s can end in.
const maxZeros = 4096

func readExact(r *wire.Reader) (e exact) {
	sign := r.Byte()
	if sign == 0 {
		return e
	}
	zeros := min(r.Uvarint(), maxZeros)
	e.units.SetBytes(r.Bytes())
	e.units.Lsh(&e.units, uint(zeros))
	if sign == 2 {
		e.units.Neg(&e.units)
	}
	return e
}
