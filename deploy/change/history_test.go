package change

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/offlinetest"
	"github.com/freshet-io/freshet/processors"
)

const historyPlane = `
project: history
connections: {kafka: {brokers: ["127.0.0.1:1"]}, redis: {url: "redis://127.0.0.1:1"}}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: orders
    topic: orders
    key: [user]
    event_id: {field: id, horizon: 10m}
    tombstones: delete
    event_time: {field: at, format: unix_us}
    schema:
      - {name: user, type: string, required: true}
      - {name: id, type: string}
      - {name: n, type: int64}
      - {name: at, type: int64, required: true}
feature_views:
  - {name: user_orders, entity: user, source: orders, features: [{name: sum, aggregate: sum, of: n}]}
`

// past is a store of events in memory, of which the rest is not asked.
type past struct {
	OfflineStore
	*offlinetest.Memory
}

// Scan implements replay.Scanner.
func (p past) Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(int, *offline.Batch) error) error {
	return p.Memory.Scan(ctx, t, q, fn)
}

// Covered implements replay.Scanner.
func (p past) Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error) {
	return p.Memory.Covered(ctx, t)
}

// TestHistoryOfIDsAndTombstones: what a build is told of the past is what was processed: of the events of an id the one that
// came first, and nothing of an entity from before its tombstone, in whatever order and however often a store has the rows.
func TestHistoryOfIDsAndTombstones(t *testing.T) {
	plane, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(historyPlane)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		m := &offlinetest.Memory{Twice: 3, BatchRows: 7}
		const users, end = 4, 150 // records from end on are not of the past
		ids, want := map[string]bool{}, map[string][]string{}
		for i := range int64(200) {
			user := fmt.Sprint("u", rng.IntN(users))
			at := 1_800_000_000*feature.Second + i*feature.Second/4 // well within the horizon
			meta := offline.Meta{Time: at, Arrived: at, Ordinal: 1, Topic: "orders", Offset: i}
			if rng.IntN(30) == 0 {
				meta.Deleted = true
				m.Add(meta, feature.StringValue(user), feature.Value{}, feature.Value{}, feature.Value{})
				if i < end {
					want[user] = nil
				}
				continue
			}
			id := fmt.Sprint(rng.IntN(120))
			n := rng.Int64N(100)
			m.Add(meta, feature.StringValue(user), feature.StringValue(id), feature.Int64Value(n), feature.Int64Value(at))
			if i < end && !ids[user+" "+id] {
				ids[user+" "+id] = true
				want[user] = append(want[user], fmt.Sprint(i, n))
			}
		}
		rng.Shuffle(len(m.Rows), func(i, j int) { m.Rows[i], m.Rows[j] = m.Rows[j], m.Rows[i] })
		c := &Change{plane: plane, opts: Options{Plane: plane, Dir: t.TempDir()}}
		got := map[string][]string{}
		err := c.history(plane.Views[0], &Store{Name: "memory", OfflineStore: past{Memory: m}})(t.Context(), []int64{end}, func(e *processors.PastEvent) error {
			key := e.Row[0].Clone()
			user := key.Str()
			if e.Deleted {
				got[user] = nil
			} else {
				got[user] = append(got[user], fmt.Sprint(e.Order.Offset, e.Row[2].Int64()))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for u := range users {
			user := fmt.Sprint("u", u)
			if !slices.Equal(got[user], want[user]) {
				t.Errorf("seed %d: %s has %v, want %v", seed, user, got[user], want[user])
			}
		}
	}
}

// unlisted is a store that has rows and does not say of which offsets it has all: a table from before ranges were written down.
type unlisted struct{ past }

func (unlisted) Covered(context.Context, *offline.Table) ([]offline.Range, error) { return nil, nil }

// TestRowsWithoutRangesCountWhenTheGapIsAccepted: it cannot be known whether they are all, so that a build is refused until somebody says
// that it may be of what there is.
func TestRowsWithoutRangesCountWhenTheGapIsAccepted(t *testing.T) {
	plane, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(historyPlane)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	m := &offlinetest.Memory{}
	for i := range int64(8) {
		meta := offline.Meta{Time: i, Arrived: i, Ordinal: 1, Topic: "orders", Offset: i}
		m.Add(meta, feature.StringValue("u"), feature.StringValue(fmt.Sprint(i)), feature.Int64Value(i), feature.Int64Value(i))
	}
	c := &Change{plane: plane, stores: []Store{{"memory", unlisted{past{Memory: m}}}}, opts: Options{Plane: plane, Dir: t.TempDir()}}
	v := ViewPlan{View: "user_orders", view: plane.Views[0]}
	if err := c.planHistory(t.Context(), &v, []int64{5}); err != nil {
		t.Fatal(err)
	}
	build := func() (n int, err error) {
		err = c.history(v.view, v.store)(t.Context(), []int64{5}, func(*processors.PastEvent) error { n++; return nil })
		return n, err
	}
	if err := c.permits(&Plan{Views: []ViewPlan{v}}); !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "orders/0 [0, 5)") {
		t.Errorf("planned with the gaps %q: %v", v.Gaps, err)
	}
	if n, err := build(); !errors.Is(err, ErrGap) || n > 0 {
		t.Errorf("%d events were counted, %v", n, err)
	}
	c.opts.AcceptGap = true
	if err := c.permits(&Plan{Views: []ViewPlan{v}}); err != nil {
		t.Error(err)
	}
	if n, err := build(); err != nil || n != 5 {
		t.Errorf("%d events were counted, %v; the topic has lost five", n, err)
	}
}
