package profile

import (
	"errors"
	"fmt"
	"slices"
)

// ErrOtherBins is returned where two profiles of different bins meet. Align compares such profiles.
var ErrOtherBins = errors.New("the profiles have different bins")

// Counts are how many values each bin of a column has: exact integers, the part of a profile that can be subtracted.
// A Counts is used by one goroutine at a time.
type Counts struct {
	bins *Bins
	n    []uint64 // for each bin, in bin order, special bins last
}

// NewCounts returns empty counts.
func NewCounts(b *Bins) *Counts { return &Counts{bins: b, n: make([]uint64, b.Len())} }

// Bins returns the bins that are counted in.
func (c *Counts) Bins() *Bins { return c.bins }

// Counts returns the number of values of each bin, in bin order, special bins last. The caller does not change it; it
// holds until the counts change.
func (c *Counts) Counts() []uint64 { return c.n }

// Of returns the number of values in a special bin.
func (c *Counts) Of(s Special) uint64 { return c.n[c.bins.At(s)] }

// Rows returns the number of values of all bins, nulls included.
func (c *Counts) Rows() uint64 { return sum(c.n) }

// Present returns the number of values of regular bins, and of Other where the bins are categories: those that a
// distribution is made of.
func (c *Counts) Present() uint64 { return sum(c.n[:c.bins.Regular()]) + c.Of(Other) }

func sum(n []uint64) (total uint64) {
	for _, k := range n {
		total += k
	}
	return total
}

// Add adds other counts.
func (c *Counts) Add(o *Counts) error {
	if !c.bins.Equal(o.bins) {
		return ErrOtherBins
	}
	for i, k := range o.n {
		c.n[i] += k
	}
	return nil
}

// Subtract takes away counts that were added before. It refuses, and changes nothing, what would leave less than
// nothing.
func (c *Counts) Subtract(o *Counts) error {
	if !c.bins.Equal(o.bins) {
		return ErrOtherBins
	}
	for i, k := range o.n {
		if k > c.n[i] {
			return fmt.Errorf("bin %q has %d values, of which %d cannot be taken away", c.bins.Name(i), c.n[i], k)
		}
	}
	for i, k := range o.n {
		c.n[i] -= k
	}
	return nil
}

// Clone returns counts of their own.
func (c *Counts) Clone() *Counts { return &Counts{bins: c.bins, n: slices.Clone(c.n)} }

// Reset makes the counts empty.
func (c *Counts) Reset() { clear(c.n) }
