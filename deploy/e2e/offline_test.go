package e2e

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/serving"
)

// offlinePlane is ordersPlane with a service, whose sinks write often.
const offlinePlane = ordersPlane + `
feature_services:
  - {name: model, features: [user_orders, "shop_orders:max_10m", "shop_orders:count_1h", "shop_orders:last_users"]}
offline: {flush_interval: 300ms, flush_rows: 1000}
`

// offlineViews are those of orderViews with the features of the service.
var offlineViews = []view{
	orderViews[0],
	{name: "shop_orders", joinKeys: []string{"shop"}, where: present("amount"), features: orderViews[1].features[2:]},
}

// writing is nil when the process has written rows of each table to a store.
func (in *instance) writing(store string) error {
	for _, table := range []string{"events_orders", "features_user_orders", "features_shop_orders"} {
		n, err := in.metric("freshet_offline_rows_total", fmt.Sprintf("store=%q", store), fmt.Sprintf("table=%q", table))
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it has written nothing yet of " + table)
		}
	}
	return nil
}

// noLag is nil when the sinks have written what they know of.
func (in *instance) noLag() error {
	n, err := in.metric("freshet_offline_lag_records")
	if err == nil && n > 0 {
		err = fmt.Errorf("%.0f records are not written yet", n)
	}
	return err
}

// TestOfflineOverKills kills the whole process while events flow into both offline stores: while it writes, and before it
// has taken its partitions up. Then each event, and each row of the logs, is in both stores once, and training sets made from either
// equal loops over the events, and lookups at later times.
func TestOfflineOverKills(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, offlinePlane, kafka, kafka, testenv.Redis(t), orderPartitions)
	clickhouse, _ := testenv.ClickHouse(t)
	dir := t.TempDir()
	p.stores = parquetIn(dir) + clickHouseAt(clickhouse)
	rng := rand.New(rand.NewPCG(4, 2))
	events := p.stream(5, 1)
	for _, writes := range []bool{true, false} {
		in := p.run("one")
		if writes { // else it still waits for the dead process's session to end
			eventually(t, "writing to Parquet", func() error { return in.writing("parquet") })
			eventually(t, "writing to ClickHouse", func() error { return in.writing("clickhouse") })
		}
		time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
		in.kill()
	}
	in := p.run("one")
	es := events.end()
	checkOrders(t, "every feature online", in, es)
	eventually(t, "caught up", in.caughtUp)
	eventually(t, "nothing left to write", in.noLag)
	p.checkStores(dir, orderViews, es)
	if letters := p.records(t, p.prefix+"dlq.orders"); len(letters) > 0 {
		t.Errorf("%d dead letters, the first %v", len(letters), letters[0])
	}
	for _, store := range []string{"file://" + dir, clickhouse} {
		p.checkTraining(store, es)
	}
	in.stop()
}

// checkTraining makes a training set from a store and compares it with loops over the events, and with lookups by a reader whose clock
// says the rows' times.
func (p *plane) checkTraining(store string, es []*event) {
	p.t.Helper()
	rng := rand.New(rand.NewPCG(8, 8))
	now := time.Now().UnixMicro()
	s := &spine{events: es}
	for i := range 150 {
		at := now - rng.Int64N((4 * time.Hour).Microseconds())
		e := es[rng.IntN(len(es))]
		if i%3 == 0 {
			at = e.at // the very moment
		}
		s.add(e.row["user"].(string), e.row["shop"].(int64), at)
	}
	s.add("nobody", -1, now)
	var later []int64
	for _, ahead := range []time.Duration{time.Second, 7 * time.Minute, 55 * time.Minute} {
		at := now + ahead.Microseconds()
		later = append(later, at)
		for range 40 {
			e := es[rng.IntN(len(es))]
			s.add(e.row["user"].(string), e.row["shop"].(int64), at)
		}
	}
	set := p.train(store, s)
	for i := range offlineViews {
		if err := s.check(&offlineViews[i], set); err != nil {
			p.t.Errorf("the training set from %s: view %s: %v", store, offlineViews[i].name, err)
		}
	}
	for _, at := range later {
		if err := s.compareLookups(p.servedAt(at), set, at); err != nil {
			p.t.Errorf("the training set from %s beside lookups %d s from now: %v", store, (at-now)/1e6, err)
		}
	}
}

// spine is rows that ask for both entities' features.
type spine struct {
	events []*event
	users  []string
	shops  []int64
	at     []int64
}

func (s *spine) add(user string, shop, at int64) {
	s.users, s.shops, s.at = append(s.users, user), append(s.shops, shop), append(s.at, at)
}

// trained is a training set: a text for each row, by column. What is null is empty.
type trained map[string][]string

