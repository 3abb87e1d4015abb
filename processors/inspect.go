package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
)

// A ViewSituation is how a view of the plane stands to what is recorded of it.
type ViewSituation struct {
	View     *config.View
	Recorded *ViewRecord // nil: its name is new
	Changed  []string    // what differs from the recorded definition (config.Diff)
	Refusal  error       // why its state can neither be gone on with nor built anew
	Starts   []int64     // by partition, the first offset that its source's topic has; nil if there is no topic
	Dead     bool        // a build of it has died, or is under way
}

// Inspection is what a Builder finds. Nothing has been changed.
type Inspection struct {
	Views   []ViewSituation
	Retired []ViewRecord // states of views that the plane does not have, and previous states of those it has
	Former  []FormerView // views that the plane once had and does not have now, with a state or without
}

// A FormerView is a view that has left the definition: its log may still have rows.
type FormerView struct{ Name, Entity string }

// Inspect compares the plane with what is recorded of it.
func (b *Builder) Inspect(ctx context.Context) (*Inspection, error) {
	cl, err := kgo.NewClient(b.opts.Client...)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	recorded := map[string]ViewRecord{}
	switch _, err := kafka.DescribeTopic(ctx, adm, b.rt.topo.planeTopic()); {
	case err == nil:
		if recorded, err = b.rt.registry().read(ctx); err != nil {
			return nil, err
		}
	case !errors.Is(err, kafka.ErrNoTopic):
		return nil, err
	}
	out := &Inspection{}
	for _, v := range b.rt.plane.Views {
		s := ViewSituation{View: v}
		if err := b.inspectView(ctx, adm, recorded, &s); err != nil {
			return nil, err
		}
		out.Views = append(out.Views, s)
	}
	for _, r := range sortedRecords(recorded) {
		if r.Building {
			continue
		}
		defined := slices.ContainsFunc(b.rt.plane.Views, func(v *config.View) bool { return v.Name == r.View })
		if !defined {
			_, entity, err := b.placesOf(&r)
			if err != nil {
				return nil, err
			}
			out.Former = append(out.Former, FormerView{r.View, entity})
		}
		for i, s := range r.states() {
			if i > 0 || !defined {
				s.Previous = nil
				out.Retired = append(out.Retired, s)
			}
		}
	}
	return out, nil
}

func (b *Builder) inspectView(ctx context.Context, adm *kadm.Client, recorded map[string]ViewRecord, s *ViewSituation) error {
	_, s.Dead = recorded[buildingPrefix+s.View.Name]
	have, ok := recorded[s.View.Name]
	if ok && !have.Dropped {
		s.Recorded = &have
	}
	topic, err := kafka.DescribeTopic(ctx, adm, s.View.Source.Topic)
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	listed, err := adm.ListStartOffsets(ctx, s.View.Source.Topic)
	if err != nil {
		return fmt.Errorf("list offsets of %s: %w", s.View.Source.Topic, err)
	}
	s.Starts = make([]int64, topic.Partitions)
	for p := range s.Starts {
		l, ok := listed.Lookup(s.View.Source.Topic, int32(p))
		if !ok || l.Err != nil {
			return fmt.Errorf("list offsets of %s: %w", taskName(s.View.Source.Topic, int32(p)), errors.Join(l.Err, missing(ok)))
		}
		s.Starts[p] = l.Offset
	}
	if s.Recorded == nil {
		return nil
	}
	want := wantedRecord(s.View, topic.ID, topic.Partitions)
	if s.Recorded.Fingerprint != want.Fingerprint {
		s.Changed = config.Diff(s.Recorded.Definition, want.Definition)
		want.Fingerprint = s.Recorded.Fingerprint
	}
	s.Refusal = refuse(s.Recorded, &want)
	return nil
}

// Mark tells readers of the online store which states are whole. A build ends with it.
func (b *Builder) Mark(ctx context.Context, m Marks) error {
	recorded, err := b.rt.registry().read(ctx)
	if err != nil {
		return err
	}
	if err := b.opts.Step("mark"); err != nil {
		return err
	}
	return mark(ctx, m, b.rt.plane, recorded)
}

// Drop deletes a retired state: its cells and its fields in the online store. It is taken out of the plane topic first, and
// noted there as one to be cleaned up until it has been, so that no process begins with half of it. Its generation is never
// used again.
func (b *Builder) Drop(ctx context.Context, rec ViewRecord) error {
	if err := b.opts.Step("drop"); err != nil {
		return err
	}
	name := buildingPrefix + rec.View
	var dead []ViewRecord
	err := b.rt.registry().update(ctx, func(recorded map[string]ViewRecord) ([]ViewRecord, error) {
		dead = deadOf(recorded[name])
		note := rec
		note.View, note.Building, note.Previous = name, true, dead
		dead = append(dead, note)
		have, ok := recorded[rec.View]
		if !ok {
			return []ViewRecord{note}, nil
		}
		used, _ := newest(recorded, rec.View)
		have, ok = have.without(&rec)
		have.Used = used
		if !ok {
			return nil, fmt.Errorf("feature view %q has no state of generation %d with this definition", rec.View, rec.Generation)
		}
		return []ViewRecord{have, note}, nil
	})
	if err != nil {
		return err
	}
	return b.cleanUp(ctx, rec.View, dead)
}

// cleanUp deletes what is left of states that nobody goes on with, and the note of them.
func (b *Builder) cleanUp(ctx context.Context, view string, dead []ViewRecord) error {
	for i := range dead {
		if err := b.sweepState(ctx, &dead[i]); err != nil {
			return err
		}
	}
	return b.rt.registry().update(ctx, func(recorded map[string]ViewRecord) ([]ViewRecord, error) {
		note, ok := recorded[buildingPrefix+view]
		if last := dead[len(dead)-1]; !ok || note.Generation != last.Generation || note.Epoch != last.Epoch {
			return nil, nil // another build has begun, and cleans up itself
		}
		return []ViewRecord{{View: note.View}}, nil
	})
}
