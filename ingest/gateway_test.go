package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// memoryProducer keeps what is produced and answers by ack; a nil ack acknowledges at once.
type memoryProducer struct {
	ack func(i int, promise func(error))

	mu   sync.Mutex
	recs []*kgo.Record
}

func (p *memoryProducer) Produce(_ context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	p.mu.Lock()
	i := len(p.recs)
	p.recs = append(p.recs, rec)
	p.mu.Unlock()
	if p.ack == nil {
		promise(rec, nil)
		return
	}
	p.ack(i, func(err error) { promise(rec, err) })
}

func (p *memoryProducer) values() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	values := []string{}
	for _, r := range p.recs {
		values = append(values, string(r.Value))
	}
	return values
}

type gatewayBundle struct {
	gateway  *Gateway
	producer *memoryProducer
	reg      *prometheus.Registry
	log      *bytes.Buffer
}

func gatewayNow() time.Time { return recordTime.Add(123_456_789) }

func setupGateway(t testing.TB, opts Options) *gatewayBundle {
	t.Helper()
	b := &gatewayBundle{producer: &memoryProducer{}, reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	if opts.Now == nil {
		opts.Now = gatewayNow
	}
	src := departures()
	src.MaxRecordBytes = 4000
	other := departures()
	other.Name, other.Format = "arrivals", "json"
	var err error
	if b.gateway, err = NewGateway(testPlane(src, other), b.producer, opts, slog.New(slog.NewTextHandler(b.log, nil)), b.reg); err != nil {
		t.Fatal(err)
	}
	return b
}

// post sends a body; headers are pairs.
func (b *gatewayBundle) post(path, body string, headers ...string) (*http.Response, answerBody) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return b.do(r)
}

func (b *gatewayBundle) do(r *http.Request) (*http.Response, answerBody) {
	w := httptest.NewRecorder()
	b.gateway.ServeHTTP(w, r)
	return decodeAnswer(w.Result())
}

func decodeAnswer(res *http.Response) (*http.Response, answerBody) {
	var a answerBody
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil || res.Header.Get("Content-Type") != "application/json" {
		a.Error = fmt.Sprintf("TEST: answer is no JSON of this form: %v", err)
	}
	return res, a
}

func event(carrier string) string {
	return fmt.Sprintf(`{"carrier":%q,"departed_at":"2024-03-01T12:00:00Z"}`, carrier)
}

const departuresPath = GatewayPath + "departures"

func TestGatewayForms(t *testing.T) {
	a, b, c := event("AA"), event("BB"), event("CC")
	f := func(contentType, body string, want ...string) {
		t.Helper()
		g := setupGateway(t, Options{})
		var headers []string
		if contentType != "" {
			headers = []string{"Content-Type", contentType}
		}
		res, got := g.post(departuresPath, body, headers...)
		if res.StatusCode != 200 || got.Accepted == nil || *got.Accepted != len(want) || len(*got.Refused) != 0 || got.Error != "" {
			t.Errorf("%s %s: status %d, %+v", contentType, body, res.StatusCode, got)
		}
		if values := g.producer.values(); fmt.Sprint(values) != fmt.Sprint(want) {
			t.Errorf("%s %s: produced %q, want %q", contentType, body, values, want)
		}
		for i, rec := range g.producer.recs {
			// The record's timestamp is in whole milliseconds, as Kafka keeps it.
			if rec.Topic != "flights.departures" || string(rec.Key) != want[i][12:14] || !rec.Timestamp.Equal(recordTime.Add(123*time.Millisecond)) || len(rec.Headers) != 0 {
				t.Errorf("produced %+v", rec)
			}
		}
		if held := g.gateway.memory.used.Load(); held != 0 {
			t.Errorf("%d bytes stay reserved", held)
		}
	}
	f("application/json", a, a)
	f("application/json; charset=UTF-8", " "+a+"\r\n", a)
	f("application/json", "["+a+"]", a)
	f("application/json", " [ "+a+" ,\n"+b+","+c+" ] ", a, b, c)
	f("application/json", "[]")
	f("application/x-ndjson", a+"\n"+b+"\r\n\n  "+c, a, b, c)
	f("application/jsonl", a, a)
	f("", a, a)
	f("", "["+a+","+b+"]", a, b)
	f("", a+"\n"+b+"\n", a, b)
}

