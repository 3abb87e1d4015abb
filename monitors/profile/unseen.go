package profile

import (
	"bytes"
	"cmp"
	"slices"
	"unsafe"

	"github.com/freshet-io/freshet/internal/feature"
)

// maxUnseen is how many categories without a bin are counted by name.
const maxUnseen = 16

// unseen is what is known of the values in the bin Other: about how many different ones, by a HyperLogLog sketch, and the
// most frequent ones by the algorithm of Misra and Gries (1982), merged as Agarwal and others do ("Mergeable
// summaries", 2012). A category was there at least as often as its count and at most lost times more; a category that is
// not listed at most lost times. lost is at most 1/(maxUnseen+1) of the values in Other. Which categories are listed
// below that bound depends on the order of the values; the sketch and the bound do not.
type unseen struct {
	distinct []byte // state of approx_distinct
	listed   []unseenCategory
	lost     uint64
	agg      feature.Aggregator
	value    feature.Value // what add gives to agg
}

type unseenCategory struct {
	length uint8
	name   [MaxCategoryBytes]byte
	count  uint64
}

func (c *unseenCategory) bytes() []byte { return c.name[:c.length] }

func newUnseen(distinct feature.Aggregator) *unseen {
	return &unseen{agg: distinct, listed: make([]unseenCategory, 0, maxUnseen)}
}

// add counts a category, already abbreviated, that was there so often.
func (u *unseen) add(name []byte, count uint64) {
	u.value = feature.StringValue(unsafe.String(unsafe.SliceData(name), len(name)))
	u.distinct = u.agg.Add(u.distinct, &u.value, nil)
	u.value = feature.Value{}
	for i := range u.listed {
		if bytes.Equal(u.listed[i].bytes(), name) {
			u.listed[i].count += count
			return
		}
	}
	for len(u.listed) == cap(u.listed) {
		// All counts, this one's too, fall by the least of them: that takes so many of maxUnseen+1 different categories
		// at once, which is where the bound comes from.
		least := count
		for i := range u.listed {
			least = min(least, u.listed[i].count)
		}
		u.lost += least
		count -= least
		u.fall(least)
		if count == 0 {
			return
		}
	}
	u.listed = u.listed[:len(u.listed)+1]
	c := &u.listed[len(u.listed)-1]
	c.length, c.count = uint8(copy(c.name[:], name)), count
}

// fall takes n from all counts and drops the categories that have none left.
func (u *unseen) fall(n uint64) {
	kept := u.listed[:0]
	for i := range u.listed {
		if c := u.listed[i]; c.count > n {
			c.count -= n
			kept = append(kept, c)
		}
	}
	u.listed = kept
}

// merge adds what is known of other values.
func (u *unseen) merge(o *unseen) {
	u.distinct = u.agg.Merge(u.distinct, o.distinct)
	all := append(make([]unseenCategory, 0, 2*maxUnseen), u.listed...)
	for i := range o.listed {
		c := &o.listed[i]
		if k := slices.IndexFunc(all, func(a unseenCategory) bool { return bytes.Equal(a.bytes(), c.bytes()) }); k >= 0 {
			all[k].count += c.count
		} else {
			all = append(all, *c)
		}
	}
	sortUnseen(all)
	u.lost += o.lost
	u.listed = u.listed[:0]
	var least uint64
	if len(all) > maxUnseen {
		least = all[maxUnseen].count
		u.lost += least
	}
	for _, c := range all[:min(len(all), maxUnseen)] {
		if c.count > least {
			c.count -= least
			u.listed = append(u.listed, c)
		}
	}
}

// sortUnseen orders categories: the most frequent first, equal ones by name.
func sortUnseen(c []unseenCategory) {
	slices.SortFunc(c, func(a, b unseenCategory) int {
		return cmp.Or(cmp.Compare(b.count, a.count), bytes.Compare(a.bytes(), b.bytes()))
	})
}

// reset forgets everything and keeps the memory.
func (u *unseen) reset() { u.distinct, u.listed, u.lost = u.distinct[:0], u.listed[:0], 0 }

// Unseen is what is known of values without a bin of their own.
type Unseen struct {
	Distinct   uint64 // about how many different ones; standard error 1.6 %
	Categories []UnseenCategory
	Error      uint64 // how much higher each count may be, and that of a category that is not listed
}

// UnseenCategory is one of the most frequent categories without a bin.
type UnseenCategory struct {
	Name  string
	Count uint64 // at least; see Unseen.Error
}

// Unseen returns what is known of the values in the bin Other.
func (p *Profile) Unseen() Unseen {
	if p.unseen == nil {
		return Unseen{}
	}
	u := p.unseen
	out := Unseen{Error: u.lost}
	if len(u.distinct) > 0 {
		v := u.agg.Result(u.distinct)
		out.Distinct = uint64(v.Int64())
	}
	listed := slices.Clone(u.listed)
	sortUnseen(listed)
	for i := range listed {
		out.Categories = append(out.Categories, UnseenCategory{string(listed[i].bytes()), listed[i].count})
	}
	return out
}
