package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	values "github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
	"github.com/freshet-io/freshet/offline"
)

const monitoredPlane = `
project: %[1]s
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - {name: orders, topic: %[2]s, key: [user], schema: [{name: user, type: string, required: true}, {name: amount, type: float64}]}
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: spend_1d, aggregate: sum, of: amount, window: 1d}]}
feature_services:
  - {name: fraud, features: [spend], request: [{name: total, type: float64}]}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: %[2]s.scores, id: id, event_time: {field: at, format: unix_us}, prediction: {field: p, type: probability}}
baselines:
  - {name: scorer_1, model: scorer}
monitors:
  - {name: inputs, model: scorer, window: {size: 10m, every: 5m, grace: 0s}, skew: {baseline: scorer_1}, min_sample: 300, for: 2, channels: [hook]}
channels:
  - {name: hook, webhook: {url: "%[3]s", secret: "file:secret", allow: ["127.0.0.0/8"]}}
`

const (
	hookSecret      = "whsec_ZnJlc2hldC10ZXN0LXNlY3JldC0wMTIzNDU2Nzg5"
	scorePartitions = 4
	second          = int64(1_000_000)
)

// receiver is a webhook's receiver: it refuses what is not signed, and now and then what is.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	rng  *rand.Rand
	got  map[string]alert.Message // by id, of those that it accepted
	bad  []string
	list []string // ids, in order
	all  bool     // every message is refused the first time, not every other
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	v, err := notify.NewVerifier(notify.Secret(hookSecret))
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{rng: rand.New(rand.NewPCG(1, 1)), got: map[string]alert.Message{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var id string
		if err == nil {
			id, err = v.Verify(req.Header, body, time.Now())
		}
		var m alert.Message
		if err == nil {
			m, err = alert.ParseEvent(body)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case err != nil:
			r.bad = append(r.bad, err.Error())
			w.WriteHeader(http.StatusBadRequest)
		case (r.rng.IntN(2) == 0 || r.all) && r.got[id].ID == "" && !slices.Contains(r.list, id):
			r.list = append(r.list, id)                   // refused once: it comes again under its id
			w.WriteHeader(http.StatusInternalServerError) // after five seconds, where a 503 would pause the endpoint for thirty
		default:
			r.list = append(r.list, id)
			r.got[id] = m
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// told returns the messages that were accepted, one an id.
func (r *receiver) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, m := range r.got {
		out = append(out, m.Status+" "+m.Group+" "+m.Features[0].Column)
	}
	slices.Sort(out)
	return out
}

// offered is how many messages were offered, those that were refused too.
func (r *receiver) offered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := slices.Clone(r.list)
	slices.Sort(ids)
	return len(slices.Compact(ids))
}

// inferences is a model's stream in event time, one a second.
type inferences struct {
	p    *plane
	cl   *kgo.Client
	rng  *rand.Rand
	at   int64
	sent []*kgo.Record
	base *baseline.Baseline
}

// monitored begins a model's stream on a plane whose topics and baseline there are.
func monitored(t *testing.T, p *plane) *inferences {
	t.Helper()
	p.processing = ", commit_interval: 200ms"
	if err := os.WriteFile(filepath.Join(filepath.Dir(p.file), "secret"), []byte(hookSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &inferences{p: p, cl: p.client(kgo.RecordPartitioner(kgo.ManualPartitioner())), rng: rand.New(rand.NewPCG(5, 6)), at: time.Now().Add(-2 * time.Hour).Truncate(10 * time.Minute).UnixMicro()}
	if _, err := kadm.NewClient(s.cl).CreateTopic(t.Context(), scorePartitions, 1, nil, p.topic+".scores"); err != nil {
		t.Fatal(err)
	}
	s.base = createBaseline(p, s.cl, s.definition(), func() (row []values.Value) {
		for _, x := range s.values() {
			row = append(row, values.Float64Value(x))
		}
		return row
	})
	return s
}

func (s *inferences) definition() *config.Plane { return s.p.definition() }

// definition is the plane as it is loaded.
func (p *plane) definition() *config.Plane {
	p.t.Helper()
	plane, err := config.Load(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	return plane
}

func (s *inferences) values() [3]float64 {
	return [3]float64{100 + 10*s.rng.NormFloat64(), s.rng.ExpFloat64(), s.rng.Float64()}
}

func (s *inferences) send(d time.Duration, shift float64) {
	s.p.t.Helper()
	var recs []*kgo.Record
	for end := s.at + d.Microseconds(); s.at < end; s.at += second {
		v, id := s.values(), fmt.Sprint("i", len(s.sent)+len(recs))
		text := fmt.Sprintf(`{"id":"%s","at":%d,"p":%g,"features":{"spend_1d":%g,"total":%g}}`, id, s.at, v[2], v[0]+shift, v[1])
		recs = append(recs, &kgo.Record{
			Topic: s.p.topic + ".scores", Key: []byte(id), Value: []byte(text), Partition: ingest.Partition([]byte(id), scorePartitions), Timestamp: time.UnixMicro(s.at),
		})
	}
	s.sent = append(s.sent, recs...)
	if err := s.cl.ProduceSync(s.p.t.Context(), recs...).FirstErr(); err != nil {
		s.p.t.Fatal(err)
	}
}

// createBaseline records the baseline of the plane's model before any process has started.
func createBaseline(p *plane, cl *kgo.Client, plane *config.Plane, draw func() []values.Value) *baseline.Baseline {
	t := p.t
	t.Helper()
	model := plane.Models[0]
	d := baseline.Definition{Name: "scorer_1", Model: model.Name, Build: time.Now().UnixMicro()}
	for _, c := range model.Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	b, err := baseline.Make(d, func(fn func(row, fields []values.Value) error) error {
		for range 5000 {
			if err := fn(draw(), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(cl)
	if err := kafka.EnsureTopics(t.Context(), adm, config.Kafka{ReplicationFactor: 1, MinInsyncReplicas: 1}, topics.Specs(plane)); err != nil {
		t.Fatal(err)
	}
	recs, err := baseline.Records(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(plane, topics.Baselines), Key: r.Key, Value: r.Value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// windows returns the inferences of every window that was judged, by its end; each must have been judged once.
func (s *inferences) windows() (map[int64]uint64, error) {
	out := map[int64]uint64{}
	for _, rec := range s.p.records(s.p.t, s.p.prefix+topics.Scores) {
		sc, err := watch.DecodeScore(rec.Value)
		if err != nil {
			return nil, err
		}
		if sc.Column != "spend_1d" {
			continue
		}
		if _, twice := out[sc.Window.End]; twice {
			s.p.t.Fatalf("the window that ends at %s was judged twice", time.UnixMicro(sc.Window.End).UTC())
		}
		out[sc.Window.End] = sc.NCur
	}
	return out, nil
}

// checkRows waits until both stores have every score and every profile of a window once, in the place of its record.
func (s *inferences) checkRows(dir string) {
	t := s.p.t
	t.Helper()
	for table, topic := range map[string]string{offline.Scores: topics.Scores, offline.Profiles: topics.Windows} {
		records := s.p.records(t, s.p.prefix+topic)
		if len(records) == 0 {
			t.Errorf("the topic %s is empty", topic)
		}
		slices.SortFunc(records, func(a, b *kgo.Record) int {
			return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
		})
		once := func(rows []stored) error {
			if len(rows) != len(records) {
				return fmt.Errorf("%s has %d rows of %d records", table, len(rows), len(records))
			}
			for i, r := range rows {
				if r.partition != records[i].Partition || r.offset != records[i].Offset {
					return fmt.Errorf("row %d of %s is of %d/%d, want %d/%d", i, table, r.partition, r.offset, records[i].Partition, records[i].Offset)
				}
			}
			return nil
		}
		eventually(t, "rows of "+table, func() error {
			rows := s.p.inClickHouse(table)
			return errors.Join(inStore("ClickHouse", once(rows)), inStore("Parquet", sameRows(s.p.inParquet(dir, table), rows)))
		})
	}
}

// TestMonitorsOverKills kills a process with -9 while inferences are profiled, judged and told of, and another one, of the role
// monitor alone, that is beside it half of the time: every inference is counted once, the receiver hears of the one episode once, and both offline stores
// have each score and profile once.
func TestMonitorsOverKills(t *testing.T) {
	t.Parallel()
	broker := testenv.Kafka(t)
	r := newReceiver(t)
	p := newPlane(t, strings.ReplaceAll(monitoredPlane, "%[3]s", r.URL), broker, broker, testenv.Redis(t), scorePartitions)
	clickhouse, _ := testenv.ClickHouse(t)
	dir := t.TempDir()
	p.stores = parquetIn(dir) + clickHouseAt(clickhouse)
	s := monitored(t, p)
	first := s.at
	rng := rand.New(rand.NewPCG(8, 8))
	one := p.run("one")
	var two *instance
	for k := range 12 {
		shift := 0.0
		if k >= 4 && k < 8 {
			shift = 9
		}
		s.send(10*time.Minute, shift)
		switch k {
		case 3:
			two = p.run("two", "--roles", "monitor")
		case 7: // while it fires
			two.kill()
			two = p.run("two", "--roles", "monitor")
		case 9:
			two.stop()
		}
		if k%2 == 0 {
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			one.kill()
			one = p.run("one")
		}
	}
	last := s.at - 300*second
	eventually(t, "the last window", func() error {
		w, err := s.windows()
		if err == nil && w[last] == 0 {
			err = fmt.Errorf("%d windows are judged, and not the one that ends at %s", len(w), time.UnixMicro(last).UTC())
		}
		return err
	})
	w, err := s.windows()
	if err != nil {
		t.Fatal(err)
	}
	for end, n := range w {
		if want := uint64(600); n != want && !(end == first+300*second && n == 300) {
			t.Errorf("the window that ends at %s has %d inferences, want %d", time.UnixMicro(end).UTC(), n, want)
		}
	}
	if len(w) != int((last-first)/(300*second)) {
		t.Errorf("%d windows were judged", len(w))
	}
	want := []string{"firing orders spend_1d", "resolved orders spend_1d"}
	eventually(t, "messages", func() error {
		if got := r.told(); !slices.Equal(got, want) {
			return fmt.Errorf("the receiver was told %q", got)
		}
		return nil
	})
	s.checkRows(dir)
	one.stop()
	if len(r.bad) > 0 || !slices.Equal(r.told(), want) {
		t.Errorf("told %q; refused: %q", r.told(), r.bad)
	}
}
