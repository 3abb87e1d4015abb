package demo

import (
	"slices"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"

	"github.com/twmb/franz-go/pkg/kgo"
)

func plane(t *testing.T) *config.Plane {
	t.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: PlaneYAML}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlaneIsRightAndUsesEveryAggregation(t *testing.T) {
	p := plane(t)
	for _, w := range p.Warnings {
		t.Errorf("%v", w)
	}
	used := map[string]bool{}
	direct := 0
	for _, v := range p.Views {
		if v.Direct {
			direct++
		}
		for _, f := range v.Features {
			used[f.Aggregate] = true
		}
	}
	for _, name := range append(feature.Aggregations(), "") {
		if !used[name] {
			t.Errorf("no feature uses the aggregation %q", name)
		}
	}
	if direct == 0 || direct == len(p.Views) {
		t.Errorf("%d of %d views are keyed as their source; want some of both", direct, len(p.Views))
	}
}

// TestEveryEventCanBeUsed holds that none of the events is a dead letter.
func TestEveryEventCanBeUsed(t *testing.T) {
	src := plane(t).Sources[0]
	r, err := ingest.NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	carrier := slices.IndexFunc(src.Schema, func(f config.Field) bool { return f.Name == "carrier" })
	row := make([]feature.Value, len(src.Schema))
	flights := load(t)
	var buf []byte
	for f := range flights.All() {
		buf = f.AppendEvent(buf[:0])
		at, unknown, refused := r.Read(&kgo.Record{Key: []byte(f.Carrier), Value: buf, Timestamp: flights.Last()}, row)
		if refused != nil {
			t.Fatalf("%s: %v", buf, refused)
		}
		if unknown != 0 || at != f.DepartedAt.UnixMicro() || row[carrier].Str() != f.Carrier {
			t.Fatalf("%s: %d unknown fields, time %d, carrier %v", buf, unknown, at, row[carrier])
		}
	}
}
