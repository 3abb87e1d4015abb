package significance

import (
	"errors"
	"fmt"
	"math"
)

// Sequential watches a stream value by value, for streams too thin for windows. It raises an alarm on average not
// earlier than after a stated number of values, or time, while nothing has changed, whatever the distribution: the average
// run length is a guarantee at every length, not an approximation.
//
// It bets. A bet pays, for each value by its bin, a factor g whose mean under the reference is at most 1. The detector of a
// bet is the Shiryaev-Roberts recursion S ← (w+S) g: S less the sum of the weights w so far is a supermartingale, so the sum
// of weights until S, or a mean of several S, reaches A is at least A on average (Shin, Ramdas and Rinaldo 2022,
// e-detectors). A weight of 1 counts values; the time since the value before, which does not depend on what the value is,
// makes A a time however many values come in it. The mean of the S of several detectors is such an S again: of m series
// of which each alarms at m A, none does on average before A.
// The bets are on larger and smaller values, wider and narrower spread (ordered bins), and on more of each special bin or
// category. The reference is a sample: payoffs are lowered by three standard errors of their mean under it.
//
// It holds 12 numbers an ordered bin and 2 a special bin or category. Values are taken as independent: a value that repeats its entity's last one should be offered once.
type Sequential struct {
	runLength float64
	payoffs   [][]float64 // of bets on ranks, by bet and bin
	ranks     []float64   // S by bet on ranks
	hits      []float64   // of bets on bins: what bin special+i pays; every other bin pays miss
	bins      []float64   // S by bet on a bin
	special   int
}

// NewSequential makes a detector for values that fall into the bins of ref, of which those before special are ordered
// (numeric columns), or with special 0 none (categorical ones). runLength is the least average number of values between
// false alarms; nEffRef is the reference's effective size, 0 for its counts' sum.
func NewSequential(ref []float64, special int, nEffRef, runLength float64) (*Sequential, error) {
	if special < 0 || special > len(ref) {
		return nil, fmt.Errorf("sequential test: special bins from %d on, of %d", special, len(ref))
	}
	if !(runLength >= 1) || !(nEffRef >= 0) || !finite(runLength) {
		return nil, fmt.Errorf("sequential test: run length %g, effective size %g", runLength, nEffRef)
	}
	for i, c := range ref {
		if !(c >= 0) || !finite(c) {
			return nil, fmt.Errorf("sequential test: %w in bin %d", errCount, i)
		}
	}
	n := sum(ref)
	if n == 0 {
		return nil, errors.New("sequential test: the reference is empty")
	}
	if nEffRef == 0 {
		nEffRef = n
	}
	q := &Sequential{runLength: runLength, special: special}
	q.betOnRanks(ref, special, n, nEffRef)
	for i := special; i < len(ref); i++ {
		q.hits = append(q.hits, hit(ref[i]/n, nEffRef))
	}
	q.ranks, q.bins = make([]float64, len(q.payoffs)), make([]float64, len(q.hits))
	return q, nil
}

func (q *Sequential) betOnRanks(ref []float64, special int, n, nEff float64) {
	ordered := sum(ref[:special])
	if ordered == 0 {
		return
	}
	rank := make([]float64, len(ref)) // from -1 to 1, special bins 0
	wide := make([]float64, len(ref))
	var below, mean float64
	for i := range special {
		share := ref[i] / ordered
		rank[i] = 2*below + share - 1
		below += share
		mean += share * math.Abs(rank[i])
	}
	for i := range special {
		wide[i] = math.Abs(rank[i]) - mean
	}
	for _, stake := range []float64{-0.8, -0.4, -0.15, 0.15, 0.4, 0.8} {
		for _, score := range [][]float64{rank, wide} {
			g := make([]float64, len(ref))
			for i := range g {
				g[i] = 1 + stake*score[i]
			}
			q.add(g, ref, n, nEff)
		}
	}
}

// miss is what a bet on a bin keeps of its score where another bin came.
const miss = 0.8

// hit is what a bet on a bin pays where the bin came. Its chance is not known better than to a value of the reference.
func hit(share, nEff float64) float64 {
	p := max(share, 1/nEff)
	return miss + (1-miss)/(p+3*math.Sqrt(p/nEff))
}

// add lowers a payoff by three standard errors of its mean under the reference.
func (q *Sequential) add(g, ref []float64, n, nEff float64) {
	var mean, square float64
	for i, c := range ref {
		mean += c / n * g[i]
		square += c / n * g[i] * g[i]
	}
	most := mean + 3*math.Sqrt(max(0, square-mean*mean)/nEff)
	for i := range g {
		g[i] /= most
	}
	q.payoffs = append(q.payoffs, g)
}

// Observe takes the bin of the next value and what it weighs, from 0 on, and reports whether the detector's score reached
// the run length. After an alarm the detector begins anew.
func (q *Sequential) Observe(bin int, weight float64) (bool, error) {
	if bin < 0 || bin >= q.special+len(q.bins) {
		return false, fmt.Errorf("sequential test: no bin %d", bin)
	}
	if !(weight >= 0) || !finite(weight) {
		return false, fmt.Errorf("sequential test: weight %g", weight)
	}
	for i, g := range q.payoffs {
		q.ranks[i] = (weight + q.ranks[i]) * g[bin]
	}
	for i := range q.bins {
		q.bins[i] = (weight + q.bins[i]) * miss
	}
	if i := bin - q.special; i >= 0 {
		q.bins[i] *= q.hits[i] / miss
	}
	if q.Score() < q.runLength {
		return false, nil
	}
	q.Reset()
	return true, nil
}

// Score is the mean of the bets' recursions; an alarm is raised where it reaches the run length.
func (q *Sequential) Score() float64 {
	bets := len(q.ranks) + len(q.bins)
	if bets == 0 {
		return 0
	}
	return (sum(q.ranks) + sum(q.bins)) / float64(bets)
}

// State appends what the detector remembers: a number for each bet.
func (q *Sequential) State(dst []float64) []float64 {
	return append(append(dst, q.ranks...), q.bins...)
}

// Restore takes up what State returned of a detector of the same reference. It reports whether it fits; else the detector
// begins anew.
func (q *Sequential) Restore(state []float64) bool {
	if len(state) != len(q.ranks)+len(q.bins) {
		q.Reset()
		return false
	}
	copy(q.bins, state[copy(q.ranks, state):])
	return true
}

// Reset begins anew.
func (q *Sequential) Reset() {
	clear(q.ranks)
	clear(q.bins)
}
