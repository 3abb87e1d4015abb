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
	done := &Applied{Built: []string{}, Dropped: []string{}, Kept: []string{}}
	for _, t := range p.Tables {
		if t.Refusal == "" {
			done.Tables++
		}
	}
	// A table that cannot be changed keeps neither the others nor the views from what they need.
	refused := c.prepareTables(ctx)
	if refused != nil && !errors.Is(refused, offline.ErrDiffers) {
		return done, refused
	}
	return done, errors.Join(c.applyViews(ctx, p, done, tell), refused)
}

func (c *Change) applyViews(ctx context.Context, p *Plan, done *Applied, tell func(Progress)) error {
	for i := range p.Views {
		v := &p.Views[i]
		if v.Action != Create && v.Action != Rebuild {
			continue
		}
		if err := c.build(ctx, v.view, v.store, tell); err != nil {
			return err
		}
		done.Built = append(done.Built, v.View)
	}
	if p.recorded() || len(done.Built) > 0 {
		if err := c.builder.Mark(ctx, c.online); err != nil {
			return err
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
			return err
		}
		done.Dropped = append(done.Dropped, name)
	}
	return nil
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
			errs = append(errs, fmt.Errorf("feature view %q: %w: %s; --accept-gap builds it without them",
				v.View, ErrGap, strings.Join(v.Gaps, ", ")))
		}
	}
	return errors.Join(errs...)
}

// prepareTables creates and migrates the offline tables. Of those that cannot be changed, offline.ErrDiffers, it tells in the end.
func (c *Change) prepareTables(ctx context.Context) error {
	var refused []error
	for _, s := range c.stores {
		for _, t := range offline.Tables(c.plane) {
			switch err := s.Prepare(ctx, t); {
			case errors.Is(err, offline.ErrDiffers):
				refused = append(refused, fmt.Errorf("%s: table %s: %w", s.Name, t.Name, err))
			case err != nil:
				return fmt.Errorf("%s: table %s: %w", s.Name, t.Name, err)
			}
		}
	}
	return errors.Join(refused...)
}

func (c *Change) build(ctx context.Context, v *config.View, s *Store, tell func(Progress)) error {
	err := c.builder.Build(ctx, v, c.history(v, s), func(b processors.BuildProgress) { tell(Progress{v.Name, b}) })
	if err != nil {
		return fmt.Errorf("build feature view %q: %w", v.Name, err)
	}
	return nil
}
