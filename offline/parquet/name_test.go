package parquet

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

func TestNamesOfRanges(t *testing.T) {
	for _, tc := range []struct {
		r    offline.Range
		want string
	}{
		{orders(3, 0, 5000), "dt=2026-03-01/shop.orders-3-0000000000000000000-0000000000000004999.parquet"},
		{offline.Range{Topic: "a-1-2", Partition: 4, First: 7, End: 8}, "dt=2026-03-01/a-1-2-4-0000000000000000007-0000000000000000007.parquet"},
		{offline.Range{Topic: "backfill/2019", First: 0, End: 1}, "dt=2026-03-01/backfill~2f2019-0-0000000000000000000-0000000000000000000.parquet"},
		{offline.Range{Topic: "_hidden", First: 0, End: math.MaxInt64}, "dt=2026-03-01/~5fhidden-0-0000000000000000000-9223372036854775806.parquet"},
	} {
		got := rangePath(dayOf(testTime), tc.r)
		if got != tc.want {
			t.Errorf("%v is %s, want %s", tc.r, got, tc.want)
		}
	}
}

func TestPathsParseBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(0, math.MaxInt64-1).Draw(t, "first")
		r := offline.Range{
			Topic:     rapid.StringMatching(`[a-zA-Z0-9._/~%é -]{1,20}`).Draw(t, "topic"),
			Partition: rapid.Int32Range(0, math.MaxInt32).Draw(t, "partition"), First: first,
			End: rapid.Int64Range(first+1, math.MaxInt64).Draw(t, "end"),
		}
		d := dayOf(rapid.Int64Range(feature.MinTime, feature.MaxTime).Draw(t, "time"))
		name := rangePath(d, r)
		if p, ok := parsePath(name); !ok || p.rng != r || p.day != d || p.merged {
			t.Fatalf("%s is read as %+v, %v", name, p, ok)
		}
		if strings.ContainsAny(name[len(d.folder())+1:], "/*?[]{} %") {
			t.Fatalf("%s is no plain name", name)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		rangePath(0, offline.Range{Topic: "t", First: 1, End: 2}), "dt=1970-01-01/" + mergedName(7, 8), "dt=1970-01-01/x-1-2.parquet", "dt=0000-01-01/a.parquet",
		"dt=1970-01-01/t-0-0000000000000000009-0000000000000000001.parquet", "dt=1970-01-01/~zz-0-0000000000000000000-0000000000000000001.parquet", "/", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parsePath(s)
		if !ok {
			return
		}
		if p.merged {
			if _, ok := parseMergedName(s[len(p.day.folder())+1:]); !ok {
				t.Errorf("%q is a merged file of no name", s)
			}
			return
		}
		if rangePath(p.day, p.rng) != s || p.rng.First < 0 || p.rng.End <= p.rng.First || p.rng.Topic == "" {
			t.Errorf("%q is read as %v", s, p.rng)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(int64(1), `{"version":1,"sequence":1,"merged":[{"path":"dt=1970-01-01/`+mergedName(0, 8)+`","bytes":1,"rows":2}],"covered":[{"topic":"t","partition":0,"first":0,"end":9}]}`)
	f.Add(int64(2), `{"version":1,"sequence":2,"replaced":[{"path":"`+rangePath(0, offline.Range{Topic: "t", First: 1, End: 9})+`","at":5,"keep":[[2,3]]}]}`)
	f.Add(int64(3), `{"version":9,"sequence":3}`)
	f.Add(int64(4), `[]`)
	f.Fuzz(func(t *testing.T, seq int64, text string) {
		m, err := decodeManifest(seq, []byte(text))
		if err != nil {
			return
		}
		sn := sort("t", &listing{manifest: m})
		sn.resolve()
		for _, r := range sn.covered() {
			if r.First >= r.End {
				t.Errorf("covers %v", r)
			}
		}
	})
}

func FuzzFooter(f *testing.F) {
	l := layoutOf(testTable())
	f.Add(encodeFooter(l, []offline.Range{orders(0, 1, 2)}, []day{0, 1}, 7))
	f.Add(`{"version":1,"columns":[{"name":"a","type":"list<int64>"},{"name":"a","type":"bool"}]}`)
	f.Add(`{"version":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		info, err := decodeFooter(text)
		if err != nil {
			return
		}
		again, err := decodeFooter(encodeFooter(info.layout, info.ranges, info.days, int(info.rows)))
		if err != nil || again.rows != info.rows || len(again.days) != len(info.days) || len(again.ranges) != len(info.ranges) ||
			len(again.layout.columns) != len(info.layout.columns) {
			t.Errorf("%q does not come back: %v", text, err)
		}
	})
}
