package processors

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/watch"
)

// BenchmarkProfile reads and counts inferences of 25 columns from JSON, as the profiler does for what it has fetched.
// Beside it is the bare reading of the same records.
func BenchmarkProfile(b *testing.B) {
	var fields []string
	for i := range 25 {
		fields = append(fields, fmt.Sprintf("{name: f%d, type: float64}", i))
	}
	text := strings.Replace(monitoredPlane, "request: [{name: total, type: float64}]", "request: ["+strings.Join(fields, ", ")+"]", 1)
	f := filepath.Join(b.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		b.Fatal(err)
	}
	model := p.Models[0]
	rng := rand.New(rand.NewPCG(1, 2))
	d := baseline.Definition{Name: "scorer_1", Model: model.Name}
	for _, c := range model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	base, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		for range 10_000 {
			row := make([]feature.Value, len(model.Columns))
			for i := range row {
				row[i] = feature.Float64Value(rng.NormFloat64())
			}
			if err := fn(row, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	var recs []*kgo.Record
	for i := range 4096 {
		var members []string
		for k := range 25 {
			members = append(members, fmt.Sprintf(`"f%d":%.6g`, k, rng.NormFloat64()))
		}
		value := fmt.Sprintf(`{"id":"i%d","at":%d,"version":"1","p":%.4g,"features":{%s}}`, i, now.UnixMicro(), rng.Float64(), strings.Join(members, ","))
		recs = append(recs, &kgo.Record{Value: []byte(value), Timestamp: now})
	}
	rd, err := ingest.NewReader(model.Inferences)
	if err != nil {
		b.Fatal(err)
	}
	row := make([]feature.Value, len(model.Inferences.Schema))
	acc := watch.NewAccumulator(model, watch.Pane(p, model))
	acc.SetBaseline(base.Name, base)
	for _, count := range []bool{false, true} {
		name := map[bool]string{false: "read only", true: "read and count"}[count]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(recs[0].Value)))
			i := 0
			for b.Loop() {
				at, _, bad := rd.Read(recs[i%len(recs)], row)
				if bad != nil {
					b.Fatal(bad)
				}
				if count {
					acc.Add(0, row, at)
				}
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "inferences/s")
			b.ReportMetric(25*float64(b.N)/b.Elapsed().Seconds(), "values/s")
		})
	}
}
