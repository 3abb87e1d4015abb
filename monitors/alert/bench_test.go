package alert_test

import (
	"fmt"
	"testing"

	"github.com/freshet-io/freshet/monitors/alert"
)

// BenchmarkEvaluate is one evaluation of 1,000 columns in 20 slices, with the state decoded before and encoded after.
func BenchmarkEvaluate(b *testing.B) {
	for _, tc := range []struct {
		name   string
		effect float64
	}{{"normal", .01}, {"firing", .5}} {
		b.Run(tc.name, func(b *testing.B) {
			e := alert.Evaluation{Monitor: "m", Lane: "windows", For: 2}
			for i := range 20_000 {
				e.Verdicts = append(e.Verdicts, alert.Verdict{
					Series: alert.Series{Kind: alert.Skew, Column: fmt.Sprintf("column_%d", i%1000), Slice: fmt.Sprintf("carrier=%d", i/1000)},
					Group:  "flights", Sources: []string{"flights"}, Effect: tc.effect, Threshold: .1, Significant: true, Enough: true,
				})
			}
			state, n, size := alert.New("m"), int64(0), 0
			for b.Loop() {
				n++
				e.Window = alert.Window{Start: n, End: n + 1}
				next, _, err := state.Evaluate(e)
				if err != nil {
					b.Fatal(err)
				}
				text, err := next.Encode()
				if err != nil {
					b.Fatal(err)
				}
				if state, err = alert.Decode(text); err != nil {
					b.Fatal(err)
				}
				size = len(text)
			}
			b.ReportMetric(float64(size), "state-B")
		})
	}
}
