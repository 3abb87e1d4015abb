package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/freshet-io/freshet/internal/testenv"
)

// history is an offline store that a plane's sinks fill and its changes read.
type history struct {
	name, lines string // of the connection
	rows        func(table string) []stored
}

// forEachHistory runs a test on planes with either offline store.
func forEachHistory(t *testing.T, test func(t *testing.T, p *plane, h *history)) {
	for _, name := range []string{"parquet", "clickhouse"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka := testenv.Kafka(t)
			p := newPlane(t, ordersPlane+"offline: {flush_interval: 300ms}\n", kafka, kafka, testenv.Redis(t), orderPartitions)
			h := &history{name: name}
			if name == "parquet" {
				dir := t.TempDir()
				h.lines, h.rows = parquetIn(dir), func(table string) []stored { return p.inParquet(dir, table) }
			} else {
				url, _ := testenv.ClickHouse(t)
				h.lines, h.rows = clickHouseAt(url), p.inClickHouse
			}
			p.stores = h.lines
			test(t, p, h)
		})
	}
}

// has waits until the store has each event once.
func (h *history) has(t *testing.T, es []*event) {
	t.Helper()
	want := eventRows(es)
	eventually(t, fmt.Sprintf("%d events in %s", len(es), h.name), func() error { return sameRows(h.rows("events_orders"), want) })
}

