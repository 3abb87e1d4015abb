package profile

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/freshet-io/freshet/internal/feature"
)

// MaxCategoryBytes is the length of the longest category that is kept as it is. A longer one is known by its first
// bytes, three dots and the hash of all of it.
const MaxCategoryBytes = 128

// categorical tells the types whose columns are categorical unless they are asked to be numeric.
func categorical(t feature.Type) bool {
	return t == feature.String || t == feature.Bytes || t == feature.Bool
}

// abbreviate appends the category that a value is known by.
func abbreviate(dst []byte, s string) []byte {
	if len(s) <= MaxCategoryBytes {
		return append(dst, s...)
	}
	const mark = "..."
	dst = append(append(dst, s[:MaxCategoryBytes-len(mark)-16]...), mark...)
	hash := xxhash.Sum64String(s)
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[hash>>shift&15])
	}
	return dst
}

// appendCategory appends the category of a value of a type that has categories. ok is false for any other value.
func appendCategory(dst []byte, v *feature.Value) (_ []byte, ok bool) {
	switch v.Type() {
	case feature.String, feature.Bytes:
		return abbreviate(dst, v.Str()), true
	case feature.Int64:
		return strconv.AppendInt(dst, v.Int64(), 10), true
	case feature.Bool:
		return strconv.AppendBool(dst, v.Bool()), true
	}
	return dst, false
}

// category is a value and how often it was there.
type category struct {
	name  string
	count uint64
}

// byCount orders categories: the most frequent first, equal ones by name.
func byCount(a, b category) int {
	return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name))
}

// CategoricalBins makes the bins of a categorical column (feature.String, Bytes, Bool or Int64) from the values of a
// reference, each with how often it was there: all of them, or where there are more than the options' cap the most
// frequent ones, as far as these stand out. A value may come several times. Bool always has both values.
func CategoricalBins(t feature.Type, values iter.Seq2[string, uint64], o Options) (*Bins, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if !categorical(t) && t != feature.Int64 {
		return nil, fmt.Errorf("a column of type %s has no categories", t)
	}
	counts := map[string]uint64{}
	if t == feature.Bool {
		counts["false"], counts["true"] = 0, 0
	}
	var buf []byte
	for name, count := range values {
		buf = abbreviate(buf[:0], name)
		counts[string(buf)] += count
	}
	return newBins(Bins{kind: Categorical, typ: t, categories: frequent(counts, o.Categories)})
}

// frequent returns the n most frequent names. If there are more than n it returns those alone that are there clearly more
// often than the first that has no place: by four standard deviations. Which of many equally frequent values have the
// largest counts is chance, and a bin that was chosen for its luck in the reference is less full in any other sample: a
// column of three thousand names, each there seven times, would have drifted whenever it is looked at.
func frequent(counts map[string]uint64, n int) []string {
	all := make([]category, 0, len(counts))
	for name, count := range counts {
		all = append(all, category{name, count})
	}
	slices.SortFunc(all, byCount)
	least := 0.0
	if len(all) > n {
		first := float64(all[n].count)
		least = first + 4*math.Sqrt(first)
	}
	var names []string
	for _, c := range all[:min(n, len(all))] {
		if len(all) <= n || float64(c.count) > least {
			names = append(names, c.name)
		}
	}
	return names
}
