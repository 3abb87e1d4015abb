package significance

import (
	"errors"
	"fmt"
	"math"
)

// Sequential watches a stream batch by batch, for streams too thin for windows. It raises an alarm on average not
// earlier than after a stated number of batches, or time, while nothing has changed, whatever the distribution: the average
// run length is a guarantee at every length, not an approximation.
//
// It bets. A bet pays, for each value by its bin, a factor g whose mean under the reference is at most 1; of a batch it pays
// the product. The detector of a bet is the Shiryaev-Roberts recursion S ← (w+S) g: S less the sum of the weights w so far is
// a supermartingale, so the sum of weights until S, or a mean of several S, reaches A is at least A on average (Shin, Ramdas
// and Rinaldo 2022, e-detectors). A weight of 1 counts batches; the time that a batch is of, which does not depend on what its
// values are, makes A a time however many values come in it. The mean of the S of several detectors is such an S again: of m
// series of which each alarms at m A, none does on average before A. Lowering an S keeps all that: each is held
// under a bound, and all begin anew when an alarm is over, so that what one chance has won is one alarm.
// The bets are on larger and smaller values, wider and narrower spread (ordered bins), and on more of each special bin or
// category. The reference is a sample: payoffs are lowered by three standard errors of their mean under it,
// and the guarantee is for a reference that is no further off than that.
//
// It holds 12 numbers an ordered bin and 2 a special bin or category. Values are taken as independent: a value that repeats its entity's last one should be offered once.
type Sequential struct {
	runLength float64
	payoffs   [][]float64 // logarithms of what bets on ranks pay, by bet and bin
	ranks     []float64   // S by bet on ranks
	hits      []float64   // of bets on bins: the logarithm of what bin special+i pays; every other bin pays miss
	bins      []float64   // S by bet on a bin
	special   int
	alarmed   bool // the score has reached the run length, and not fallen below the part of it at which an alarm is over
}

// NewSequential makes a detector for values that fall into the bins of ref, of which those before special are ordered
// (numeric columns), or with special 0 none (categorical ones). runLength is the least average weight between
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
		q.hits = append(q.hits, math.Log(hit(ref[i]/n, nEffRef)))
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

var logMiss = math.Log(miss)

// hit is what a bet on a bin pays where the bin came. Its chance is taken to be as high as three standard errors allow, by
// Wilson's bound for few: of a bin that the reference has none of, 9 in its size.
func hit(share, nEff float64) float64 {
	c := share * nEff
	return miss + (1-miss)/min(1, (c+4.5+3*math.Sqrt(c+2.25))/nEff)
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
		g[i] = math.Log(g[i] / most)
	}
	q.payoffs = append(q.payoffs, g)
}

// mostOver is how far above its share of an alarm the score of a bet goes: an alarm of a few bets goes on while any of them
// wins, and one that wins no more loses that much again, the sooner the higher its stake.
const mostOver = 2

// SequentialOver is the part of the run length below which an alarm is over. A change that goes on wins and loses by chance.
const SequentialOver = 0.3

// Observe takes how many values of the next batch fell into each bin, and what the batch weighs, from 0 on. It reports whether
// there is an alarm: from where the score reaches the run length until it is below a part of that, SequentialOver, and begins anew.
func (q *Sequential) Observe(counts []uint64, weight float64) (bool, error) {
	if len(counts) != q.special+len(q.bins) {
		return false, fmt.Errorf("sequential test: %d bins, the reference has %d", len(counts), q.special+len(q.bins))
	}
	if !(weight >= 0) || !finite(weight) {
		return false, fmt.Errorf("sequential test: weight %g", weight)
	}
	var n float64
	for _, c := range counts {
		n += float64(c)
	}
	most := mostOver * q.runLength * float64(len(q.ranks)+len(q.bins))
	for i, g := range q.payoffs {
		var pays float64
		for k, c := range counts {
			if c > 0 {
				pays += float64(c) * g[k]
			}
		}
		q.ranks[i] = paid(weight+q.ranks[i], pays, most)
	}
	for i := range q.bins {
		c := float64(counts[q.special+i])
		q.bins[i] = paid(weight+q.bins[i], c*q.hits[i]+(n-c)*logMiss, most)
	}
	switch score := q.Score(); {
	case score >= q.runLength:
		q.alarmed = true
	case q.alarmed && score < SequentialOver*q.runLength:
		q.Reset()
	}
	return q.alarmed, nil
}

// paid is a score after a payoff, given by its logarithm, at most so much.
func paid(score, pays, most float64) float64 {
	if score == 0 {
		return 0
	}
	return min(most, score*math.Exp(pays))
}

// Score is the mean of the bets' recursions.
func (q *Sequential) Score() float64 {
	bets := len(q.ranks) + len(q.bins)
	if bets == 0 {
		return 0
	}
	return (sum(q.ranks) + sum(q.bins)) / float64(bets)
}

// State appends what the detector remembers: 1 if there is an alarm, else 0, and a number for each bet.
func (q *Sequential) State(dst []float64) []float64 {
	alarmed := 0.0
	if q.alarmed {
		alarmed = 1
	}
	return append(append(append(dst, alarmed), q.ranks...), q.bins...)
}

// Restore takes up what State returned of a detector of the same reference. It reports whether it fits; else the detector
// begins anew.
func (q *Sequential) Restore(state []float64) bool {
	if len(state) != 1+len(q.ranks)+len(q.bins) {
		q.Reset()
		return false
	}
	q.alarmed = state[0] != 0
	copy(q.bins, state[1+copy(q.ranks, state[1:]):])
	return true
}

// Reset begins anew.
func (q *Sequential) Reset() {
	clear(q.ranks)
	clear(q.bins)
	q.alarmed = false
}
