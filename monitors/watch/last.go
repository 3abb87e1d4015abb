package watch

import (
	"fmt"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/profile"
)

// Pair is the two sides of a series of the window that a monitor judged last.
type Pair struct {
	alert.Series
	Window             alert.Window
	Against            string           // the baseline or the earlier window, for people
	Reference, Current *profile.Profile // on the same bins
}

// Last returns what the window that a monitor judged last compared, in the order of its scores: none before its first
// window, without its baseline. Where the baseline has been replaced since, what came before is not in it; of an earlier
// window its panes are, as far as they are kept.
func (w *Watch) Last(name string) ([]Pair, error) {
	m := w.monitor(name)
	if m == nil {
		return nil, fmt.Errorf("model %s has no monitor %s", w.model.Name, name)
	}
	if m.Last == 0 || m.Bins == nil || w.baselines[m.Bins.Name] == nil {
		return nil, nil
	}
	b := w.baselines[m.Bins.Name]
	var out []Pair
	against := earlierWindows{}
	err := w.each(m, b, w.window(b, m.Size.Microseconds(), m.Last), func(of *sample) error {
		compared, err := w.compare(m, of, against)
		for _, c := range compared {
			p := Pair{Series: c.series, Window: c.window, Against: c.against}
			p.Reference, p.Current = c.result.Profiles()
			out = append(out, p)
		}
		return err
	})
	return out, err
}