func TestGatewayRefusesRequests(t *testing.T) {
	g := setupGateway(t, Options{MaxBodyBytes: 5000, MaxRecords: 3})
	f := func(status int, want string, res *http.Response, got answerBody) {
		t.Helper()
		if res.StatusCode != status || !strings.Contains(got.Error, want) {
			t.Errorf("status %d, %q; want %d with %q", res.StatusCode, got.Error, status, want)
		}
		if got.Accepted != nil {
			t.Errorf("%q: a request that was not judged says accepted", want)
		}
	}
	post := func(status int, want, body string, headers ...string) {
		t.Helper()
		res, got := g.post(departuresPath, body, headers...)
		f(status, want, res, got)
	}
	res, got := g.post(GatewayPath+"departure", event("AA"))
	f(404, `there is no source "departure"; did you mean "departures"?`, res, got)
	if got.Sources == nil || fmt.Sprint(*got.Sources) != "[arrivals departures]" {
		t.Errorf("sources %v", got.Sources)
	}
	res, got = g.post(GatewayPath, event("AA"))
	f(404, `there is no source ""`, res, got)
	res, got = g.post(departuresPath+"/more", event("AA"))
	f(404, "there is no source", res, got)
	res, got = g.do(httptest.NewRequest(http.MethodGet, departuresPath, nil))
	f(405, "POST", res, got)
	if res.Header.Get("Allow") != "POST" {
		t.Error("405 without Allow")
	}
	const js, lines = "application/json", "application/x-ndjson"
	post(415, "add -H 'Content-Type: application/json'", event("AA"), "Content-Type", "application/x-www-form-urlencoded")
	post(415, "UTF-8", event("AA"), "Content-Type", "application/json; charset=latin1")
	post(415, "content type", event("AA"), "Content-Type", "nonsense; =")
	post(415, "content encoding", event("AA"), "Content-Encoding", "br")
	post(400, "empty", "")
	post(400, "empty", " \n\n ", "Content-Type", lines)
	post(400, "neither a JSON object nor an array", `"AA"`, "Content-Type", js)
	post(400, "byte order mark", "\xef\xbb\xbf{}", "Content-Type", js)
	post(400, "byte order mark", "\xef\xbb\xbf"+event("AA"), "Content-Type", lines)
	post(400, "malformed JSON", `{"carrier":`, "Content-Type", js)
	post(400, "sent as an array", event("AA")+"\n"+event("BB"), "Content-Type", js)
	post(400, "expected a value", "["+event("AA")+",]", "Content-Type", js)
	post(400, "expected a comma or ']'", "["+event("AA"), "Content-Type", js)
	post(400, "unexpected data", "["+event("AA")+"] x", "Content-Type", js)
	post(400, "the body is not gzip, as its header", event("AA"), "Content-Encoding", "gzip")
	post(400, "the body is not gzip", "{}", "Content-Encoding", "gzip")
	post(400, "the body is not gzip", "", "Content-Encoding", "gzip")
	post(400, "unexpected EOF", zip(event("AA"))[:20], "Content-Encoding", "gzip")
	post(413, "more than 3 records", "[{},{},{},{}]", "Content-Type", js)
	post(413, "more than 3 records", "{}\n{}\n{}\n{}", "Content-Type", lines)
	post(413, "larger than 5000 bytes", strings.Repeat(" ", 5001)+event("AA"))
	post(413, "larger than 5000 bytes", zip(strings.Repeat(" ", 1_000_000)+event("AA")), "Content-Encoding", "gzip")
	r := httptest.NewRequest(http.MethodPost, departuresPath, io.MultiReader(strings.NewReader(strings.Repeat(" ", 5001)), strings.NewReader(event("AA"))))
	r.ContentLength = -1
	res, got = g.do(r)
	f(413, "larger than 5000 bytes", res, got)
	if values := g.producer.values(); len(values) != 0 {
		t.Errorf("a refused request produced %q", values)
	}
	if held := g.gateway.memory.used.Load(); held != 0 {
		t.Errorf("%d bytes stay reserved", held)
	}
	if held := g.gateway.slots.used.Load(); held != 0 {
		t.Errorf("%d slots stay taken", held)
	}
}

