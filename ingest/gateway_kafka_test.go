package ingest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// serveGateway runs a gateway on a real listener before a broker.
func serveGateway(t *testing.T, c *kfake.Cluster, opts Options, src *config.Source) *httptest.Server {
	t.Helper()
	plane := testPlane(src)
	cl := newClient(t, c, ProducerOptions(plane)...)
	g, err := NewGateway(plane, cl, opts, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(GatewayPath, g)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func postTo(t *testing.T, s *httptest.Server, body string) (*http.Response, answerBody) {
	t.Helper()
	res, err := s.Client().Post(s.URL+departuresPath, "application/x-ndjson", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return decodeAnswer(res)
}

func TestGatewayWritesToKafka(t *testing.T) {
	src := departures()
	c := startKafka(t, src.Topic)
	s := serveGateway(t, c, Options{}, src)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	var lines []string
	for _, carrier := range []string{"AA", "BB", "CC", "DD", "AA", "EE", "FF", "AA"} {
		lines = append(lines, `{"carrier":"`+carrier+`","departed_at":"`+now+`"}`)
	}
	res, got := postTo(t, s, strings.Join(lines, "\n"))
	if res.StatusCode != 200 || *got.Accepted != len(lines) {
		t.Fatalf("status %d, %+v", res.StatusCode, got)
	}
	reader, err := NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	recs := consume(t, c, src.Topic, len(lines))
	var values []string
	for _, rec := range recs {
		values = append(values, string(rec.Value))
		if want := Partition(rec.Key, 3); rec.Partition != want || string(rec.Key) != string(rec.Value[12:14]) {
			t.Errorf("%s with key %s lies in partition %d, want %d", rec.Value, rec.Key, rec.Partition, want)
		}
		if _, _, err := reader.Read(rec, makeRow(src)); err != nil {
			t.Errorf("%s is accepted and then refused: %v", rec.Value, err)
		}
	}
	slices.Sort(values)
	slices.Sort(lines)
	if !slices.Equal(values, lines) {
		t.Errorf("topic holds %q", values)
	}
}

// Kafka appends the record but answers with an error: the client retries idempotently, and the topic holds it once.
func TestGatewayDoesNotDuplicateOnRetry(t *testing.T) {
	src := departures()
	c := startKafka(t, src.Topic)
	s := serveGateway(t, c, Options{}, src)
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend})
	now := time.Now().UTC().Format(time.RFC3339Nano)
	if res, got := postTo(t, s, `{"carrier":"AA","departed_at":"`+now+`"}`); res.StatusCode != 200 || *got.Accepted != 1 {
		t.Fatalf("status %d, %+v", res.StatusCode, got)
	}
	if fault.Hits() == 0 {
		t.Error("no request failed")
	}
	consume(t, c, src.Topic, 1)
	end := int64(0)
	for _, p := range c.PartitionInfos(src.Topic) {
		end += p.HighWatermark
	}
	if end != 1 {
		t.Errorf("the topic holds %d records, want 1", end)
	}
}

func TestGatewayWhenKafkaDoesNotAnswer(t *testing.T) {
	src := departures()
	src.EventID = 0
	c := startKafka(t, src.Topic)
	s := serveGateway(t, c, Options{Timeout: 300 * time.Millisecond}, src)
	release := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	now := time.Now().UTC().Format(time.RFC3339Nano)
	body := `{"carrier":"AA","departed_at":"` + now + `"}`
	res, got := postTo(t, s, body)
	close(release)
	if res.StatusCode != 503 || *got.Accepted != 0 || len(*got.NotAcknowledged) != 1 || !strings.Contains((*got.NotAcknowledged)[0].Reason, "within 300ms") ||
		strings.Contains(got.Error, "twice") {
		t.Fatalf("status %d, %+v", res.StatusCode, got)
	}
	// The same gateway serves again once Kafka does.
	for range 50 {
		if res, _ := postTo(t, s, body); res.StatusCode == 200 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the gateway does not recover")
}

func TestGatewayWhenTheTopicRefusesTheSize(t *testing.T) {
	src := departures()
	src.MaxRecordBytes = 2 << 20
	c := startKafka(t)
	limit := "2000"
	if err := c.CreateTopic(src.Topic, 1, map[string]string{"max.message.bytes": limit}); err != nil {
		t.Fatal(err)
	}
	plane := testPlane(src)
	cl := newClient(t, c, append(ProducerOptions(plane), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	rec := &kgo.Record{Topic: src.Topic, Value: []byte(strings.Repeat("x", 1_500_000))}
	if err := cl.ProduceSync(testContext(t), rec).FirstErr(); err == nil || strings.Contains(err.Error(), "context") {
		t.Fatalf("the broker takes a record beyond max.message.bytes: %v", err)
	}
	g, err := NewGateway(plane, cl, Options{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	body := `{"carrier":"AA","pad":"` + strings.Repeat("x", 1_500_000) + `","departed_at":"` + time.Now().UTC().Format(time.RFC3339Nano) + `"}`
	g.ServeHTTP(w, httptest.NewRequest(http.MethodPost, departuresPath, strings.NewReader(body)))
	res, got := decodeAnswer(w.Result())
	if res.StatusCode != 422 || len(*got.Refused) != 1 || (*got.Refused)[0].Class != TooLarge {
		t.Errorf("status %d, %+v", res.StatusCode, got)
	}
}

// A source of large records must not make batches that the topics of the others refuse whole.
func TestGatewayBatchesFitTheirTopic(t *testing.T) {
	src, other := departures(), departures()
	other.Name, other.Topic, other.MaxRecordBytes = "documents", "flights.documents", 8<<20
	c := startKafka(t)
	if err := c.CreateTopic(src.Topic, 1, map[string]string{"max.message.bytes": "1048588"}); err != nil { // Kafka's default
		t.Fatal(err)
	}
	plane := testPlane(src, other)
	cl := newClient(t, c, append(ProducerOptions(plane), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	g, err := NewGateway(plane, cl, Options{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	const n = 700
	line := `{"carrier":"AA","pad":"` + strings.Repeat("x", 10_000) + `","departed_at":"` + time.Now().UTC().Format(time.RFC3339Nano) + `"}` + "\n"
	r := httptest.NewRequest(http.MethodPost, departuresPath, strings.NewReader(strings.Repeat(line, n)))
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if res, got := decodeAnswer(w.Result()); res.StatusCode != 200 || *got.Accepted != n {
		t.Errorf("status %d, %d refused, %d not acknowledged, %s", res.StatusCode, len(*got.Refused), len(*got.NotAcknowledged), got.Error)
	}
}

// A body that does not arrive in time is answered, whether its length was stated or not, and the connection's deadline
// does not outlive the body.
func TestGatewayWhenTheBodyStalls(t *testing.T) {
	src := departures()
	c := startKafka(t, src.Topic)
	s := serveGateway(t, c, Options{Timeout: 200 * time.Millisecond}, src)
	for _, length := range []int64{-1, 100, 100_000} {
		stalled := make(chan struct{})
		req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, s.URL+departuresPath, stallingReader{stalled})
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		res, err := s.Client().Do(req)
		close(stalled)
		if err != nil {
			t.Fatal(err)
		}
		if res, got := decodeAnswer(res); res.StatusCode != 408 || !strings.Contains(got.Error, "within 200ms") {
			t.Errorf("length %d: status %d, %+v", length, res.StatusCode, got)
		}
	}
}

type stallingReader struct{ until chan struct{} }

func (r stallingReader) Read([]byte) (int, error) {
	<-r.until
	return 0, http.ErrBodyReadAfterClose
}

func makeRow(src *config.Source) []feature.Value { return make([]feature.Value, len(src.Schema)) }
