package change

import (
	"fmt"
	"testing"

	"github.com/freshet-io/freshet/offline"
)

func TestHolesAreTheOffsetsThatNobodyHas(t *testing.T) {
	r := func(p int32, first, end int64) offline.Range {
		return offline.Range{Topic: "orders", Partition: p, First: first, End: end}
	}
	other := offline.Range{Topic: "backfill/abc", Partition: 0, First: 0, End: 100}
	for name, c := range map[string]struct {
		starts  []int64
		covered []offline.Range
		want    []offline.Range
	}{
		"the topic has its beginning":         {[]int64{0, 0}, nil, nil},
		"nobody has the beginning":            {[]int64{5, 0}, nil, []offline.Range{r(0, 0, 5)}},
		"a store joins the topic":             {[]int64{5, 7}, []offline.Range{r(0, 0, 5), r(1, 0, 9)}, nil},
		"a store ends before the topic":       {[]int64{9}, []offline.Range{r(0, 0, 5)}, []offline.Range{r(0, 5, 9)}},
		"a store begins late":                 {[]int64{9}, []offline.Range{r(0, 3, 20)}, []offline.Range{r(0, 0, 3)}},
		"a store has a hole":                  {[]int64{9}, []offline.Range{r(0, 6, 20), r(0, 0, 4)}, []offline.Range{r(0, 4, 6)}},
		"a hole that the topic has":           {[]int64{3}, []offline.Range{r(0, 0, 4), r(0, 6, 20)}, nil},
		"what is backfilled is of no offsets": {[]int64{3}, []offline.Range{other}, []offline.Range{r(0, 0, 3)}},
		"ranges overlap":                      {[]int64{9}, []offline.Range{r(0, 0, 6), r(0, 2, 9)}, nil},
	} {
		if got := holes(c.starts, c.covered, "orders"); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
