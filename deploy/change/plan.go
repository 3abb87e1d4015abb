package change

import (
	"context"
	"fmt"
	"slices"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/processors"
)

// An Action is what Apply does with a view's state.
type Action string

// The actions.
const (
	Keep    Action = "keep"    // it is as defined
	Create  Action = "create"  // its name is new: it is built
	Rebuild Action = "rebuild" // its definition is another: it is built beside the running one
	Refuse  Action = "refuse"  // it can neither be gone on with nor built anew
	Drop    Action = "drop"    // nobody defines it any more: it is deleted where that is allowed, else it stays
)

// Plan is what a definition would change.
type Plan struct {
	Views  []ViewPlan  `json:"views"`
	Tables []TablePlan `json:"tables"`

	found *processors.Inspection
}

// ViewPlan is what becomes of a state of a view.
type ViewPlan struct {
	View       string   `json:"view"`
	Action     Action   `json:"action"`
	Generation uint32   `json:"generation"` // of the state that there is
	Diff       []string `json:"diff,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	// History says where the events come from of which it is built; Gaps are the offsets that nobody has any more.
	History []string `json:"history,omitempty"`
	Gaps    []string `json:"gaps,omitempty"`

	view  *config.View
	store *Store // that has the history; nil: the topic alone
}

// TablePlan is what becomes of an offline table.
type TablePlan struct {
	Store      string   `json:"store"`
	Table      string   `json:"table"`
	Statements []string `json:"statements"`
}

// Changes reports whether Apply has anything to do. What is kept because dropping was not allowed is nothing to do.
func (p *Plan) Changes(allowDrop bool) bool {
	return len(p.Tables) > 0 || slices.ContainsFunc(p.Views, func(v ViewPlan) bool {
		return v.Action != Keep && (v.Action != Drop || allowDrop)
	})
}

// Plan compares the definition with what runs. It changes nothing.
func (c *Change) Plan(ctx context.Context) (*Plan, error) {
	found, err := c.builder.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	p := &Plan{Views: []ViewPlan{}, Tables: []TablePlan{}, found: found}
	fresh, err := c.planTables(ctx, p)
	if err != nil {
		return nil, err
	}
	for i := range found.Views {
		v, err := c.planView(ctx, &found.Views[i], fresh)
		if err != nil {
			return nil, err
		}
		p.Views = append(p.Views, v)
	}
	for _, r := range found.Retired {
		p.Views = append(p.Views, ViewPlan{
			View: r.View, Action: Drop, Generation: r.Generation, Reason: "no definition has this state any more; processes with an older one may run with it",
		})
	}
	return p, nil
}

// planTables asks the stores that can say so what they would do to their tables. It returns which tables are not there yet.
func (c *Change) planTables(ctx context.Context, p *Plan) (fresh map[string]bool, err error) {
	fresh = map[string]bool{}
	for _, s := range c.stores {
		planner, ok := s.OfflineStore.(statements)
		if !ok {
			continue
		}
		for _, t := range offline.Tables(c.plane) {
			todo, err := planner.Plan(ctx, t)
			if err != nil {
				return nil, err
			}
			if len(todo) == 0 {
				continue
			}
			p.Tables = append(p.Tables, TablePlan{Store: s.Name, Table: t.Name, Statements: todo})
			if len(todo[0]) >= 6 && todo[0][:6] == "CREATE" {
				fresh[s.Name+"/"+t.Name] = true
			}
		}
	}
	return fresh, nil
}

func (c *Change) planView(ctx context.Context, s *processors.ViewSituation, fresh map[string]bool) (ViewPlan, error) {
	v := ViewPlan{View: s.View.Name, Action: Keep, view: s.View}
	if s.Recorded != nil {
		v.Generation = s.Recorded.Generation
	}
	switch {
	case s.Refusal != nil:
		v.Action, v.Reason = Refuse, s.Refusal.Error()
		return v, nil
	case s.Starts == nil:
		if s.Recorded == nil {
			v.Action = Create
		}
		v.Reason = fmt.Sprintf("topic %s does not exist", s.View.Source.Topic)
		return v, nil
	case s.Recorded == nil:
		v.Action = Create
	case len(s.Changed) > 0:
		v.Action, v.Diff = Rebuild, s.Changed
	default:
		return v, nil
	}
	if s.Dead {
		v.Reason = "a build of it was begun and did not end, or is under way; it is begun again"
	}
	return v, c.planHistory(ctx, &v, s.Starts, fresh)
}

// planHistory finds where a view's history comes from: of the stores the one that leaves the fewest offsets uncovered.
func (c *Change) planHistory(ctx context.Context, v *ViewPlan, starts []int64, fresh map[string]bool) error {
	t := offline.EventsTable(v.view.Source)
	best := holes(starts, nil, t.Source.Topic)
	var covered []offline.Range
	for i := range c.stores {
		s := &c.stores[i]
		if fresh[s.Name+"/"+t.Name] {
			continue
		}
		has, err := s.Covered(ctx, t)
		if err != nil {
			return err
		}
		if h := holes(starts, has, t.Source.Topic); v.store == nil || lost(h) < lost(best) {
			v.store, best, covered = s, h, has
		}
	}
	for p, start := range starts {
		from := "its beginning"
		if start > 0 {
			from = fmt.Sprintf("offset %d", start)
		}
		v.History = append(v.History, fmt.Sprintf("%s/%d from %s", t.Source.Topic, p, from))
	}
	for _, r := range covered {
		v.History = append(v.History, v.store.Name+" "+r.String())
	}
	for _, r := range best {
		v.Gaps = append(v.Gaps, r.String())
	}
	return nil
}

// holes returns the offsets below the first ones that a topic still has which no range covers.
func holes(starts []int64, covered []offline.Range, topic string) []offline.Range {
	var out []offline.Range
	for p, start := range starts {
		var have []offline.Range
		for _, r := range covered {
			if r.Topic == topic && int(r.Partition) == p {
				have = append(have, r)
			}
		}
		slices.SortFunc(have, func(a, b offline.Range) int { return int(a.First - b.First) })
		at := int64(0)
		for _, r := range have {
			if r.First > at && at < start {
				out = append(out, offline.Range{Topic: topic, Partition: int32(p), First: at, End: min(r.First, start)})
			}
			at = max(at, r.End)
		}
		if at < start {
			out = append(out, offline.Range{Topic: topic, Partition: int32(p), First: at, End: start})
		}
	}
	return out
}

func lost(rs []offline.Range) (n int64) {
	for _, r := range rs {
		n += r.End - r.First
	}
	return n
}