func zip(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

func TestGatewayTakesGzip(t *testing.T) {
	g := setupGateway(t, Options{})
	var want []string
	for i := range 5000 {
		want = append(want, event(fmt.Sprintf("%02d", i%100)))
	}
	res, got := g.post(departuresPath, zip(strings.Join(want, "\n")), "Content-Encoding", "gzip", "Content-Type", "application/x-ndjson")
	if res.StatusCode != 200 || *got.Accepted != 5000 || strings.Join(g.producer.values(), "\n") != strings.Join(want, "\n") {
		t.Errorf("status %d, %+v", res.StatusCode, got.Error)
	}
}

func TestGatewayRefusesRecords(t *testing.T) {
	g := setupGateway(t, Options{})
	lines := []string{
		event("AA"),
		`{"carrier":`,
		`{"departed_at":"2024-03-01T12:00:00Z"}`,
		`{"carrier":"AA","flight":"x","departed_at":"2024-03-01T12:00:00Z"}`,
		`{"carrier":"AA","departed_at":"2024-03-01 12:00"}`,
		`{"carrier":"AA","departed_at":"2024-03-01T12:05:00.123001Z"}`, // the record says 12:00:00.123
		`{"carrier":"AA","departed_at":"2024-03-01T12:05:00.123Z","colour":"red"}`,
		`{"carrier":"` + strings.Repeat("A", 4000) + `","departed_at":"2024-03-01T12:00:00Z"}`,
		`{"carrier":"` + strings.Repeat("A", 3900) + `","departed_at":"2024-03-01T12:00:00Z"}`, // its key as well is too much
		`7`,
	}
	res, got := g.post(departuresPath, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson")
	if res.StatusCode != http.StatusMultiStatus || *got.Accepted != 2 || got.UnknownFields != 1 || got.Error != "" {
		t.Fatalf("status %d, %+v", res.StatusCode, got)
	}
	var refusals []string
	for _, r := range *got.Refused {
		refusals = append(refusals, fmt.Sprint(r.Index, " ", r.Class, " ", r.Field))
		if r.Reason == "" {
			t.Errorf("record %d is refused without a reason", r.Index)
		}
	}
	want := []string{
		"1 malformed ", "2 missing_field carrier", "3 wrong_type flight", "4 bad_time departed_at", "5 too_far_ahead departed_at",
		"7 too_large ", "8 too_large ", "9 malformed ",
	}
	if strings.Join(refusals, "\n") != strings.Join(want, "\n") {
		t.Errorf("refused\n%s\nwant\n%s", strings.Join(refusals, "\n"), strings.Join(want, "\n"))
	}
	if values := g.producer.values(); len(values) != 2 || values[0] != lines[0] || values[1] != lines[6] {
		t.Errorf("produced %q", values)
	}
	wantMetrics := `freshet_ingest_events_total{result="accepted",source="arrivals"} 0
freshet_ingest_events_total{result="accepted",source="departures"} 2
freshet_ingest_events_total{result="bad_time",source="departures"} 1
freshet_ingest_events_total{result="malformed",source="departures"} 2
freshet_ingest_events_total{result="missing_field",source="departures"} 1
freshet_ingest_events_total{result="too_far_ahead",source="departures"} 1
freshet_ingest_events_total{result="too_large",source="departures"} 2
freshet_ingest_events_total{result="wrong_type",source="departures"} 1
freshet_ingest_in_flight_bytes 0
freshet_ingest_request_seconds{code="207"} count 1
freshet_ingest_unknown_fields_total{source="arrivals"} 0
freshet_ingest_unknown_fields_total{source="departures"} 1
`
	if got := metrics(t, g.reg); got != wantMetrics {
		t.Errorf("metrics\n%s\nwant\n%s", got, wantMetrics)
	}
}

// metrics shows what reg gathers, a line each.
func metrics(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			b.WriteString(f.GetName())
			if labels != nil {
				b.WriteString("{" + strings.Join(labels, ",") + "}")
			}
			if m.GetHistogram() != nil {
				fmt.Fprintf(&b, " count %d\n", m.GetHistogram().GetSampleCount())
			} else {
				fmt.Fprintf(&b, " %.0f\n", m.GetCounter().GetValue()+m.GetGauge().GetValue())
			}
		}
	}
	return b.String()
}

