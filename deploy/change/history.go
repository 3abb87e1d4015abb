package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/processors"
)

// history replays what a store has of a view's source, if there is a store: rows that come twice once, event ids and tombstones as the
// processors judge them. The topic may have lost more since the build was planned: what the store does not have of that is a
// gap now.
func (c *Change) history(v *config.View, s *Store) processors.History {
	return func(ctx context.Context, below []int64, fold func(*processors.PastEvent) error) (err error) {
		if err := c.checkCovered(ctx, v, s, below); err != nil || s == nil {
			return err
		}
		q := replay.Query{
			Table: offline.EventsTable(v.Source), Key: v.KeyFields, Fields: fieldsOf(v), Direct: v.Direct, All: true, Below: map[int32]int64{},
		}
		for p, offset := range below {
			q.Below[int32(p)] = offset
		}
		log, err := replay.New(replay.Options{Dir: c.opts.Dir, Workers: 1}, q)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, log.Close()) }()
		if err := log.Load(ctx, s); err != nil {
			return err
		}
		return log.Each(ctx, func(int) replay.Visitor { return &teller{fold: fold, key: v.KeyFields} })
	}
}

// checkCovered refuses to build without records that the topic has lost and the store does not have.
func (c *Change) checkCovered(ctx context.Context, v *config.View, s *Store, below []int64) error {
	if c.opts.AcceptGap {
		return nil
	}
	var has []offline.Range
	if s != nil {
		var err error
		if has, err = s.Covered(ctx, offline.EventsTable(v.Source)); err != nil {
			return err
		}
	}
	gaps := holes(below, has, v.Source.Topic)
	if len(gaps) == 0 {
		return nil
	}
	names := make([]string, len(gaps))
	for i, g := range gaps {
		names[i] = g.String()
	}
	return fmt.Errorf("%w: %s, deleted from the topic after the build was planned; --accept-gap builds it without them", ErrGap, strings.Join(names, ", "))
}

// fieldsOf returns the fields of the source that the view's state depends on.
func fieldsOf(v *config.View) []int {
	fields := append(slices.Clone(v.KeyFields), inputs.Fields(v)...)
	if v.Source.EventID >= 0 {
		fields = append(fields, v.Source.EventID)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// teller passes entities' events on as they come.
type teller struct {
	fold func(*processors.PastEvent) error
	key  []int
	row  []feature.Value // of the key alone, for a tombstone
	told bool            // something of the entity
}

// Begin implements replay.Visitor.
func (t *teller) Begin() error {
	t.told = false
	return nil
}

// Event implements replay.Visitor.
func (t *teller) Event(e *replay.Event) error {
	if !t.told {
		t.told = true
		t.row = append(t.row[:0], make([]feature.Value, len(e.Row))...)
		for _, k := range t.key {
			t.row[k] = e.Row[k].Clone()
		}
	}
	return t.fold(&processors.PastEvent{Row: e.Row, Order: e.Order})
}

// Erase implements replay.Visitor.
func (t *teller) Erase() error {
	if !t.told {
		return nil
	}
	// Of no partition: where the entity's tombstone was is not told, and does not matter.
	return t.fold(&processors.PastEvent{Row: t.row, Deleted: true})
}

// Probe implements replay.Visitor; nothing is asked.
func (t *teller) Probe(int64, uint64) error { return nil }

// End implements replay.Visitor.
func (t *teller) End() error { return nil }