// train makes the training set of a spine and reads it.
func (p *plane) train(store string, s *spine) trained {
	p.t.Helper()
	dir := p.t.TempDir()
	in, out := filepath.Join(dir, "spine.csv"), filepath.Join(dir, "train.csv")
	text := "user,shop,event_timestamp\n"
	for i := range s.at {
		text += fmt.Sprintf("%s,%d,%s\n", s.users[i], s.shops[i], time.UnixMicro(s.at[i]).UTC().Format(time.RFC3339Nano))
	}
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.cli("train", p.file, "--connections", p.connections("reader"), "--service", "model", "--spine", in, "--out", out, "--store", store, "--full-feature-names")
	f, err := os.Open(out)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != len(s.at)+1 {
		p.t.Fatalf("a training set of %d lines for %d rows, %v", len(lines), len(s.at), err)
	}
	set := trained{}
	for col, name := range lines[0] {
		for _, l := range lines[1:] {
			set[name] = append(set[name], l[col])
		}
	}
	return set
}

// answered is a cell as a lookup answers.
func (s trained) answered(v *view, f *feature, i int, found bool) (value json.RawMessage, status string) {
	text := s[v.name+"__"+f.name][i]
	switch {
	case text == "" && !found:
		return json.RawMessage("null"), "NOT_FOUND"
	case text == "":
		return json.RawMessage("null"), "NULL_VALUE"
	}
	return json.RawMessage(text), "PRESENT"
}

// key is the entity of row i in a view.
func (s *spine) key(v *view, i int) any {
	if v.joinKeys[0] == "user" {
		return s.users[i]
	}
	return s.shops[i]
}

// check compares the features of a view with loops over the events up to each row's time.
func (s *spine) check(v *view, set trained) error {
	of := map[any][]*event{}
	for _, ent := range expect(v, s.events).entities {
		of[ent.key[0]] = ent.events
	}
	var wrong []error
	for i, at := range s.at {
		es := of[s.key(v, i)]
		n, _ := slices.BinarySearchFunc(es, at+1, func(e *event, at int64) int { return int(e.at - at) })
		for k := range v.features {
			f := &v.features[k]
			value, status := set.answered(v, f, i, n > 0)
			if n == 0 {
				if status != "NOT_FOUND" {
					wrong = append(wrong, fmt.Errorf("row %d: %s is %s, want nothing", i, f.name, value))
				}
			} else if err := f.check(value, status, es[:n], at); err != nil {
				wrong = append(wrong, fmt.Errorf("row %d: %s of %v: %w", i, f.name, s.key(v, i), err))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d wrong values, among them: %w", len(wrong), errors.Join(wrong[:min(5, len(wrong))]...))
	}
	return nil
}

// servedAt is a server of lookups over the plane's online store whose clock stands still.
func (p *plane) servedAt(at int64) (url string) {
	p.t.Helper()
	def, err := config.Load(p.file, p.connections("reader"))
	if err != nil {
		p.t.Fatal(err)
	}
	store, err := online.Open(p.t.Context(), *def.Connections.Redis, online.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	lookups, err := serving.New(def, store, serving.Options{Clock: func() time.Time { return time.UnixMicro(at) }})
	if err != nil {
		p.t.Fatal(err)
	}
	server := httptest.NewServer(lookups.Handler())
	p.t.Cleanup(func() {
		server.Close()
		if err := store.Close(); err != nil {
			p.t.Error(err)
		}
	})
	return server.URL
}

// compareLookups looks up what the rows of a time ask for: the same values, but for the last bits of sums of floats.
func (s *spine) compareLookups(server string, set trained, at int64) error {
	for k := range offlineViews {
		v := &offlineViews[k]
		var rows []int
		keys := map[string][]any{}
		for i := range s.at {
			if s.at[i] == at {
				rows, keys[v.joinKeys[0]] = append(rows, i), append(keys[v.joinKeys[0]], s.key(v, i))
			}
		}
		var names []string
		for _, f := range v.features {
			names = append(names, v.name+":"+f.name)
		}
		a, asOf, err := lookup(server, names, keys)
		if err != nil || asOf != at {
			return fmt.Errorf("a lookup as of %d: %w", asOf, err)
		}
		for j := range v.features {
			f := &v.features[j]
			r := a.Results[slices.Index(a.Metadata.Names, f.name)]
			for n, i := range rows {
				value, status := set.answered(v, f, i, r.Statuses[n] != "NOT_FOUND")
				if status != r.Statuses[n] || !f.equal(value, r.Values[n]) {
					return fmt.Errorf("row %d: %s is %s %s, a lookup says %s %s", i, f.name, status, value, r.Statuses[n], r.Values[n])
				}
			}
		}
	}
	return nil
}

// equal compares two values of a feature.
func (f *feature) equal(a, b json.RawMessage) bool {
	var x, y float64
	if json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil {
		return x == y || f.aggregate == "mean" && max(x-y, y-x) <= f.tolerance(x)
	}
	return strings.ReplaceAll(string(a), " ", "") == strings.ReplaceAll(string(b), " ", "")
}
