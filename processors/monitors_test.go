package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

const monitoredPlane = `
project: test
prefix: fr.
connections:
  kafka: {brokers: ["127.0.0.1:1"]}
  redis: {url: "redis://127.0.0.1:1"}
  parquet: {url: "file:///nowhere"} # for it the profiles of windows are written, and nobody reads them here
processing: {commit_interval: 50ms}
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - {name: orders, topic: orders, key: [user], schema: [{name: user, type: string, required: true}, {name: amount, type: float64}]}
feature_views:
  - {name: spend, entity: user, source: orders, features: [{name: spend_1d, aggregate: sum, of: amount, window: 1d}]}
feature_services:
  - {name: fraud, features: [spend], request: [{name: total, type: float64}]}
models:
  - name: scorer
    feature_service: fraud
    inferences: {topic: scores, id: id, event_time: {field: at, format: unix_us}, version: version, prediction: {field: p, type: probability}, slices: [region]}
baselines:
  - {name: scorer_1, model: scorer}
monitors:
  - {name: inputs, model: scorer, window: {size: 10m, every: 5m, grace: 0s}, skew: {baseline: scorer_1}, min_sample: 300, for: 2}
`

// scored is a world of inferences: an hour and more of event time, with one feature shifted in the middle.
type scored struct {
	t       *testing.T
	cluster *kfake.Cluster
	seeds   []string
	plane   *config.Plane
	client  *kgo.Client
	rng     *rand.Rand
	at      int64
	gap     int64 // between two inferences, microseconds
	n       int
}

func newScored(t *testing.T) *scored {
	t.Helper()
	return newScoredOf(t, monitoredPlane)
}

// newScoredOf is one of another plane.
func newScoredOf(t *testing.T, plane string) *scored {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, []byte(plane), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	p.Processing.InstanceID = "one"
	s := &scored{t: t, cluster: c, seeds: c.ListenAddrs(), plane: p, rng: rand.New(rand.NewPCG(3, 4)), at: time.Now().Add(-4 * time.Hour).Truncate(10 * time.Minute).UnixMicro(), gap: 1_000_000}
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// run starts monitors; stop ends them gracefully and may be called again.
func (s *scored) run(instance string, edit ...func(*MonitorOptions)) (m *Monitors, stop func()) {
	s.t.Helper()
	p := *s.plane
	p.Processing.InstanceID = instance
	o := MonitorOptions{
		Plane: &p, Client: []kgo.Opt{kgo.SeedBrokers(s.seeds...)}, Logger: slog.New(slog.NewTextHandler(testWriter{s.t}, nil)), Registerer: prometheus.NewRegistry(),
		CreateSources: true, SourcePartitions: 2,
	}
	for _, fn := range edit {
		fn(&o)
	}
	m, err := NewMonitors(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Errorf("run: %v", err)
			}
			done <- nil
		case <-time.After(30 * time.Second):
			s.t.Fatal("the monitors did not stop")
		}
	}
	s.t.Cleanup(stop)
	return m, stop
}

func (s *scored) values() []float64 {
	return []float64{100 + 10*s.rng.NormFloat64(), s.rng.ExpFloat64(), s.rng.Float64()}
}

func (s *scored) createBaseline() {
	s.t.Helper()
	d := baseline.Definition{Name: "scorer_1", Model: "scorer", Build: time.Now().UnixMicro(), Fields: []string{"region"}}
	for _, c := range s.plane.Models[0].Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	rng := s.rng
	b, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		s.rng = rand.New(rand.NewPCG(9, 9))
		for i := range 5000 {
			var row []feature.Value
			for _, x := range s.values() {
				row = append(row, feature.Float64Value(x))
			}
			if err := fn(row, []feature.Value{feature.StringValue([]string{"eu", "us"}[i%2])}); err != nil {
				return err
			}
		}
		return nil
	})
	s.rng = rng
	if err != nil {
		s.t.Fatal(err)
	}
	s.produceBaseline(b)
}

