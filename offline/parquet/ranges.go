package parquet

import (
	"slices"

	"github.com/freshet-io/freshet/offline"
)

// partition names what ranges are ranges of.
type partition struct {
	topic string
	num   int32
}

func partitionOf(r offline.Range) partition { return partition{r.Topic, r.Partition} }

// subtract returns what of r none of taken has; taken are joined ranges of r's partition.
func subtract(r offline.Range, taken []offline.Range) []offline.Range {
	var out []offline.Range
	for _, t := range taken {
		if t.End <= r.First {
			continue
		}
		if t.First >= r.End {
			break
		}
		if t.First > r.First {
			out = append(out, offline.Range{Topic: r.Topic, Partition: r.Partition, First: r.First, End: t.First})
		}
		r.First = t.End
		if r.First >= r.End {
			return out
		}
	}
	return append(out, r)
}

func overlap(a, b offline.Range) bool {
	return partitionOf(a) == partitionOf(b) && a.First < b.End && b.First < a.End
}

// within reports whether joined ranges hold all of r.
func within(r offline.Range, joined []offline.Range) bool {
	return slices.ContainsFunc(joined, func(j offline.Range) bool {
		return partitionOf(j) == partitionOf(r) && j.First <= r.First && r.End <= j.End
	})
}
