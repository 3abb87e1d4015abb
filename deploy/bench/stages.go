package bench

import (
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Stage is how often one step of the runtime was done, and how long it took on average.
type Stage struct {
	Count  uint64  `json:"count"`
	MeanMS float64 `json:"mean_ms"`
}

// stagesOf reads the runtime's own histograms of seconds: what latency is made of.
func stagesOf(reg prometheus.Gatherer) (map[string]Stage, error) {
	families, err := reg.Gather()
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	stages := map[string]Stage{}
	for _, fam := range families {
		name, ok := strings.CutSuffix(strings.TrimPrefix(fam.GetName(), "freshet_"), "_seconds")
		if !ok {
			continue
		}
		for _, m := range fam.GetMetric() {
			h := m.GetHistogram()
			if h == nil || h.GetSampleCount() == 0 {
				continue
			}
			label := name
			for _, l := range m.GetLabel() {
				label += "_" + l.GetValue()
			}
			stages[label] = Stage{h.GetSampleCount(), math.Round(h.GetSampleSum()/float64(h.GetSampleCount())*1e5) / 100}
		}
	}
	return stages, nil
}

// counted reads one of the runtime's counters, over all its labels.
func counted(reg prometheus.Gatherer, name string) (float64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, fmt.Errorf("read the metrics: %w", err)
	}
	var sum float64
	for _, fam := range families {
		if fam.GetName() == name {
			for _, m := range fam.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum, nil
}
