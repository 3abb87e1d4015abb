package change

import (
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/processors"
)

const forgetPlane = `
project: test
connections:
  kafka: {brokers: ["127.0.0.1:1"]}
  redis: {url: "redis://127.0.0.1:1"}
  parquet: {url: "file:///nowhere"}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
  - {name: shop, join_keys: [{name: shop, type: int64}]}
sources:
  - {name: orders, topic: orders, key: [user], schema: [{name: user, type: string, required: true}, {name: shop, type: int64, required: true}]}
feature_views:
  - {name: user_orders, entity: user, source: orders, history: none, features: [{name: orders_1h, aggregate: count, window: 1h}]}
  - {name: shop_orders, entity: shop, source: orders, history: none, features: [{name: sold_1h, aggregate: count, window: 1h}]}
feature_services:
  - {name: fraud, features: [user_orders]}
  - {name: stock, features: [shop_orders]}
models:
  - {name: scorer, feature_service: fraud, inferences: {topic: scores, id: id, entities: [{join_key: user, field: customer}]}}
  - {name: mute, feature_service: fraud, inferences: {topic: mutes, id: id}}
  - {name: stocker, feature_service: stock, inferences: {topic: stocks, id: id}}
`

// TestForgetReachesEveryTable: the events, the logs of views that keep none now or have left the definition, and inferences; of a
// model that does not say whose its inferences are it says so. Everybody else stays, and no table is made.
func TestForgetReachesEveryTable(t *testing.T) {
	plane, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(forgetPlane)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	native, _ := testenv.ClickHouse(t)
	files, err := parquet.Open(t.Context(), config.Secret("file://"+t.TempDir()), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(native)}, clickhouse.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c := &Change{plane: plane, stores: []Store{{"parquet", files}, {"clickhouse", server}}}
	defer func() {
		if err := files.Close(); err != nil {
			t.Error(err)
		}
		_ = server.Close() // it has no error of its own
	}()
	user := plane.Entities[0]
	old := formerLog("old_orders", user).table
	old.Source = plane.FeatureLog(&config.View{Name: "old_orders", Entity: user})
	key := map[string]int{"events_orders": 0, "features_user_orders": 0, "features_old_orders": 0, "inferences_scorer": plane.Models[0].JoinKeys[0].Field}
	tables := []*offline.Table{offline.EventsTable(plane.Sources[0]), offline.FeaturesTable(plane, plane.Views[0]), old, offline.InferencesTable(plane.Models[0]), offline.InferencesTable(plane.Models[1])}
	for i := range c.stores {
		for _, table := range tables {
			fill(t, c.stores[i], table, key)
		}
	}
	former := []processors.FormerView{{Name: "old_orders", Entity: "user"}, {Name: "old_shops", Entity: "shop"}, {Name: "never_logged", Entity: "user"}}
	places, kept := c.places(user, former)
	if fmt.Sprint(kept) != "[inferences_mute]" {
		t.Errorf("kept %v", kept)
	}
	for _, p := range places {
		if strings.HasPrefix(p.table.Name, "features_") != p.abandoned { // whose views keep no log
			t.Errorf("table %s is abandoned: %v", p.table.Name, p.abandoned)
		}
	}
	for i := range c.stores {
		s := &c.stores[i]
		for round, want := range []int64{10, 0} {
			out := &Forgotten{Rows: map[string]int64{}}
			if err := s.forget(t.Context(), places, []feature.Value{feature.StringValue("u1")}, out); err != nil {
				t.Fatal(err)
			}
			rows := map[string]int64{s.Name + " features_never_logged": 0}
			for name := range key {
				rows[s.Name+" "+name] = want
			}
			if !maps.Equal(out.Rows, rows) {
				t.Errorf("round %d: %v, want %v", round, out.Rows, rows)
			}
		}
		for _, table := range tables {
			want := 20
			if !hasKey(key, table) {
				want = 30
			}
			if n, gone := count(t, s, table, key); n != want || gone > 0 {
				t.Errorf("%s %s has %d rows, want %d; %d of the entity", s.Name, table.Name, n, want, gone)
			}
		}
	}
	if steps, err := server.Plan(t.Context(), formerLog("never_logged", user).table); err != nil || !strings.HasPrefix(steps[0], "CREATE TABLE") {
		t.Errorf("there is a table that nobody made: %v, %v", steps, err)
	}
}

func hasKey(key map[string]int, t *offline.Table) bool { _, ok := key[t.Name]; return ok }

// fill stores 30 rows of three users.
func fill(t *testing.T, s Store, table *offline.Table, key map[string]int) {
	t.Helper()
	if err := s.Prepare(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	b := &offline.Batch{Width: len(table.Columns)}
	for off := range int64(30) {
		for i, c := range table.Columns {
			v := feature.Value{}
			switch {
			case hasKey(key, table) && i == key[table.Name], c.Type == feature.String:
				v = feature.StringValue(fmt.Sprint("u", off%3))
			case c.Type == feature.Int64:
				v = feature.Int64Value(off)
			}
			b.Values = append(b.Values, v)
		}
		b.Meta = append(b.Meta, offline.Meta{Time: off, Arrived: off, Offset: off, Topic: table.Source.Topic, Ordinal: 1})
	}
	if err := s.Write(t.Context(), table, offline.Range{Topic: table.Source.Topic, End: 30}, b); err != nil {
		t.Fatal(err)
	}
}

// count returns the rows of a table, and those of user u1.
func count(t *testing.T, s *Store, table *offline.Table, key map[string]int) (n, gone int) {
	t.Helper()
	q := offline.Query{From: -1, To: 100, Columns: []int{key[table.Name]}}
	err := s.Scan(t.Context(), table, q, func(_ int, b *offline.Batch) error {
		n += b.Len()
		for i := range b.Len() {
			if v := b.Row(i)[0]; hasKey(key, table) && v.Type() == feature.String && v.Str() == "u1" {
				gone++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, gone
}
