package serving

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// benchPlane has views x features sums and counts of one hour, and entities with an event in each of 60 tiles.
func benchPlane(b *testing.B, views, features, entities int) (*config.Plane, *memStore) {
	user := &config.Entity{Name: "user", JoinKeys: []config.Field{{Name: "user_id", Type: feature.Int64}}}
	p, s := &config.Plane{Project: "bench", Entities: []*config.Entity{user}}, newStore()
	for v := range views {
		var columns []column
		for f := range features {
			agg := []string{"sum", "mean", "count", "max"}[f%4]
			c := column{name: fmt.Sprintf("f%02d_%d", f, v), agg: agg, typ: feature.Float64, window: time.Hour}
			if agg == "count" {
				c.typ = feature.Null
			}
			columns = append(columns, c)
		}
		p.Views = append(p.Views, newView(b, fmt.Sprintf("view%d", v), user, 24*time.Hour, columns...))
	}
	for v := range views {
		for id := range entities {
			var events []event
			for m := 59; m >= 0; m-- {
				in := make([]any, features)
				for i := range in {
					in[i] = float64(id) + float64(m)/7
				}
				events = append(events, event{at: ago(time.Duration(m) * time.Minute), in: in})
			}
			s.put(b, p, p.Views[v].Name, []any{id}, events...)
		}
	}
	return p, s
}

// benchBody asks for every feature of the first entities.
func benchBody(p *config.Plane, entities int) string {
	var refs, ids []string
	for _, v := range p.Views {
		for _, f := range v.Features {
			refs = append(refs, `"`+v.Name+":"+f.Name+`"`)
		}
	}
	for i := range entities {
		ids = append(ids, fmt.Sprint(i))
	}
	return fmt.Sprintf(`{"features": [%s], "entities": {"user_id": [%s]}, "full_feature_names": false}`,
		strings.Join(refs, ", "), strings.Join(ids, ", "))
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func BenchmarkHandler(b *testing.B) {
	for _, c := range []struct{ entities, views, features int }{{1, 5, 10}, {1, 1, 50}, {100, 1, 8}} {
		b.Run(fmt.Sprintf("%dx%d_%dviews", c.entities, c.views*c.features, c.views), func(b *testing.B) {
			p, s := benchPlane(b, c.views, c.features, c.entities)
			l, err := New(p, s, Options{Clock: func() time.Time { return now }})
			if err != nil {
				b.Fatal(err)
			}
			body := benchBody(p, c.entities)
			h := l.Handler()
			w := &discard{h: http.Header{}}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("POST", "/get-online-features", strings.NewReader(body)))
			if rec.Code != 200 || strings.Contains(rec.Body.String(), "NOT_FOUND") {
				b.Fatal(rec.Code, rec.Body)
			}
			b.ReportAllocs()
			b.SetBytes(int64(rec.Body.Len()))
			cpu := cpuTime(b)
			for b.Loop() {
				r := &http.Request{Method: "POST", URL: benchURL, Header: benchHeader, Body: readCloser{strings.NewReader(body)}, ContentLength: int64(len(body))}
				h.ServeHTTP(w, r)
			}
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/req")
		})
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

var (
	benchHeader = http.Header{}
	benchURL    = httptest.NewRequest("POST", "/get-online-features", nil).URL
)
