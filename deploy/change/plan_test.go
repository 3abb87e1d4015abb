package change

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/processors"
)

func TestHolesAreTheOffsetsThatNobodyHas(t *testing.T) {
	r := func(p int32, first, end int64) offline.Range {
		return offline.Range{Topic: "orders", Partition: p, First: first, End: end}
	}
	other := offline.Range{Topic: "backfill/abc", Partition: 0, First: 0, End: 100}
	for name, c := range map[string]struct {
		starts  []int64
		covered []offline.Range
		want    []offline.Range
	}{
		"the topic has its beginning":         {[]int64{0, 0}, nil, nil},
		"nobody has the beginning":            {[]int64{5, 0}, nil, []offline.Range{r(0, 0, 5)}},
		"a store joins the topic":             {[]int64{5, 7}, []offline.Range{r(0, 0, 5), r(1, 0, 9)}, nil},
		"a store ends before the topic":       {[]int64{9}, []offline.Range{r(0, 0, 5)}, []offline.Range{r(0, 5, 9)}},
		"a store begins late":                 {[]int64{9}, []offline.Range{r(0, 3, 20)}, []offline.Range{r(0, 0, 3)}},
		"a store has a hole":                  {[]int64{9}, []offline.Range{r(0, 6, 20), r(0, 0, 4)}, []offline.Range{r(0, 4, 6)}},
		"a hole that the topic has":           {[]int64{3}, []offline.Range{r(0, 0, 4), r(0, 6, 20)}, nil},
		"what is backfilled is of no offsets": {[]int64{3}, []offline.Range{other}, []offline.Range{r(0, 0, 3)}},
		"ranges overlap":                      {[]int64{9}, []offline.Range{r(0, 0, 6), r(0, 2, 9)}, nil},
	} {
		if got := holes(c.starts, c.covered, "orders"); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// having is a store of which is known what it has.
type having struct {
	OfflineStore
	ranges []offline.Range
	differ string // the table that cannot be changed
}

func (h *having) Covered(context.Context, *offline.Table) ([]offline.Range, error) {
	return h.ranges, nil
}

func (h *having) Plan(_ context.Context, t *offline.Table) ([]string, error) {
	if t.Name == h.differ {
		return nil, fmt.Errorf("%w: it is sorted otherwise", offline.ErrDiffers)
	}
	return []string{"ALTER TABLE " + t.Name}, nil
}

func (h *having) Prepare(ctx context.Context, t *offline.Table) error {
	_, err := h.Plan(ctx, t)
	return err
}

func ordersView() *config.View {
	return &config.View{Name: "user_orders", Source: &config.Source{Name: "orders", Topic: "orders"}}
}

// TestHistoryComesFromTheStoreWithTheBackfills: one that was added later, without them, does not win; where no store has all of them, what
// the chosen one lacks is a gap.
func TestHistoryComesFromTheStoreWithTheBackfills(t *testing.T) {
	topic := offline.Range{Topic: "orders", End: 100}
	a, b := offline.Range{Topic: "backfill/a", Partition: 7, End: 50}, offline.Range{Topic: "backfill/b", Partition: 9, End: 20}
	for name, c := range map[string]struct {
		parquet, clickhouse []offline.Range
		store, gap          string
	}{
		"the first lacks them":  {[]offline.Range{topic}, []offline.Range{topic, a}, "clickhouse", ""},
		"the second lacks them": {[]offline.Range{topic, a, b}, []offline.Range{topic}, "parquet", ""},
		"each lacks some":       {[]offline.Range{topic, b}, []offline.Range{topic, a}, "clickhouse", "backfill/b/9 [0, 20), which another store has"},
		"there are none":        {[]offline.Range{topic}, []offline.Range{topic}, "parquet", ""},
	} {
		ch := &Change{stores: []Store{{"parquet", &having{ranges: c.parquet}}, {"clickhouse", &having{ranges: c.clickhouse}}}}
		v := ViewPlan{view: ordersView()}
		if err := ch.planHistory(t.Context(), &v, []int64{60}); err != nil {
			t.Fatal(err)
		}
		if v.store.Name != c.store || len(v.Gaps) > 1 || !strings.Contains(strings.Join(v.Gaps, ""), c.gap) || (c.gap == "") != (len(v.Gaps) == 0) {
			t.Errorf("%s: from %s with the gaps %q", name, v.store.Name, v.Gaps)
		}
	}
}

// TestABuildNoticesWhatTheTopicHasLostSinceThePlan: records that went away in between, and that no store has, are a gap.
func TestABuildNoticesWhatTheTopicHasLostSinceThePlan(t *testing.T) {
	store := &Store{"parquet", &having{ranges: []offline.Range{{Topic: "orders", End: 50}}}}
	never := func(*processors.PastEvent) error { return errors.New("something is counted") }
	for name, s := range map[string]*Store{"in a store that ends before": store, "without a store": nil} {
		err := (&Change{}).history(ordersView(), s)(t.Context(), []int64{80}, never)
		if !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "80)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		below  int64
		accept bool
	}{"nothing is gone": {0, false}, "the gap is accepted": {80, true}} {
		ch := &Change{opts: Options{AcceptGap: c.accept}}
		if err := ch.history(ordersView(), nil)(t.Context(), []int64{c.below}, never); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestATableThatCannotBeChangedIsToldByItself: the others are planned and prepared.
func TestATableThatCannotBeChangedIsToldByItself(t *testing.T) {
	plane := &config.Plane{Sources: []*config.Source{{Name: "clicks"}, {Name: "orders"}}}
	ch := &Change{plane: plane, stores: []Store{{"clickhouse", &having{differ: "events_clicks"}}}}
	p := &Plan{}
	if err := ch.planTables(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if len(p.Tables) != 2 || !strings.Contains(p.Tables[0].Refusal, "sorted otherwise") || p.Tables[1].Refusal != "" || len(p.Tables[1].Statements) != 1 {
		t.Errorf("%+v", p.Tables)
	}
	if err := ch.prepareTables(t.Context()); !errors.Is(err, offline.ErrDiffers) || !strings.Contains(err.Error(), "table events_clicks") || strings.Contains(err.Error(), "events_orders") {
		t.Errorf("prepared: %v", err)
	}
}
