package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// recentState is from how long ago on the state is read first: processes that are at work write how far they are every few
// seconds, and all of the state has the panes of weeks.
const recentState = 2 * time.Minute

// strays returns how many inferences of a model have come so far that are compared with nothing, by version: those of versions
// that had no baseline then, and have none now.
func (m *monitored) strays(ctx context.Context, model *config.Model, made map[string]*baseline.Baseline) (map[string]uint64, error) {
	var strays map[string]uint64
	known := false
	read := func(rec *kgo.Record) error {
		if watch.Model(rec.Key) != model.Name {
			return nil
		}
		s, ok, err := watch.RecordedStrays(rec.Key, rec.Value)
		if ok {
			strays, known = s, true
		}
		return err
	}
	for _, since := range []time.Time{time.Now().Add(-recentState), {}} {
		if err := m.read(ctx, topics.State, modelPartition(model), since, read); err != nil || known {
			if err != nil {
				return nil, err
			}
			break
		}
	}
	for _, d := range m.plane.Baselines {
		if d.Model == model && made[d.Name] != nil {
			delete(strays, d.Version)
			if d.Version == "" { // it serves every version that has none of its own
				return nil, nil
			}
		}
	}
	return strays, nil
}

// unbaselined warns of the versions of the plane's monitored models that have no baseline, and returns how many inferences of
// each there were so far, by model.
func (a *app) unbaselined(ctx context.Context, m *monitored, made map[string]*baseline.Baseline) (map[string]map[string]uint64, error) {
	out := map[string]map[string]uint64{}
	for _, mon := range m.plane.Monitors {
		model := mon.Model
		if _, done := out[model.Name]; done {
			continue
		}
		strays, err := m.strays(ctx, model, made)
		if err != nil {
			return nil, err
		}
		out[model.Name] = strays
		for _, v := range slices.Sorted(maps.Keys(strays)) {
			of := "version " + v
			if v == "" {
				of = "no version"
			}
			a.warn([]string{fmt.Sprintf("model %s: %s inferences so far of %s, which has no baseline: they are compared with nothing", model.Name, thousands(int64(strays[v])), of)})
		}
	}
	return out, nil
}