func TestGatewayRefusesAll(t *testing.T) {
	g := setupGateway(t, Options{})
	res, got := g.post(departuresPath, "[{},[]]")
	if res.StatusCode != http.StatusUnprocessableEntity || *got.Accepted != 0 || len(*got.Refused) != 2 || got.Error == "" {
		t.Errorf("status %d, %+v", res.StatusCode, got)
	}
	if held := g.gateway.memory.used.Load(); held != 0 {
		t.Errorf("%d bytes stay reserved", held)
	}
}

func TestGatewayAsksWhetherAllowed(t *testing.T) {
	g := setupGateway(t, Options{Allow: func(r *http.Request, source string) (int, string) {
		if source == "departures" && r.Header.Get("Authorization") != "Bearer x" {
			return http.StatusForbidden, "this token may not write to departures"
		}
		return 0, ""
	}})
	if res, got := g.post(departuresPath, event("AA")); res.StatusCode != 403 || !strings.Contains(got.Error, "may not write") || len(g.producer.recs) != 0 {
		t.Errorf("status %d, %+v", res.StatusCode, got)
	}
	if res, _ := g.post(departuresPath, event("AA"), "Authorization", "Bearer x"); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
}

// Who may not write learns nothing of which sources there are.
func TestGatewayNamesSourcesOnlyToThoseItKnows(t *testing.T) {
	g := setupGateway(t, Options{Allow: func(*http.Request, string) (int, string) { return http.StatusUnauthorized, "a token is needed" }})
	if res, got := g.post(GatewayPath+"departure", event("AA")); res.StatusCode != 401 || got.Sources != nil || strings.Contains(got.Error, "departures") {
		t.Errorf("status %d, %+v", res.StatusCode, got)
	}
}

// The gateway waits for Kafka, answers 503 when it takes too long, and holds the memory until Kafka has answered.
func TestGatewayAnswersOnlyForWhatIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := setupGateway(t, Options{Timeout: 3 * time.Second})
		var late func(error)
		g.producer.ack = func(i int, promise func(error)) {
			switch i {
			case 0:
				time.AfterFunc(time.Second, func() { promise(nil) })
			case 1:
				late = promise
			case 2:
				promise(kerr.MessageTooLarge)
			case 3:
				promise(errors.New("broker is on fire"))
			}
		}
		start := time.Now()
		res, got := g.post(departuresPath, "["+strings.Join([]string{event("AA"), event("BB"), "{}", event("CC"), event("DD")}, ",")+"]")
		if took := time.Since(start); took != 3*time.Second+produceGrace {
			t.Errorf("answered after %s", took)
		}
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || *got.Accepted != 1 ||
			!strings.Contains(got.Error, "2 records") || !strings.Contains(got.Error, "counts twice") {
			t.Errorf("status %d, %+v", res.StatusCode, got)
		}
		want := []unackedRecord{{1, "kafka did not acknowledge within 3s"}, {4, "kafka: broker is on fire"}}
		if fmt.Sprint(*got.NotAcknowledged) != fmt.Sprint(want) {
			t.Errorf("not acknowledged %v, want %v", *got.NotAcknowledged, want)
		}
		if r := *got.Refused; len(r) != 2 || r[0].Index != 2 || r[0].Class != MissingField || r[1].Index != 3 || r[1].Class != TooLarge {
			t.Errorf("refused %v", r)
		}
		if g.gateway.memory.used.Load() == 0 {
			t.Error("the producer still holds a record, but its memory was given back")
		}
		late(nil)
		if held := g.gateway.memory.used.Load(); held != 0 {
			t.Errorf("%d bytes stay reserved", held)
		}
		g.post(departuresPath, event("EE")) // never answered
		if n := strings.Count(g.log.String(), "events not acknowledged by kafka"); n != 1 {
			t.Errorf("%d log lines for failures within ten seconds, want 1", n)
		}
	})
}