func (s *scored) produceBaseline(b *baseline.Baseline) {
	s.t.Helper()
	recs, err := baseline.Records(b)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range recs {
		if err := s.client.ProduceSync(s.t.Context(), &kgo.Record{Topic: topics.Name(s.plane, topics.Baselines), Key: r.Key, Value: r.Value}).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// produce sends the inferences of a time.
func (s *scored) produce(d time.Duration, shift float64) {
	s.t.Helper()
	var recs []*kgo.Record
	for end := s.at + d.Microseconds(); s.at < end; s.at += s.gap {
		s.n++
		v := s.values()
		id := fmt.Sprint("i", s.n)
		text := fmt.Sprintf(`{"id":"%s","at":%d,"version":"1","p":%g,"region":"%s","features":{"spend_1d":%g,"total":%g}}`, id, s.at, v[2], []string{"eu", "us"}[s.rng.IntN(2)], v[0]+shift, v[1])
		recs = append(recs, &kgo.Record{Topic: "scores", Key: []byte(id), Value: []byte(text), Partition: ingest.Partition([]byte(id), 2), Timestamp: time.UnixMicro(s.at)})
	}
	if err := s.client.ProduceSync(s.t.Context(), recs...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the committed records of one of the monitors' topics.
func (s *scored) read(topic string, partitions int32) []*kgo.Record {
	s.t.Helper()
	var out []*kgo.Record
	for p := range partitions {
		err := readTopic(s.t.Context(), []kgo.Opt{kgo.SeedBrokers(s.seeds...)}, topics.Name(s.plane, topic), p, func(rec *kgo.Record) error { out = append(out, rec); return nil })
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

// windows returns how many rows each judged window of all rows had, by its end; each must have been judged once.
func (s *scored) windows() map[int64]uint64 {
	s.t.Helper()
	out := map[int64]uint64{}
	for _, rec := range s.read(topics.Scores, topics.Partitions) {
		sc, err := watch.DecodeScore(rec.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if sc.Slice != "" || sc.Column != "spend_1d" {
			continue
		}
		if _, twice := out[sc.Window.End]; twice {
			s.t.Errorf("the window that ends at %s was judged twice", time.UnixMicro(sc.Window.End).UTC())
		}
		out[sc.Window.End] = sc.NCur
	}
	return out
}

func (s *scored) delivered() []string {
	var out []string
	for _, rec := range s.read(topics.Alerts, 1) {
		m, err := alert.ParseEvent(rec.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if m.Type.Delivered() {
			out = append(out, m.Status+" "+m.Group+" "+m.Features[0].Column)
		}
	}
	return out
}

// checkProfiles holds the profiles of windows to those that were judged, one of each that does not overlap another.
func (s *scored) checkProfiles() {
	s.t.Helper()
	want := s.windows()
	maps.DeleteFunc(want, func(end int64, _ uint64) bool { return end%600_000_000 != 0 })
	got := map[int64]uint64{}
	for _, rec := range s.read(topics.Windows, topics.Partitions) {
		var p watch.WindowProfile
		if err := json.Unmarshal(rec.Value, &p); err != nil {
			s.t.Fatal(err)
		}
		if p.Column == "spend_1d" && p.Slice == "" {
			if _, twice := got[p.End]; twice {
				s.t.Errorf("the window that ends at %s has two profiles", time.UnixMicro(p.End).UTC())
			}
			got[p.End] = p.Rows
		}
	}
	if len(want) == 0 || !maps.Equal(got, want) {
		s.t.Errorf("profiles of windows %v, judged %v", got, want)
	}
}

// settled waits until the window before the last inference has been judged.
func (s *scored) settled() {
	s.t.Helper()
	last := (s.at - 1_000_001) / 300_000_000 * 300_000_000
	eventually(s.t, "windows", func() error {
		if w := s.windows(); w[last] == 0 {
			return fmt.Errorf("the window that ends at %s is not judged; %d are", time.UnixMicro(last).UTC(), len(w))
		}
		return nil
	})
}

// check holds every window to its exact number of inferences, and the messages to one of each.
func (s *scored) check(first int64) {
	s.t.Helper()
	for end, n := range s.windows() {
		want := uint64(600)
		if end == first+300_000_000 {
			want = 300 // there was nothing before
		}
		if n != want {
			s.t.Errorf("the window that ends at %s has %d inferences, want %d", time.UnixMicro(end).UTC(), n, want)
		}
	}
	s.checkProfiles()
	if got, want := s.delivered(), []string{"firing orders spend_1d", "resolved orders spend_1d"}; !slices.Equal(got, want) {
		s.t.Errorf("messages %q, want %q", got, want)
	}
}

// Every inference is counted once and every episode told once, over restarts in the middle of everything.
func TestMonitorsCountOnceAndTellOnce(t *testing.T) {
	t.Parallel()
	s := newScored(t)
	first := s.at
	reg := prometheus.NewRegistry()
	m, stop := s.run("one")
	s.createBaseline()
	eventually(t, "ready", m.Ready)
	eventually(t, "the baseline", func() error {
		if all, _ := m.follower.all(); len(all) == 0 {
			return errors.New("it is not known yet")
		}
		return nil
	})
	for k := range 9 {
		shift := 0.0
		if k >= 3 && k < 6 {
			shift = 9
		}
		s.produce(10*time.Minute, shift)
		if k%3 == 1 {
			stop()
			reg = prometheus.NewRegistry()
			_, stop = s.run("one", func(o *MonitorOptions) { o.Registerer = reg })
		}
	}
	s.settled()
	s.checkGauges(reg)
	stop()
	s.check(first)
}

// checkGauges holds the gauges to the scores of the last window: one for each column, whatever slices there are.
func (s *scored) checkGauges(reg *prometheus.Registry) {
	s.t.Helper()
	last := map[string]watch.Score{}
	for _, rec := range s.read(topics.Scores, topics.Partitions) {
		sc, err := watch.DecodeScore(rec.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if sc.Slice == "" && sc.Window.End >= last[sc.Column].Window.End {
			last[sc.Column] = sc
		}
	}
	want := map[string]float64{}
	for _, sc := range last {
		labels := fmt.Sprintf("check=%s column=%s kind=%s monitor=%s", sc.Check, sc.Column, sc.Kind, sc.Monitor)
		for name, x := range map[string]float64{"effect": float64(sc.Effect), "threshold": sc.Threshold, "p": float64(sc.PAdjusted), "rows": float64(sc.NCur), "effective_rows": float64(sc.NEffCur)} {
			want["freshet_monitor_"+name+" "+labels] = x
		}
	}
	eventually(s.t, "gauges", func() error {
		families, err := reg.Gather()
		if err != nil {
			return err
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				var labels []string
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
				if name := f.GetName() + " " + strings.Join(labels, " "); strings.Contains(name, "column=") {
					got[name] = m.GetGauge().GetValue()
				}
			}
		}
		if len(want) != 5*len(s.plane.Models[0].Columns) || !maps.Equal(got, want) {
			return fmt.Errorf("they are %v, want %v", got, want)
		}
		return nil
	})
}

// The same with two instances, of which one goes, and ends of transactions that fail or whose outcome is not known.
func TestMonitorsSurviveFaults(t *testing.T) {
	t.Parallel()
	s := newScored(t)
	first := s.at
	one, _ := s.run("one")
	s.createBaseline()
	eventually(t, "ready", one.Ready)
	eventually(t, "the baseline", func() error { return one.follower.sync(t.Context()) })
	_, stopTwo := s.run("two")
	for k := range 9 {
		shift := 0.0
		if k >= 3 && k < 6 {
			shift = 9
		}
		if k%4 == 2 { // not when the second one goes: its transaction would stay open until the broker's timeout
			s.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("connection lost"), true
			})
		}
		s.produce(10*time.Minute, shift)
		if k == 4 {
			stopTwo()
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.settled()
	s.check(first)
}

func TestMonitorsDeadLetterWhatTheyCannotRead(t *testing.T) {
	t.Parallel()
	s := newScored(t)
	m, _ := s.run("one")
	eventually(t, "ready", m.Ready)
	if err := s.client.ProduceSync(t.Context(), &kgo.Record{Topic: "scores", Value: []byte(`{"p": 0.5}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead letter", func() error {
		var found []string
		err := readTopic(t.Context(), []kgo.Opt{kgo.SeedBrokers(s.seeds...)}, ingest.DeadLetterTopic(s.plane, "scorer"), 0, func(rec *kgo.Record) error {
			l, err := ingest.ParseLetter(rec)
			found = append(found, l.Source+" "+string(l.Class)+" "+l.Reason)
			return err
		})
		if err == nil && (len(found) != 1 || !strings.HasPrefix(found[0], "scorer missing_field")) {
			err = fmt.Errorf("dead letters %q", found)
		}
		return err
	})
}

func TestMonitorsWithoutTheirTopicSaySo(t *testing.T) {
	t.Parallel()
	s := newScored(t)
	_, err := NewMonitors(t.Context(), MonitorOptions{
		Plane: s.plane, Client: []kgo.Opt{kgo.SeedBrokers(s.seeds...)}, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err == nil || !strings.Contains(err.Error(), `topic "scores"`) || !strings.Contains(err.Error(), "--create-sources") {
		t.Errorf("%v", err)
	}
}
