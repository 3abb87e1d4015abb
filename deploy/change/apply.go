package change

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/processors"
)

// Progress is how far the build of a view is.
type Progress struct {
	View string
	processors.BuildProgress
}

// Applied is what Apply did.
type Applied struct {
	Built   []string `json:"built"`
	Dropped []string `json:"dropped"`
	Kept    []string `json:"kept_states"` // that nobody defines any more; AllowDrop deletes them
	Tables  int      `json:"tables_changed"`
}

// ErrGap is wrapped by the refusal to build of a history that is not whole.
var ErrGap = errors.New("some of the history is gone")

// Apply makes the plane's state what the plan says. What runs goes on meanwhile. It may be ended at any moment and run again.
func (c *Change) Apply(ctx context.Context, p *Plan, tell func(Progress)) (*Applied, error) {
	if err := c.permits(p); err != nil {
		return nil, err
	}
	done := &Applied{Built: []string{}, Dropped: []string{}, Kept: []string{}, Tables: len(p.Tables)}
	if err := c.prepareTables(ctx); err != nil {
		return done, err
	}
	for i := range p.Views {
		v := &p.Views[i]
		if v.Action != Create && v.Action != Rebuild {
			continue
		}
		if err := c.build(ctx, v.view, v.store, tell); err != nil {
			return done, err
		}
		done.Built = append(done.Built, v.View)
	}
	if p.recorded() || len(done.Built) > 0 {
		if err := c.builder.Mark(ctx, c.online); err != nil {
			return done, err
		}
	}
	// What was replaced just now is what runs: it is for a later Apply to drop.
	for _, r := range p.found.Retired {
		name := fmt.Sprintf("%s generation %d", r.View, r.Generation)
		if !c.opts.AllowDrop {
			done.Kept = append(done.Kept, name)
			continue
		}
		if err := c.builder.Drop(ctx, r); err != nil {
			return done, err
		}
		done.Dropped = append(done.Dropped, name)
	}
	return done, nil
}

// recorded reports whether any view has run before.
func (p *Plan) recorded() bool {
	for _, v := range p.found.Views {
		if v.Recorded != nil {
			return true
		}
	}
	return false
}

// permits refuses what no build can mend, and gaps that were not accepted.
func (c *Change) permits(p *Plan) error {
	var errs []error
	for _, v := range p.Views {
		switch {
		case v.Action == Refuse:
			errs = append(errs, errors.New(v.Reason))
		case len(v.Gaps) > 0 && !c.opts.AcceptGap:
			errs = append(errs, fmt.Errorf("feature view %q: %w: neither its topic nor an offline store has %s; --accept-gap builds it without them",
				v.View, ErrGap, strings.Join(v.Gaps, ", ")))
		}
	}
	return errors.Join(errs...)
}

// prepareTables creates and migrates the offline tables.
func (c *Change) prepareTables(ctx context.Context) error {
	for _, s := range c.stores {
		for _, t := range offline.Tables(c.plane) {
			if err := s.Prepare(ctx, t); err != nil {
				return fmt.Errorf("%s: table %s: %w", s.Name, t.Name, err)
			}
		}
	}
	return nil
}

func (c *Change) build(ctx context.Context, v *config.View, s *Store, tell func(Progress)) error {
	var h processors.History
	if s != nil {
		h = c.history(v, s)
	}
	err := c.builder.Build(ctx, v, h, func(b processors.BuildProgress) { tell(Progress{v.Name, b}) })
	if err != nil {
		return fmt.Errorf("build feature view %q: %w", v.Name, err)
	}
	return nil
}
