package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	Refusal    string   `json:"refusal,omitempty"` // why it cannot be made what the definition asks for
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
	if err := c.planTables(ctx, p); err != nil {
		return nil, err
	}
	for i := range found.Views {
		v, err := c.planView(ctx, &found.Views[i])
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

// planTables asks the stores what they would do to their tables. One that cannot be changed into what is asked for does not keep
// the others from being planned.
func (c *Change) planTables(ctx context.Context, p *Plan) error {
	for _, s := range c.stores {
		for _, t := range offline.Tables(c.plane) {
			todo, err := s.Plan(ctx, t)
			switch {
			case errors.Is(err, offline.ErrDiffers):
				p.Tables = append(p.Tables, TablePlan{Store: s.Name, Table: t.Name, Statements: []string{}, Refusal: err.Error()})
			case err != nil:
				return fmt.Errorf("%s: table %s: %w", s.Name, t.Name, err)
			case len(todo) > 0:
				p.Tables = append(p.Tables, TablePlan{Store: s.Name, Table: t.Name, Statements: todo})
			}
		}
	}
	return nil
}

func (c *Change) planView(ctx context.Context, s *processors.ViewSituation) (ViewPlan, error) {
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
	return v, c.planHistory(ctx, &v, s.Starts)
}

// planHistory finds where a view's history comes from: of the stores the one that lacks the least, of the topic's records and of what
// was backfilled into any of them.
func (c *Change) planHistory(ctx context.Context, v *ViewPlan, starts []int64) error {
	t := offline.EventsTable(v.view.Source)
	has := make([][]offline.Range, len(c.stores))
	var all []offline.Range
	for i := range c.stores {
		var err error
		if has[i], err = c.stores[i].Covered(ctx, t); err != nil {
			return err
		}
		all = append(all, has[i]...)
	}
	loaded := backfilled(all)
	gaps := holes(starts, nil, t.Source.Topic)
	var covered []offline.Range
	for i := range c.stores {
		lacks := append(holes(starts, has[i], t.Source.Topic), without(loaded, has[i])...)
		if v.store == nil || lost(lacks) < lost(gaps) {
			v.store, gaps, covered = &c.stores[i], lacks, has[i]
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
	for _, r := range gaps {
		text := r.String()
		if strings.HasPrefix(r.Topic, offline.BackfillPrefix) {
			text += ", which another store has: load it again with freshet backfill"
		}
		v.Gaps = append(v.Gaps, text)
	}
	return nil
}

// backfilled returns the ranges of rows that were never in Kafka, joined.
func backfilled(ranges []offline.Range) []offline.Range {
	return offline.Join(slices.DeleteFunc(slices.Clone(ranges), func(r offline.Range) bool { return !strings.HasPrefix(r.Topic, offline.BackfillPrefix) }))
}

// without returns the parts of some ranges that none of covered has.
func without(ranges, covered []offline.Range) (out []offline.Range) {
	for _, r := range ranges {
		out = append(out, uncovered(r, covered)...)
	}
	return out
}

// holes returns the offsets below the first ones that a topic still has which no range covers.
func holes(starts []int64, covered []offline.Range, topic string) (out []offline.Range) {
	for p, start := range starts {
		out = append(out, uncovered(offline.Range{Topic: topic, Partition: int32(p), End: start}, covered)...)
	}
	return out
}

// uncovered returns the parts of a range that none of covered has.
func uncovered(r offline.Range, covered []offline.Range) (out []offline.Range) {
	for _, c := range offline.Join(slices.Clone(covered)) {
		if c.Topic != r.Topic || c.Partition != r.Partition || c.End <= r.First || c.First >= r.End {
			continue
		}
		if c.First > r.First {
			out = append(out, offline.Range{Topic: r.Topic, Partition: r.Partition, First: r.First, End: c.First})
		}
		r.First = min(c.End, r.End)
	}
	if r.First < r.End {
		out = append(out, r)
	}
	return out
}

func lost(rs []offline.Range) (n int64) {
	for _, r := range rs {
		n += r.End - r.First
	}
	return n
}
