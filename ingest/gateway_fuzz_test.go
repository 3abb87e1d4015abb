package ingest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

func FuzzGatewayBody(f *testing.F) {
	for _, form := range []string{"application/json", "application/x-ndjson", ""} {
		for _, body := range []string{event("AA"), "[" + event("AA") + "," + event("BB") + "]", event("AA") + "\n\n{}\r\n" + event("BB"), "[[],{}]", "{} {}", "[", "[{},"} {
			f.Add(form, []byte(body))
		}
	}
	g := setupGateway(f, Options{MaxRecords: 50, MaxBodyBytes: 10_000})
	src := *departures()
	src.MaxRecordBytes = 4000
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		g.producer.recs = nil
		r := httptest.NewRequest(http.MethodPost, departuresPath, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		res, got := g.do(r)
		if strings.HasPrefix(got.Error, "TEST:") {
			t.Fatal(got.Error)
		}
		judged := got.Accepted != nil
		switch res.StatusCode {
		case 200, 207, 422:
			if !judged || *got.Accepted != len(g.producer.recs) || len(*got.NotAcknowledged) != 0 ||
				(res.StatusCode == 422) != (got.Error != "") || (res.StatusCode == 200) != (len(*got.Refused) == 0) {
				t.Fatalf("status %d, %+v with %d produced", res.StatusCode, got, len(g.producer.recs))
			}
		case 400, 413, 415:
			if judged || got.Error == "" || len(g.producer.recs) != 0 {
				t.Fatalf("status %d, %+v with %d produced", res.StatusCode, got, len(g.producer.recs))
			}
		default:
			t.Fatalf("status %d", res.StatusCode)
		}
		// Whatever is produced a processor can use: the same reader takes it.
		again, err := NewReader(&src)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]feature.Value, len(src.Schema))
		for _, rec := range g.producer.recs {
			if _, _, err := again.Read(rec, row); err != nil {
				t.Fatalf("%q is produced and then refused: %v", rec.Value, err)
			}
			if !json.Valid(rec.Value) || !bytes.Contains(body, rec.Value) {
				t.Fatalf("%q is produced of %q", rec.Value, body)
			}
		}
		if held := g.gateway.memory.used.Load(); held != 0 {
			t.Fatalf("%d bytes stay reserved", held)
		}
	})
}
