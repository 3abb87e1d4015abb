package cli

import (
	"strings"
	"testing"

	"github.com/freshet-io/freshet/deploy/change"
)

// TestAPlanSaysWhatIsToBeDone: of statements the first lines, for what a table is made of is the definition's.
func TestAPlanSaysWhatIsToBeDone(t *testing.T) {
	p := &change.Plan{
		Views: []change.ViewPlan{
			{View: "kept", Action: change.Keep, Generation: 2},
			{View: "spend", Action: change.Create, History: []string{"orders/0 from offset 5", "orders/1 from its beginning", "orders/2 from its beginning", "orders/3 from its beginning", "orders/5 from its beginning", "clickhouse orders/1 [0, 7)"}, Gaps: []string{"orders/1 [0, 7)"}},
			{View: "kept", Action: change.Drop, Generation: 1, Reason: "nobody's"},
			{View: "kept", Action: change.Drop, Reason: "nobody's"},
		},
		Tables: []change.TablePlan{
			{Store: "clickhouse", Table: "events_orders", Statements: []string{"CREATE TABLE a.events_orders_rows\n(\n    `user` String\n)\nENGINE = X", "ALTER TABLE b ADD COLUMN c Int64"}},
			{Store: "clickhouse", Table: "events_old", Refusal: "sorted otherwise"},
		},
	}
	var b strings.Builder
	if err := printPlan(&b, p); err != nil {
		t.Fatal(err)
	}
	const want = `FEATURE VIEW  ACTION  GENERATION
kept          keep             2
spend         create           0
kept          drop             1
kept          drop             0

create spend
  history: orders/0 from offset 5
  history: orders/1-3 from its beginning
  history: orders/5 from its beginning
  history: clickhouse orders/1 [0, 7)
  GAP: orders/1 [0, 7)

drop kept
  nobody's

clickhouse table events_orders
  CREATE TABLE a.events_orders_rows
  ALTER TABLE b ADD COLUMN c Int64

clickhouse table events_old
  REFUSED: sorted otherwise
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