// command runs a command and returns its status and output.
func (p *plane) command(ctx context.Context, args ...string) (status int, out, log string) {
	p.t.Helper()
	file, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// ends returns where the topic's partitions end.
func (p *plane) ends() map[int32]int64 {
	p.t.Helper()
	listed, err := kadm.NewClient(p.client()).ListEndOffsets(p.t.Context(), p.topic)
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
	return out
}

// truncate deletes the records below given offsets.
func (p *plane) truncate(ends map[int32]int64) {
	p.t.Helper()
	below := kadm.Offsets{}
	for part, end := range ends {
		below.AddOffset(p.topic, part, end, -1)
	}
	done, err := kadm.NewClient(p.client()).DeleteRecords(p.t.Context(), below)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// changedOrders are the views of ordersPlane with a feature more each, and one more view.
func changedOrders(p *plane) (text string, views []view) {
	text = strings.Replace(p.text, "      - {name: last_shop,", "      - {name: most, aggregate: max, of: n}\n      - {name: last_shop,", 1)
	text = strings.Replace(text, "      - {name: count_1h,", "      - {name: most, aggregate: max, of: amount, window: 1h}\n      - {name: count_1h,", 1)
	text = strings.Replace(text, "  - name: shop_orders\n", addedView+"  - name: shop_orders\n", 1)
	for _, v := range orderViews {
		v.features = slices.Clone(v.features)
		views = append(views, v)
	}
	views[0].features = append(views[0].features, feature{name: "most", aggregate: "max", of: field("n")})
	views[1].features = append(views[1].features, feature{name: "most", aggregate: "max", of: field("amount"), window: time.Hour})
	return text, append(views, view{name: "user_channels", joinKeys: []string{"user"}, features: []feature{
		{name: "channels", aggregate: "count", of: field("channel")},
		{name: "least_1h", aggregate: "min", of: field("amount"), window: time.Hour},
	}})
}

const addedView = `  - name: user_channels
    entity: user
    source: orders
    features:
      - {name: channels, aggregate: count, of: channel}
      - {name: least_1h, aggregate: min, of: amount, window: 1h}
`

// TestAChangedDefinitionIsAppliedWhileEventsFlow changes both views of a plane that runs, and adds one. The topic no longer has the first
// events: for a part of them there is only what the sink has written to an offline store. apply is killed on its way twice. The old
// definition is served until the new one runs, and then every feature of every entity is that of all events, each once.
func TestAChangedDefinitionIsAppliedWhileEventsFlow(t *testing.T) {
	t.Parallel()
	forEachHistory(t, applyWhileEventsFlow)
}

func applyWhileEventsFlow(t *testing.T, p *plane, h *history) {
	old := p.run("one")
	first := p.stream(1, 20)
	time.Sleep(3 * time.Second)
	es := first.end()
	checkOrders(t, "the first events", old, es)

	h.has(t, es)
	ends := p.ends()
	for part := range ends {
		ends[part] /= 2
	}
	eventually(t, "caught up", old.caughtUp)
	p.truncate(ends)

	second := p.stream(2, 4)
	text, views := changedOrders(p)
	p.define(text)
	conn := p.connections("none")
	p.stores = ""
	bare := p.connections("none")
	p.stores = h.lines
	status, out, log := p.command(t.Context(), "plan", p.file, "--connections", conn, "--output", "json")
	var plan struct {
		Views []struct {
			View, Action string
			Gaps         []string
		}
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil || status != 6 {
		t.Fatalf("plan: status %d, %v\n%s%s", status, err, out, log)
	}
	got, want := fmt.Sprint(plan.Views), "[{user_orders rebuild []} {user_channels create []} {shop_orders rebuild []}]"
	if got != want {
		t.Fatalf("plan: %s, want %s\n%s", got, want, out)
	}
	if status, _, log := p.command(t.Context(), "apply", p.file, "--connections", bare); status != 1 || !strings.Contains(log, "--accept-gap") {
		t.Errorf("apply without the offline store: status %d, %s", status, log)
	}
	for _, after := range []time.Duration{300 * time.Millisecond, 900 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		p.command(ctx, "apply", p.file, "--connections", conn) // killed
		cancel()
	}
	if status, out, log := p.command(t.Context(), "apply", p.file, "--connections", conn); status != 0 {
		t.Fatalf("apply: status %d\n%s%s", status, out, log)
	}
	if status, out, log := p.command(t.Context(), "plan", p.file, "--connections", conn); status != 0 {
		t.Errorf("plan after apply: status %d\n%s%s", status, out, log)
	}
	fresh := p.run("two")
	time.Sleep(time.Second)
	old.stop()
	es = append(es, second.end()...)
	xs := expectAll(views, es)
	eventually(t, fmt.Sprintf("every feature of %d events", len(es)), func() error { return checkAll(fresh.http, xs) })
	eventually(t, "caught up", fresh.caughtUp)
	fresh.stop()
	if letters := p.records(t, p.prefix+"dlq.orders"); len(letters) > 0 {
		t.Errorf("%d dead letters, the first %v", len(letters), letters[0])
	}
	// What nobody defines any more goes when it is allowed to, and the rest stays.
	if status, out, log := p.command(t.Context(), "apply", p.file, "--connections", conn, "--allow-drop"); status != 0 || strings.Count(out, "dropped ") < 2 {
		t.Errorf("apply --allow-drop: status %d\n%s%s", status, out, log)
	}
	again := p.run("three")
	eventually(t, "every feature after the drop", func() error { return checkAll(again.http, xs) })
	again.stop()
}

// TestBackfillAndForget loads a file into a plane that runs, twice, and then has it forget a user.
func TestBackfillAndForget(t *testing.T) {
	t.Parallel()
	forEachHistory(t, backfillAndForget)
}

// backfillQuery loads what ClickHouse answers, in two orders, and returns the events.
func backfillQuery(t *testing.T, p *plane, conn string) (es []*event) {
	t.Helper()
	base := time.Now().Add(-2 * time.Hour).Truncate(time.Millisecond)
	for i := range 100 {
		at := base.Add(time.Duration(i) * time.Second)
		r := row{"user": fmt.Sprintf("u%d", i%20), "shop": int64(i % 7), "channel": "app", "amount": float64(i), "n": int64(2), "at": at.UnixMilli()}
		es = append(es, &event{row: r, at: at.UnixMicro(), partition: -1, offset: int64(i)})
	}
	for _, order := range []string{"number % 7, number", "number"} {
		query := fmt.Sprintf("SELECT concat('u', toString(number %% 20)) AS user, toInt64(number %% 7) AS shop, 'app' AS channel, toFloat64(number) AS amount, toInt64(2) AS n, "+
			"toInt64(%d + number * 1000) AS at FROM numbers(100) ORDER BY %s", base.UnixMilli(), order)
		status, out, log := p.command(t.Context(), "backfill", p.file, "--connections", conn, "--source", "orders", "--from", query)
		if status != 0 || !strings.Contains(out, "loaded 100 rows") {
			t.Fatalf("backfill by %s: status %d\n%s%s", order, status, out, log)
		}
	}
	return es
}

func backfillAndForget(t *testing.T, p *plane, h *history) {
	in := p.run("one")
	events := p.stream(3, 5)
	time.Sleep(2 * time.Second)
	es := events.end()
	checkOrders(t, "what was sent", in, es)

	h.has(t, es)
	sent := len(es)
	conn := p.connections("none")
	file := filepath.Join(t.TempDir(), "past.csv")
	text := "user,shop,channel,amount,n,at\n"
	for i := range 200 {
		at := time.Now().Add(-time.Hour - time.Duration(i)*time.Second).Truncate(time.Millisecond)
		r := row{"user": fmt.Sprintf("u%d", i%20), "shop": int64(i % 7), "channel": "web", "amount": float64(i), "n": int64(i % 3), "at": at.UnixMilli()}
		text += fmt.Sprintf("u%d,%d,web,%d,%d,%d\n", i%20, i%7, i, i%3, at.UnixMilli())
		es = append(es, &event{row: r, at: at.UnixMicro(), partition: -1, offset: int64(i)})
	}
	bad := filepath.Join(t.TempDir(), "bad.csv")
	for name, content := range map[string]string{file: text, bad: text + "u1,one,web,1,1,1\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, out, _ := p.command(t.Context(), "backfill", p.file, "--connections", conn, "--source", "orders", "--from", bad); status != 1 || !strings.Contains(out, "bad.csv row 201: ") {
		t.Errorf("a bad row: status %d, %s", status, out)
	}
	for range 2 {
		status, out, log := p.command(t.Context(), "backfill", p.file, "--connections", conn, "--source", "orders", "--from", file)
		if status != 0 || !strings.Contains(out, "loaded 200 rows") {
			t.Fatalf("backfill: status %d\n%s%s", status, out, log)
		}
		checkOrders(t, "with what was loaded", in, es)
	}

	loaded := 200
	if h.name == "clickhouse" {
		es = append(es, backfillQuery(t, p, conn)...)
		loaded += 100
		checkOrders(t, "with what a query answered", in, es)
	}
	if n := len(h.rows("events_orders")); n != sent+loaded {
		t.Errorf("%d rows in %s, want %d and %d", n, h.name, sent, loaded)
	}

	const gone = "u7"
	status, out, log := p.command(t.Context(), "forget", p.file, "--connections", conn, "--entity", "user="+gone)
	if status != 0 || !strings.Contains(out, h.name+" events_orders") || !strings.Contains(out, p.topic) {
		t.Fatalf("forget: status %d\n%s%s", status, out, log)
	}
	var left []*event
	for _, e := range es {
		if e.row["user"] != gone {
			left = append(left, e)
		}
	}
	xs := append(expectAll(orderViews[:1], left), expectAll(orderViews[1:], es)...)
	eventually(t, "the others", func() error { return checkAll(in.http, xs) })
	eventually(t, "nothing of the user", func() error {
		a, _, err := lookup(in.http, []string{"user_orders:n_ever"}, map[string][]any{"user": {gone}})
		if err == nil && !strings.Contains(fmt.Sprint(*a), "NOT_FOUND") {
			err = fmt.Errorf("found %v", *a)
		}
		return err
	})
	for _, table := range []string{"events_orders", "features_user_orders"} {
		left := h.rows(table)
		if slices.ContainsFunc(left, func(s stored) bool { return s.row["user"] == gone }) {
			t.Errorf("%s has rows of the user in %s", h.name, table)
		}
		if !slices.ContainsFunc(left, func(s stored) bool { return s.row["user"] == "u8" }) {
			t.Errorf("%s has no rows of another user in %s", h.name, table)
		}
	}
	if n := len(h.rows("events_orders")); n != len(left) {
		t.Errorf("%d rows in %s, want %d", n, h.name, len(left))
	}
}
