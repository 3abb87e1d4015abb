package offline

import (
	"cmp"
	"errors"
	"slices"
)

// ErrDiffers is wrapped by the refusal to change a table of a store into what the definition asks for, where something
// would be lost.
var ErrDiffers = errors.New("the table is not what the definition asks for")

// A Place is where a store goes on with a partition.
type Place struct {
	Next    int64  // the first offset that no complete range covers
	Pending *Range // written in part: it must be written again, exactly so, before anything else; nil: none is
}

// CompareRanges orders ranges by topic, partition and beginning, longer ones first.
func CompareRanges(a, b Range) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First), cmp.Compare(b.End, a.End))
}

// Join returns ranges sorted, those of a partition that meet or overlap as one. It reuses the memory of the given ones.
func Join(ranges []Range) []Range {
	slices.SortFunc(ranges, CompareRanges)
	var out []Range
	for _, r := range ranges {
		if n := len(out) - 1; n >= 0 && out[n].Topic == r.Topic && out[n].Partition == r.Partition && r.First <= out[n].End {
			out[n].End = max(out[n].End, r.End)
			continue
		}
		out = append(out, r)
	}
	return out
}
