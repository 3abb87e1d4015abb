package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// TestFlights reads one thing of every section of a full plane.
func TestFlights(t *testing.T) {
	p, err := parseTestFile(t, "testdata/good/flights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k := p.Connections.Kafka
	if got := fmt.Sprint(k.Brokers); got != "[k1:9092 k2:9092 k3:9092]" {
		t.Errorf("brokers %s", got)
	}
	if k.SASL.Password != "kafka-secret" || k.TLS.CA != "testdata/good/ca.pem" || k.MinInsyncReplicas != 2 {
		t.Errorf("kafka %+v", k)
	}
	if s := fmt.Sprintf("%v %+v %#v", k.SASL.Password, *k.SASL, k.SASL); strings.Contains(s, "kafka-secret") {
		t.Errorf("a secret prints: %s", s)
	}
	if r := p.Connections.Redis; r.URL != "rediss-cluster://:redis-secret@redis.internal:6379" || r.TLS.Cert == "" {
		t.Errorf("redis %+v", r)
	}
	if p.Prefix != "ny.flights." || p.Listen.GRPC != ":7567" || p.Processing.StateCacheBytes != 1<<30 || p.Processing.MaxPendingWrites != 100_000 {
		t.Errorf("plane %+v", p)
	}
	src := p.Sources[0]
	if src.EventTime.Zone.String() != "America/New_York" || src.EventTime.Format != RFC3339 || src.Schema[src.EventID].Name != "flight_id" ||
		src.EventIDHorizon != 2*time.Hour || src.AllowedSkew != 10*time.Minute || src.StartAt != "latest" || src.MaxRecordBytes != 64<<10 || !src.Partitioned {
		t.Errorf("source %+v", src)
	}
	carrier, route := p.Views[0], p.Views[1]
	if !carrier.Direct || route.Direct || carrier.TTL != 14*24*time.Hour || route.History != "none" {
		t.Errorf("views %+v %+v", carrier, route)
	}
	if f := carrier.Features[3]; f.Type != feature.Float64 || f.Spec.Q != 0.9 || carrier.Layout.FeatureType(3) != f.Type {
		t.Errorf("p90 %+v", f)
	}
	svc := p.Services[0]
	if len(svc.Features) != len(carrier.Features)+1 || svc.Features[9].View != route || svc.Features[9].Index != 0 {
		t.Errorf("service %+v", svc)
	}
	row := make([]feature.Value, len(svc.Features)+1)
	row[1], row[10] = feature.Float64Value(12), feature.Float64Value(99)
	var scratch feature.Value
	if v, ok := svc.Derived[0].Program.Eval(row, &scratch); !ok || v.Float64() != 0.12 {
		t.Errorf("derived feature = %v", v)
	}
	flightsMonitoring(t, p)
	var warnings []string
	for _, w := range p.Warnings {
		warnings = append(warnings, strings.TrimPrefix(w.String(), "testdata/good/"))
	}
	golden(t, "testdata/good/flights.warnings.txt", strings.Join(warnings, "\n")+"\n")
	if costs := Check(p); len(costs) != 2 || costs[0].EntityBytes <= costs[0].LookupBytes/2 || costs[0].MaxEntityBytes != 128<<10 {
		t.Errorf("costs %+v", costs)
	}
}

func TestDefaults(t *testing.T) {
	p, err := parseTestFile(t, "testdata/good/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p.Listen != listenDefaults || p.Prefix != "freshet.tiny." || p.Connections != (Connections{}) || len(p.Warnings) != 0 {
		t.Errorf("plane %+v", p)
	}
	pr := p.Processing
	if pr.CommitInterval != time.Second || pr.RouteInterval != 20*time.Millisecond || pr.PublishInterval != 10*time.Millisecond ||
		pr.StateCacheBytes != 512<<20 || pr.MaxPendingWrites != 200_000 || !strings.HasSuffix(pr.StateDir, "freshet/tiny") {
		t.Errorf("processing %+v", pr)
	}
	s := p.Sources[0]
	if s.Format != "json" || s.EventTime.Field != -1 || s.EventID != -1 || s.StartAt != "earliest" || s.AllowedSkew != 5*time.Minute ||
		s.MaxRecordBytes != 1<<20 || s.Tombstones || !s.Partitioned {
		t.Errorf("source %+v", s)
	}
	if v := p.Views[0]; v.History != "events" || v.MaxEntityBytes != 64<<10 || v.TTL != 0 || !v.Direct {
		t.Errorf("view %+v", v)
	}
}

// TestLoadMergesFilesAndFolders: definitions in a folder, connections in a file of their own.
func TestLoadMergesFilesAndFolders(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("plane/a.yaml", "project: shop\nentities:\n  - {name: user, join_keys: [{name: user_id, type: string}]}\n")
	write("plane/b.yml", "sources:\n  - {name: clicks, topic: clicks, key: [user_id], schema: [{name: user_id, type: string}]}\n"+
		"feature_views:\n  - {name: activity, entity: user, source: clicks, features: [{name: n, aggregate: count}]}\n")
	write("plane/.hidden.yaml", "nonsense")
	write("plane/notes.txt", "nonsense")
	t.Setenv("SHOP_KAFKA", "broker:9092")
	write("password", "hunter2\n")
	connections := write("prod.yaml", "connections:\n  kafka:\n    brokers: ['${SHOP_KAFKA}']\n    sasl: {mechanism: PLAIN, username: u, password: 'file:password'}\n")
	p, err := Load(filepath.Join(dir, "plane"), connections)
	if err != nil {
		t.Fatal(err)
	}
	if p.Project != "shop" || len(p.Views) != 1 || p.Connections.Kafka.Brokers[0] != "broker:9092" || p.Connections.Kafka.SASL.Password != "hunter2" {
		t.Errorf("plane %+v", p)
	}

	second := write("second.yaml", "project: other\nentities:\n  - {name: user, join_keys: [{name: user_id, type: string}]}\n")
	_, err = Load(filepath.Join(dir, "plane"), second)
	if err == nil || !strings.Contains(err.Error(), second+":1:10: project is given twice; first in ") ||
		!strings.Contains(err.Error(), second+`:3:12: entity "user" is defined twice; first in `) {
		t.Errorf("got %v", err)
	}

	for _, missing := range []string{filepath.Join(dir, "nowhere"), t.TempDir()} {
		if _, err := Load(missing); err == nil {
			t.Errorf("Load(%s) accepted", missing)
		}
	}
}

func TestWarnings(t *testing.T) {
	const plane = `project: shop
entities:
  - {name: user, join_keys: [{name: user_id, type: string}]}
  - {name: page, join_keys: [{name: page, type: string}]}
sources:
  - name: clicks
    topic: clicks
    key: [user_id]
    tombstones: delete
    schema: [{name: user_id, type: string}, {name: page, type: string}]
feature_views:
  - {name: activity, entity: user, source: clicks, ttl: 1h, features: [{name: n, aggregate: count, window: 1d}]}
  - {name: popularity, entity: page, source: clicks, features: [{name: m, aggregate: count, window: 1d}]}
`
	p := parseText(t, plane)
	want := []string{
		"testdata/good/plane.yaml:12:57: warning: ttl 1h is shorter than the window 1d of feature n: its values read as null before the window ends",
		"testdata/good/plane.yaml:13:46: warning: tombstones of source clicks delete nothing from feature view popularity: its join key \"page\" is not in the source's key",
	}
	if len(p.Warnings) != 2 || p.Warnings[0].String() != want[0] || p.Warnings[1].String() != want[1] {
		t.Errorf("got %v", p.Warnings)
	}
}

// TestFilesAsWindowsWritesThem: a byte order mark and carriage returns are no part of the definition.
func TestFilesAsWindowsWritesThem(t *testing.T) {
	data, err := os.ReadFile("testdata/good/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := "\ufeff" + strings.ReplaceAll(string(data), "\n", "\r\n")
	if _, err := Parse([]File{{Name: "x.yaml", Data: []byte(text)}}, environment); err != nil {
		t.Error(err)
	}
}

// TestMistakesStayShort: what is no definition at all is not printed whole.
func TestMistakesStayShort(t *testing.T) {
	_, err := Parse([]File{{Name: "x.yaml", Data: []byte(strings.Repeat("é", 10_000))}}, environment)
	if err == nil || !strings.Contains(err.Error(), "the definition must be a mapping, not ") || !strings.Contains(err.Error(), " and 19900 bytes more") || len(err.Error()) > 500 {
		t.Errorf("got %v", err)
	}
}

// TestHostileFilesEndSoon: aliases that multiply, deep nesting and sheer size are refused in bounded time and memory.
func TestHostileFilesEndSoon(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("project: x\nsources:\n  - &a0 {name: a, topic: a, schema: [{name: f, type: int64}]}\n")
	bomb.WriteString("x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "x%d: &x%d [*x%d, *x%d, *x%d, *x%d, *x%d, *x%d, *x%d, *x%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	bomb.WriteString("feature_services: [{name: s, features: *x11}]\n")
	views := "  - &v {name: v, entity: e, source: s, features: [" + strings.Repeat("{name: f, aggregate: count}, ", 1000) + "]}\n"
	tests := map[string]string{
		"alias bomb":         bomb.String(),
		"many aliases":       "project: x\nfeature_views:\n" + views + strings.Repeat("  - *v\n", 10_000),
		"alias of itself":    "project: &p *p\n",
		"alias in itself":    "sources: &s\n  - {name: a, schema: *s}\n",
		"merge of itself":    "sources:\n  - &s {<<: *s, name: a}\n",
		"deep brackets":      strings.Repeat("[", 200_000),
		"deep braces":        strings.Repeat("{a: ", 200_000),
		"deep dashes":        strings.Repeat("- ", 200_000),
		"deep indentation":   deepIndentation(),
		"many mistakes":      "project: x\n" + strings.Repeat("nonsense: 1\n", 5000),
		"larger than a file": strings.Repeat("# x\n", 1<<19),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse([]File{{Name: "x.yaml", Data: []byte(text)}}, environment)
			if err == nil {
				t.Error("accepted")
			} else if n := len(strings.Split(err.Error(), "\n")); n > maxIssues+1 {
				t.Errorf("%d issues", n)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func deepIndentation() string {
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "14d": 14 * 24 * time.Hour, "2w": 14 * 24 * time.Hour,
		"1w2d3h": (9*24 + 3) * time.Hour, "0s": 0, "1.5h": 90 * time.Minute, "10ms": 10 * time.Millisecond,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1", "-1h", "+1h", "1.5d", "d", "1x", "h1", "1d-1h", "100000w100000w", "99999999999d", "1 d"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, got)
		}
	}
	for _, d := range []time.Duration{0, time.Millisecond, 90 * time.Second, time.Hour, 25 * time.Hour, 24 * time.Hour, 14 * 24 * time.Hour, 400 * 24 * time.Hour} {
		if got, err := ParseDuration(formatDuration(d)); err != nil || got != d {
			t.Errorf("%v is written %s and read %v, %v", d, formatDuration(d), got, err)
		}
	}
}

// FuzzParse: any bytes give a plane or issues with places, and no panic.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, path := range testFiles(f, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse([]File{{Name: "x.yaml", Data: data}}, environment)
		if err == nil {
			for _, v := range p.Views {
				if v.Layout == nil || v.Describe() == "" || len(v.KeyFields) != len(v.Entity.JoinKeys) {
					t.Fatalf("view %+v is not whole", v)
				}
			}
			return
		}
		for _, i := range err.(Issues) {
			if i.File != "x.yaml" && i.File != "" || i.Message == "" || strings.Contains(i.Message, "-secret") {
				t.Fatalf("issue %+v", i)
			}
		}
	})
}

func flightsMonitoring(t *testing.T, p *Plane) {
	t.Helper()
	m := p.Models[0]
	var names []string
	for _, c := range m.Columns {
		names = append(names, c.Name+" "+m.Inferences.Schema[c.Field].Name+" "+c.Type.String())
	}
	if first, last := names[0], names[len(names)-1]; first != "departures_1h departures_1h int64" || last != "prediction prediction float64" {
		t.Errorf("columns %v", names)
	}
	if in := m.Inferences; in.Nested != "features" || in.NestedFrom != 5 || in.Schema[in.EventTime.Field].Name != "at" || in.Schema[m.Slices[0]].Name != "carrier" || in.Key[0] != m.ID {
		t.Errorf("inferences %+v", in)
	}
	mon := p.Monitors[0]
	if mon.Size != 6*time.Hour || mon.Every != 30*time.Minute || mon.Against != 7*24*time.Hour || !mon.Skew || mon.Bins.Name != "arrival_delay_training" || mon.FalseAlarms != 1 {
		t.Errorf("monitor %+v", mon)
	}
	if q := mon.Quality; len(q) != 2 || q[0] != (QualityCheck{"null_share", 0.1}) || q[1].Name != "unseen" {
		t.Errorf("quality %+v", q)
	}
	if f := mon.Freshness[0]; *mon.Volume != (Volume{0.6, 3}) || f.Source.Schema[f.By].Name != "origin" || f.MaxAge != 6*time.Hour || !f.Stream {
		t.Errorf("volume %+v, freshness %+v", mon.Volume, f)
	}
	if own := mon.Columns[1]; own.Method != "psi" || own.Threshold != 0.2 || mon.Columns[0].Method != "jensen_shannon" || mon.Channels[0].Kind != "webhook" {
		t.Errorf("columns %+v", mon.Columns)
	}
}

// TestChecksHaveDefaults: {} asks for every check of its kind.
func TestChecksHaveDefaults(t *testing.T) {
	p, err := parseTestFile(t, "testdata/good/checks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := p.Monitors[0]
	if len(m.Quality) != len(qualityTable) || m.Quality[0] != (QualityCheck{"null_share", 0.05}) {
		t.Errorf("quality %+v", m.Quality)
	}
	if *m.Volume != (Volume{0.5, 4}) || m.Freshness[0].By != -1 || m.Freshness[0].Stream || m.Bins == nil {
		t.Errorf("%+v, volume %+v", m, m.Volume)
	}
	if only := p.Monitors[1]; only.Bins != nil || len(only.Quality) > 0 || only.Volume != nil {
		t.Errorf("a monitor of freshness alone needs no baseline: %+v", only)
	}
}
