package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// withPoints is the plane's definition with a field more in the source, one that need not be there any more, and a feature more
// in a view.
func (p *plane) withPoints() string {
	p.t.Helper()
	text := p.text
	for before, after := range map[string]string{
		"      - {name: at, type: int64, required: true}\n":       "      - {name: at, type: int64, required: true}\n      - {name: points, type: int64}\n",
		"      - {name: channel, type: string, required: true}\n": "      - {name: channel, type: string}\n",
		"      - {name: last_shop, of: shop}\n":                   "      - {name: last_shop, of: shop}\n      - {name: most, aggregate: max, of: points}\n",
	} {
		if strings.Count(text, before) != 1 {
			p.t.Fatalf("the definition has no %q", before)
		}
		text = strings.Replace(text, before, after, 1)
	}
	return text
}

// TestAColumnIsAddedWhileEventsFlow adds a field to a source and a feature to its view while two processes fill both stores, and
// replaces one after the other. Each event has one row. It has the field unless a process of the old definition wrote it, and
// the log has a row of each definition that counted the event.
func TestAColumnIsAddedWhileEventsFlow(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, ordersPlane+"offline: {flush_interval: 300ms, flush_rows: 1000}\n", kafka, kafka, testenv.Redis(t), orderPartitions)
	clickhouse, _ := testenv.ClickHouse(t)
	dir := t.TempDir()
	p.stores = parquetIn(dir) + clickHouseAt(clickhouse)
	old := []*instance{p.run("one"), p.run("two")}
	o := newOrders(6)
	pointed := func() ([]byte, *event) { // producers know the field before the plane does
		_, e := o.next()
		e.row["points"] = int64(o.n)
		return e.row.json(), e
	}
	first := p.streamOf(pointed, 1)
	time.Sleep(2 * time.Second)
	es := first.end()
	before := len(es)
	eventually(t, "the first rows", func() error { return p.countRows(dir, "events_orders", before) })
	eventually(t, "the first rows of the log", func() error { return p.countRows(dir, "features_user_orders", before) })
	began := p.ends()

	second := p.streamOf(pointed, 1)
	p.define(p.withPoints())
	if status, out, log := p.command(t.Context(), "apply", p.file, "--connections", p.connections("none")); status != 0 {
		t.Fatalf("apply: status %d\n%s%s", status, out, log)
	}
	var fresh []*instance
	for i, in := range old {
		in.stop()
		if i == len(old)-1 {
			break
		}
		fresh = append(fresh, p.run(in.name))
	}
	replaced := p.ends() // what comes from here on, no process of the old definition has seen
	fresh = append(fresh, p.run("two"))
	time.Sleep(time.Second)
	es = append(es, second.end()...)

	views := []view{orderViews[0], orderViews[1]}
	views[0].features = append(slices.Clone(views[0].features), feature{name: "most", aggregate: "max", of: field("points")})
	xs := expectAll(views, es)
	eventually(t, fmt.Sprintf("every feature of %d events", len(es)), func() error { return checkAll(fresh[0].http, xs) })
	for _, in := range fresh {
		eventually(t, "caught up", in.caughtUp)
		eventually(t, "nothing left to write", in.noLag)
	}
	// Each store has a group of its own: in between, who wrote a row is another question in each.
	eventually(t, "each event once, with its field where it must be", func() error {
		return errors.Join(
			inStore("ClickHouse", checkPoints(p.inClickHouse("events_orders"), es, began, replaced)),
			inStore("Parquet", checkPoints(p.inParquet(dir, "events_orders"), es, began, replaced)),
		)
	})
	eventually(t, "the log", func() error {
		return errors.Join(
			inStore("ClickHouse", checkTwoLogs(p.inClickHouse("features_user_orders"), es, began, replaced)),
			inStore("Parquet", checkTwoLogs(p.inParquet(dir, "features_user_orders"), es, began, replaced)),
		)
	})
	for _, in := range fresh {
		in.stop()
	}
}

// countRows is nil when both stores have n rows of a table.
func (p *plane) countRows(dir, table string, n int) error {
	a, b := len(p.inClickHouse(table)), len(p.inParquet(dir, table))
	if a != n || b != n {
		return fmt.Errorf("%d rows in ClickHouse, %d in Parquet, want %d", a, b, n)
	}
	return nil
}

// checkPoints compares rows with events that have points: null in those below the offsets began, which a process of the old
// definition wrote, not null from the offsets replaced on, and in between it depends on who had the partition.
func checkPoints(rows []stored, es []*event, began, replaced map[int32]int64) error {
	want := eventRows(es)
	if len(rows) != len(want) {
		return fmt.Errorf("%d rows, want %d", len(rows), len(want))
	}
	for i, r := range rows {
		p, w := r.partition, want[i]
		has := r.row["points"] != nil
		if has && r.offset < began[p] || !has && r.offset >= replaced[p] {
			return fmt.Errorf("points of %d/%d are %v; the change began at %d and ended at %d", p, r.offset, r.row["points"], began[p], replaced[p])
		}
		if !has { // w is the event itself, which has it
			r.row["points"] = w.row["points"]
		}
		if err := sameRows([]stored{r}, []stored{w}); err != nil {
			return err
		}
	}
	return nil
}

// checkTwoLogs looks at the log of user_orders, in which an event is known by its user and how many events that has. Those before
// the change have a row of the old definition, without the feature most, those after it one of the new. In between either
// definition may have counted an event, or both, and a process of the old one may have written the other's row, without most.
func checkTwoLogs(rows []stored, es []*event, began, replaced map[int32]int64) error {
	type place struct{ user, ever any }
	type logged struct{ rows, withMost int }
	logs := map[place]logged{}
	for _, r := range rows {
		at := place{r.row["user"], r.row["ever"]}
		l := logs[at]
		l.rows++
		if r.row["most"] != nil {
			l.withMost++
		}
		logs[at] = l
	}
	n := 0
	for _, ent := range expect(&orderViews[0], es).entities {
		slices.SortFunc(ent.events, func(a, b *event) int { return int(a.offset - b.offset) })
		for i, e := range ent.events {
			l := logs[place{ent.key[0], int64(i + 1)}]
			n += l.rows
			wrong := l.rows < 1 || l.rows > 2 || l.withMost > 1
			if e.offset < began[e.partition] {
				wrong = l != logged{1, 0}
			} else if e.offset >= replaced[e.partition] {
				wrong = l != logged{1, 1}
			}
			if wrong {
				return fmt.Errorf("event %d/%d of %v has %d rows, %d of them with the new feature; the change began at %d and ended at %d",
					e.partition, e.offset, ent.key[0], l.rows, l.withMost, began[e.partition], replaced[e.partition])
			}
		}
	}
	if n != len(rows) {
		return fmt.Errorf("%d rows, but %d are of events", len(rows), n)
	}
	return nil
}