// While Kafka is away, requests are turned away instead of held, and taken again afterwards.
func TestGatewayPushesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := setupGateway(t, Options{MaxBodyBytes: 50_000, MaxRecords: 10, MaxInFlightBytes: 400_000, MaxRequests: 50, Timeout: time.Minute})
		var mu sync.Mutex
		var blocked []func(error)
		g.producer.ack = func(_ int, promise func(error)) {
			mu.Lock()
			defer mu.Unlock()
			blocked = append(blocked, promise)
		}
		body := event("AA") + strings.Repeat("\n", 40_000)
		var wg sync.WaitGroup
		statuses := map[int]int{}
		for range 100 {
			wg.Go(func() {
				res, got := g.post(departuresPath, body, "Content-Type", "application/x-ndjson")
				mu.Lock()
				defer mu.Unlock()
				statuses[res.StatusCode]++
				if res.StatusCode == 429 && (res.Header.Get("Retry-After") != "1" || !strings.Contains(got.Error, "send it again")) {
					t.Errorf("429 says %q, Retry-After %q", got.Error, res.Header.Get("Retry-After"))
				}
			})
		}
		synctest.Wait()
		held := g.gateway.memory.used.Load()
		if n := len(blocked); n < 5 || n > 9 || statuses[429] != 100-n || held > 400_000 || held < int64(n)*40_000 {
			t.Errorf("%d requests held, %d turned away, %d bytes reserved", n, statuses[429], held)
		}
		if got, want := metrics(t, g.reg), fmt.Sprintf("freshet_ingest_in_flight_bytes %d\n", held); !strings.Contains(got, want) {
			t.Errorf("metrics lack %s:\n%s", want, got)
		}
		for _, promise := range blocked {
			promise(nil)
		}
		wg.Wait()
		if statuses[200] != len(blocked) || g.gateway.memory.used.Load() != 0 {
			t.Errorf("statuses %v, %d bytes reserved at the end", statuses, g.gateway.memory.used.Load())
		}
		g.producer.ack = nil
		if res, _ := g.post(departuresPath, body, "Content-Type", "application/x-ndjson"); res.StatusCode != 200 {
			t.Errorf("status %d after Kafka came back", res.StatusCode)
		}
	})
}

func TestGatewayBoundsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := setupGateway(t, Options{MaxRequests: 1})
		var promise func(error)
		g.producer.ack = func(_ int, p func(error)) { promise = p }
		var wg sync.WaitGroup
		wg.Go(func() { g.post(departuresPath, event("AA")) })
		synctest.Wait()
		if res, got := g.post(departuresPath, event("BB")); res.StatusCode != 429 || !strings.Contains(got.Error, "too many requests") {
			t.Errorf("status %d, %+v", res.StatusCode, got)
		}
		promise(nil)
		wg.Wait()
		g.producer.ack = nil
		if res, _ := g.post(departuresPath, event("BB")); res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

// A client that hangs up does not cancel what is on its way to Kafka.
func TestGatewayProducesForAClientThatHangsUp(t *testing.T) {
	g := setupGateway(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	g.producer.ack = func(_ int, promise func(error)) {
		cancel()
		time.AfterFunc(10*time.Millisecond, func() { promise(nil) })
	}
	res, got := g.do(httptest.NewRequestWithContext(ctx, http.MethodPost, departuresPath, strings.NewReader(event("AA"))))
	if res.StatusCode != 200 || *got.Accepted != 1 {
		t.Errorf("status %d, %+v", res.StatusCode, got)
	}
}

func TestGatewayOptionsMustFit(t *testing.T) {
	for _, opts := range []Options{{MaxInFlightBytes: 1000}, {MaxRecords: -1}, {Timeout: -1}} {
		if _, err := NewGateway(testPlane(), &memoryProducer{}, opts, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
			t.Errorf("%+v is not refused", opts)
		}
	}
	bad := departures()
	bad.Format = "xml"
	if _, err := NewGateway(testPlane(bad), &memoryProducer{}, Options{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
		t.Error("a source that cannot be read is not refused")
	}
}
