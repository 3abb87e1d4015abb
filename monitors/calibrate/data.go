package calibrate

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// fineBins is how many bins of equal reference share a numeric column is counted on.
const fineBins = 40

// shape is a distribution of one column.
type shape struct {
	name       string
	categories int // 0 for numbers
	draw       func(*rand.Rand) float64
}

// shapes are the five that false alarms are counted on.
func shapes() []shape {
	return []shape{
		{name: "normal", draw: (*rand.Rand).NormFloat64},
		{name: "lognormal", draw: func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }},
		{name: "zero-inflated", draw: func(r *rand.Rand) float64 {
			if r.Float64() < 0.6 {
				return 0
			}
			return r.ExpFloat64()
		}},
		{name: "integers with ties", draw: func(r *rand.Rand) float64 { return math.Floor(4 * r.ExpFloat64()) }},
		{name: "20 categories", categories: 20, draw: func(r *rand.Rand) float64 { return float64(r.IntN(20)) }},
	}
}

func (s shape) sample(r *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = s.draw(r)
	}
	return out
}

// bins are upper edges; values beyond the last go to one bin more. A reference fixes them.
type bins []float64

// binsOf cuts a sample into bins of equal shares. Ties make fewer: a value with more than one share ends a bin of its own.
func binsOf(sample []float64, count int) bins {
	sorted := slices.Clone(sample)
	slices.Sort(sorted)
	var b bins
	for i := 1; i <= count; i++ {
		b = append(b, sorted[(len(sorted)*i-1)/count])
	}
	return slices.Compact(b)
}

func categoryBins(categories int) bins {
	var b bins
	for i := range categories {
		b = append(b, float64(i))
	}
	return b
}

func (b bins) find(x float64) int { return sort.SearchFloat64s(b, x) }

func (b bins) count(sample []float64) []float64 {
	out := make([]float64, len(b)+1)
	for _, x := range sample {
		out[b.find(x)]++
	}
	return out
}

// points are where a sample's values lie in each bin, on average; an empty bin's point is its upper edge, and the last
// one's the last edge.
func (b bins) points(sample []float64) []float64 {
	sums, counts := make([]float64, len(b)+1), b.count(sample)
	for _, x := range sample {
		sums[b.find(x)] += x
	}
	for i := range sums {
		switch {
		case counts[i] > 0:
			sums[i] /= counts[i]
		default:
			sums[i] = b[min(i, len(b)-1)]
		}
	}
	return sums
}

func deviation(sample []float64) float64 {
	var mean, square float64
	for _, x := range sample {
		mean += x / float64(len(sample))
	}
	for _, x := range sample {
		square += (x - mean) * (x - mean) / float64(len(sample))
	}
	return math.Sqrt(square)
}

// stream is one column of a stream of rows, one after another.
type stream interface{ next() float64 }

type independent struct{ r *rand.Rand }

func (s independent) next() float64 { return s.r.NormFloat64() }

// repeated serves each value so many times in a row.
type repeated struct {
	r           *rand.Rand
	times, left int
	value       float64
}

func (s *repeated) next() float64 {
	if s.left == 0 {
		s.value, s.left = s.r.NormFloat64(), s.times
	}
	s.left--
	return s.value
}

// daily serves each value more often the busier it is: 30 times in a row, less or more 20 by the time of day.
type daily struct {
	repeated
	rows, day int
}

func (s *daily) next() float64 {
	if s.left == 0 {
		s.times = 30 + int(math.Round(20*math.Sin(2*math.Pi*float64(s.rows)/float64(s.day))))
	}
	s.rows++
	return s.repeated.next()
}

// autoregressive is an AR(1) stream of variance 1.
type autoregressive struct {
	r               *rand.Rand
	coefficient, at float64
}

func (s *autoregressive) next() float64 {
	c := s.coefficient
	s.at = c*s.at + math.Sqrt(1-c*c)*s.r.NormFloat64()
	return s.at
}

// entities serves the values of entities that come by Zipf's law. An entity's value lasts for a number of rows of the
// stream that is exponential with the given mean, and is then drawn anew.
type entities struct {
	r      *rand.Rand
	which  *rand.Zipf
	lasts  float64
	values []float64
	until  []float64
	row    float64
}

func newEntities(r *rand.Rand, count int, exponent, lasts float64) *entities {
	return &entities{
		r: r, which: rand.NewZipf(r, exponent, 1, uint64(count-1)), lasts: lasts,
		values: make([]float64, count), until: make([]float64, count),
	}
}

func (s *entities) next() float64 {
	s.row++
	e := s.which.Uint64()
	if s.row > s.until[e] {
		s.values[e], s.until[e] = s.r.NormFloat64(), s.row+s.lasts*s.r.ExpFloat64()
	}
	return s.values[e]
}
