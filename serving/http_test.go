package serving

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// post sends a lookup as the oldest Feast SDKs do: with no Content-Type.
func post(t testing.TB, l *Lookups, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	l.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/get-online-features", strings.NewReader(body)))
	if !json.Valid(w.Body.Bytes()) {
		t.Fatalf("status %d, body is not JSON: %s", w.Code, w.Body)
	}
	return w
}

const epoch = `"1970-01-01T00:00:00Z"`

func TestHandlerAnswersColumns(t *testing.T) {
	l, _, _ := setup(t, Options{})
	f := func(name, body, want string) {
		t.Helper()
		w := post(t, l, body)
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
			return
		}
		if got := w.Body.String(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type %q", name, ct)
		}
	}
	f("window, lifetime and row features; found, too old, unknown",
		`{"features":["carrier_delays:mean_delay_1h","carrier_delays:departures_ever","carrier_delays:last_dest"],"entities":{"carrier":["AA","UA","ZZ"]}}`,
		`{"results":[`+
			`{"values":["AA","UA","ZZ"],"statuses":["PRESENT","PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`,`+epoch+`]},`+
			`{"values":[12.5,null,null],"statuses":["PRESENT","OUTSIDE_MAX_AGE","NOT_FOUND"],"event_timestamps":["2026-03-01T11:59:50.123456Z","2026-02-14T12:00:00.123456Z",`+epoch+`]},`+
			`{"values":[3,null,null],"statuses":["PRESENT","OUTSIDE_MAX_AGE","NOT_FOUND"],"event_timestamps":["2026-03-01T11:59:50.123456Z","2026-02-14T12:00:00.123456Z",`+epoch+`]},`+
			`{"values":["BOS",null,null],"statuses":["PRESENT","OUTSIDE_MAX_AGE","NOT_FOUND"],"event_timestamps":["2026-03-01T11:59:50.123456Z","2026-02-14T12:00:00.123456Z",`+epoch+`]}],`+
			`"metadata":{"feature_names":["carrier","mean_delay_1h","departures_ever","last_dest"]}}`)
	f("the request's order, across two entities, with full names",
		`{"features":["route_delays:departures_1h","carrier_delays:departures_1h","route_delays:mean_delay_24h"],`+
			`"entities":{"dest":["LAX"],"carrier":["AA"],"origin":["JFK"]},"full_feature_names":true}`,
		`{"results":[`+
			`{"values":["LAX"],"statuses":["PRESENT"],"event_timestamps":[`+epoch+`]},`+
			`{"values":["AA"],"statuses":["PRESENT"],"event_timestamps":[`+epoch+`]},`+
			`{"values":["JFK"],"statuses":["PRESENT"],"event_timestamps":[`+epoch+`]},`+
			`{"values":[1],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:59:00.123456Z"]},`+
			`{"values":[2],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:59:50.123456Z"]},`+
			`{"values":[-4.0],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:59:00.123456Z"]}],`+
			`"metadata":{"feature_names":["dest","carrier","origin","route_delays__departures_1h","carrier_delays__departures_1h","route_delays__mean_delay_24h"]}}`)
	f("every type as Feast's SDK infers it",
		`{"features":["user_profile:score","user_profile:member","user_profile:visits","user_profile:seen","user_profile:token","user_profile:tags","user_profile:last_scores"],"entities":{"user_id":[1001]}}`,
		`{"results":[`+
			`{"values":[1001],"statuses":["PRESENT"],"event_timestamps":[`+epoch+`]},`+
			`{"values":[1.0],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]},`+
			`{"values":[true],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]},`+
			`{"values":[42],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]},`+
			`{"values":[1772366398],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]},`+
			`{"values":["/wA="],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]},`+
			`{"values":[["a","b\"\n"]],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]},`+
			`{"values":[[0.5]],"statuses":["PRESENT"],"event_timestamps":["2026-03-01T11:00:00.123456Z"]}],`+
			`"metadata":{"feature_names":["user_id","score","member","visits","seen","token","tags","last_scores"]}}`)
	f("a service: its features, then derived ones; request data after the join keys; an integer for a float; zero stops",
		`{"feature_service":"delay_model","features":["ignored"],"entities":{"distance":[4,1.5],"stops":[0,1],"carrier":["AA","AA"],"origin":["JFK","JFK"],"dest":["LAX","BOS"]}}`,
		`{"results":[`+
			`{"values":["AA","AA"],"statuses":["PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]},`+
			`{"values":["JFK","JFK"],"statuses":["PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]},`+
			`{"values":["LAX","BOS"],"statuses":["PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]},`+
			`{"values":[4.0,1.5],"statuses":["PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]},`+
			`{"values":[0,1],"statuses":["PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]},`+
			`{"values":[12.5,12.5],"statuses":["PRESENT","PRESENT"],"event_timestamps":["2026-03-01T11:59:50.123456Z","2026-03-01T11:59:50.123456Z"]},`+
			`{"values":[-4.0,null],"statuses":["PRESENT","OUTSIDE_MAX_AGE"],"event_timestamps":["2026-03-01T11:59:00.123456Z","2026-03-01T10:00:00.123456Z"]},`+
			`{"values":[2,2],"statuses":["PRESENT","PRESENT"],"event_timestamps":["2026-03-01T11:59:50.123456Z","2026-03-01T11:59:50.123456Z"]},`+
			`{"values":[2.5,5.0],"statuses":["PRESENT","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]},`+
			`{"values":[null,2],"statuses":["NULL_VALUE","PRESENT"],"event_timestamps":[`+epoch+`,`+epoch+`]}],`+
			`"metadata":{"feature_names":["carrier","origin","dest","distance","stops","mean_delay_1h","mean_delay_24h","departures_1h","delay_ratio","per_stop"]}}`)
	f("version metadata, and a join key that is not needed",
		`{"features":["user_profile:visits"],"entities":{"carrier":["AA"],"user_id":[1]},"include_feature_view_version_metadata":true}`,
		`{"results":[`+
			`{"values":["AA"],"statuses":["PRESENT"],"event_timestamps":[`+epoch+`]},`+
			`{"values":[1],"statuses":["PRESENT"],"event_timestamps":[`+epoch+`]},`+
			`{"values":[null],"statuses":["NOT_FOUND"],"event_timestamps":[`+epoch+`]}],`+
			`"metadata":{"feature_names":["carrier","user_id","visits"],"feature_view_metadata":[{"name":"user_profile"}]}}`)
}

// What JSON or Feast's type inference cannot say is a null, with the status of one.
func TestHandlerSendsWhatJSONCannotSayAsNull(t *testing.T) {
	l, s, p := setup(t, Options{})
	f := func(in any, feature string) {
		t.Helper()
		row := []any{absent{}, absent{}, absent{}, absent{}, absent{}, absent{}, absent{}}
		for i := range p.Views[2].Features {
			if p.Views[2].Features[i].Name == feature {
				row[i] = in
			}
		}
		s.put(t, p, "user_profile", []any{5}, event{at: ago(time.Second), in: row})
		got := post(t, l, `{"features":["user_profile:`+feature+`"],"entities":{"user_id":[5]}}`).Body.String()
		want := `{"values":[null],"statuses":["NULL_VALUE"],"event_timestamps":["2026-03-01T11:59:59.123456Z"]}`
		if !strings.Contains(got, want) {
			t.Errorf("%v: got %s", in, got)
		}
	}
	f(nil, "score")
	f([]string{}, "tags")
	nan := feature.Float64Value(0)
	nan = feature.Float64Value(nan.Float64() / nan.Float64())
	f(nan, "score")
}

func TestHandlerTellsWhenAndWhatItRead(t *testing.T) {
	l, s, _ := setup(t, Options{})
	w := post(t, l, `{"features":["carrier_delays:departures_1h","route_delays:departures_1h"],"full_feature_names":true,`+
		`"entities":{"carrier":["AA","AA"],"origin":["JFK","X"],"dest":["LAX","X"]}}`)
	if got, want := w.Header().Get("X-Freshet-As-Of"), "1772366400123456"; got != want {
		t.Errorf("as of %q, want %q", got, want)
	}
	if got, want := w.Header().Get("X-Freshet-Versions"), "carrier_delays=7.2.1.0,route_delays=7.2.3.0"; got != want {
		t.Errorf("versions %q, want %q", got, want)
	}
	if s.fetches != 1 || s.fetched != 3 {
		t.Errorf("%d fetches of %d entities; want all in one, each distinct entity once: 3", s.fetches, s.fetched)
	}
	if w := post(t, l, `{"features":["carrier_delays:departures_1h"],"entities":{"carrier":["nobody"]}}`); w.Header().Get("X-Freshet-Versions") != "" {
		t.Errorf("versions of nothing: %q", w.Header().Get("X-Freshet-Versions"))
	}
}

func TestHandlerRefuses(t *testing.T) {
	l, _, _ := setup(t, Options{MaxRows: 4, MaxFeatures: 5, MaxBodyBytes: 8192})
	ok := `"features":["user_profile:visits"]`
	f := func(body string, status int, parts ...string) {
		t.Helper()
		w := post(t, l, body)
		if w.Code != status {
			t.Errorf("%s: status %d, want %d: %s", body, w.Code, status, w.Body)
		}
		for _, p := range parts {
			if !strings.Contains(w.Body.String(), p) {
				t.Errorf("%s: got %s, which does not contain %s", body, w.Body, p)
			}
		}
	}
	// The body is no request.
	f(``, 422, `"type":"model_attributes_type","loc":["body"]`)
	f(`[]`, 422, `expected a JSON object`)
	f(`{"entities":`, 422, `"json_invalid"`, `at byte 12`)
	f(`{"entities":{}} x`, 422, `"json_invalid"`)
	f("{\"entities\":{\"user_id\":[\"\xff\"]}}", 422, `UTF-8`)
	f(`{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, 422, `nested too deeply`)
	f(`{`+ok+`,"entities":{"user_id":["\ud800"]}}`, 422, `surrogate`)
	f(strings.Repeat(" ", 9000), 413, `"detail"`)
	// Its members.
	f(`{`+ok+`}`, 422, `"type":"missing","loc":["body","entities"]`)
	f(`{`+ok+`,"entities":[]}`, 422, `"loc":["body","entities"]`)
	f(`{`+ok+`,"entities":{"user_id":1001}}`, 422, `"loc":["body","entities","user_id"]`, `list`)
	f(`{`+ok+`,"entities":{"user_id":[1],"user_id":[2]}}`, 422, `given twice`)
	f(`{`+ok+`,"entities":{"user_id":[1]},"request_context":{"user_id":[2]}}`, 422, `"loc":["body","request_context","user_id"]`)
	f(`{"entities":{"user_id":[1]}}`, 422, `"loc":["body","features"]`)
	f(`{"features":[],"entities":{"user_id":[1]}}`, 422, `"loc":["body","features"]`)
	f(`{"features":"a:b","entities":{"user_id":[1]}}`, 422, `"loc":["body","features"]`)
	f(`{"features":["a:b",7],"entities":{"user_id":[1]}}`, 422, `"loc":["body","features",1]`)
	f(`{"features":["visits"],"entities":{"user_id":[1]}}`, 422, `"loc":["body","features",0]`, `view:feature`)
	f(`{"features":["a:b","a:c","a:d","a:e","a:f","a:g"],"entities":{"user_id":[1]}}`, 422, `more than 5 features`, `"too_long"`)
	f(`{"feature_service":7,"entities":{"user_id":[1]}}`, 422, `"loc":["body","feature_service"]`)
	f(`{`+ok+`,"full_feature_names":1,"entities":{"user_id":[1]}}`, 422, `"loc":["body","full_feature_names"]`)
	// Its columns.
	f(`{`+ok+`,"entities":{}}`, 422, `"type":"missing","loc":["body","entities","user_id"]`, `join key user_id (int64) of entity user`)
	f(`{`+ok+`,"entities":{"user_id":[]}}`, 422, `"loc":["body","entities","user_id"]`, `no rows`)
	f(`{`+ok+`,"entities":{"user_id":[1,2,3,4,5]}}`, 422, `more than 4 rows`)
	f(`{`+ok+`,"entities":{"user_id":[1,2],"carrier":["AA"]}}`, 422, `"loc":["body","entities","carrier"]`, `1 values, but user_id has 2`)
	f(`{`+ok+`,"entities":{"user_id":[1,"1"]}}`, 422, `"type":"int64_type","loc":["body","entities","user_id",1]`, `expected int64, got \"1\"`)
	f(`{`+ok+`,"entities":{"user_id":[1.5]}}`, 422, `expected int64, got 1.5`)
	f(`{`+ok+`,"entities":{"user_id":[1.0]}}`, 422, `expected int64, got 1.0`)
	f(`{`+ok+`,"entities":{"user_id":[9223372036854775808]}}`, 422, `expected int64`)
	f(`{`+ok+`,"entities":{"user_id":[true]}}`, 422, `expected int64, got true`)
	f(`{`+ok+`,"entities":{"user_id":[[1]]}}`, 422, `expected int64, got [1]`)
	f(`{`+ok+`,"entities":{"user_id":[1,null]}}`, 422, `"loc":["body","entities","user_id",1]`, `a join key cannot be null`)
	f(`{"features":["carrier_delays:last_dest"],"entities":{"carrier":[7]}}`, 422, `expected string, got 7`)
	service := `{"feature_service":"delay_model","entities":{"carrier":["A"],"origin":["A"],"dest":["A"]`
	f(service+`,"stops":[1]}}`, 422, `"loc":["body","entities","distance"]`, `request field distance (float64)`)
	f(service+`,"stops":[null],"distance":[1]}}`, 422, `"loc":["body","entities","stops",0]`, `null`)
	f(service+`,"stops":[1],"distance":["1"]}}`, 422, `expected float64`)
	f(service+`,"stops":[1],"distance":[1e999]}}`, 422, `expected float64`)
	f(`{"features":["carrier_delays:last_dest"],"entities":{"carrier":["`+strings.Repeat("x", 4000)+`"]}}`, 200)
	f(`{"features":["carrier_delays:last_dest"],"entities":{"carrier":["`+strings.Repeat("x", 5000)+`"]}}`, 422, `"loc":["body","entities","carrier",0]`, `at most 4096`)
}

// Feast's SDK raises the class that a body names; a mistake is never answered with a status it would retry.
func TestHandlerRaisesFeastExceptions(t *testing.T) {
	l, _, _ := setup(t, Options{})
	f := func(body string, status int, class, message string) {
		t.Helper()
		w := post(t, l, body)
		if w.Code != status {
			t.Errorf("%s: status %d, want %d", body, w.Code, status)
		}
		var text string
		var e struct{ Module, Class, Message string }
		if err := errors.Join(json.Unmarshal(w.Body.Bytes(), &text), json.Unmarshal([]byte(text), &e)); err != nil {
			t.Fatalf("%s: %v: %s", body, err, w.Body)
		}
		if e.Module != "feast.errors" || e.Class != class || !strings.Contains(e.Message, message) {
			t.Errorf("%s: got %+v, want %s: %s", body, e, class, message)
		}
	}
	f(`{"feature_service":"delay_modle","entities":{"carrier":["A"]}}`, 404, "FeatureServiceNotFoundException",
		`Feature service delay_modle does not exist in project flights; did you mean "delay_model"?`)
	f(`{"features":["carrier_delay:x"],"entities":{"carrier":["A"]}}`, 404, "FeatureViewNotFoundException",
		`Feature view carrier_delay does not exist in project flights; did you mean "carrier_delays"?`)
	f(`{"features":["carrier_delays:last_dst"],"entities":{"carrier":["A"]}}`, 404, "FeastObjectNotFoundException",
		`Feature last_dst does not exist in feature view carrier_delays; did you mean "last_dest"?`)
	f(`{"features":["carrier_delays:last_dest"],"entities":{"carier":["A"]}}`, 404, "EntityNotFoundException",
		`Entity carier does not exist in project flights; did you mean "carrier"?`)
	f(`{"features":["carrier_delays:departures_1h","route_delays:departures_1h"],"entities":{"carrier":["A"],"origin":["A"],"dest":["A"]}}`,
		422, "FeatureNameCollisionError", `departures_1h`)
	f(`{"features":["carrier_delays:last_dest","carrier_delays:last_dest"],"entities":{"carrier":["A"]},"full_feature_names":true}`,
		422, "FeatureNameCollisionError", `carrier_delays__last_dest`)
}

func TestHandlerOtherPathsAndMethods(t *testing.T) {
	var ready error
	l, _, _ := setup(t, Options{Ready: func(context.Context) error { return ready }})
	f := func(method, path string, status int) {
		t.Helper()
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != status {
			t.Errorf("%s %s: status %d, want %d", method, path, w.Code, status)
		}
		if status >= 400 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: body is not JSON: %s", method, path, w.Body)
		}
	}
	f("GET", "/get-online-features", 405)
	f("POST", "/health", 405)
	f("GET", "/nowhere", 404)
	f("GET", "/health", 200)
	ready = errors.New("restoring")
	f("GET", "/health", 503)
}

func TestHandlerWhenTheStoreIsAway(t *testing.T) {
	l, s, p := setup(t, Options{})
	body := `{"features":["carrier_delays:last_dest"],"entities":{"carrier":["AA"]}}`
	s.fail = errors.New("dial tcp: connection refused")
	w := post(t, l, body)
	if w.Code != 503 || !strings.Contains(w.Body.String(), "not available") || strings.Contains(w.Body.String(), "dial") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	s.fail = nil
	key := storeKey(t, "flights", p.Views[0], "AA")
	head, _ := online.Fields(p.Views[0].Name, p.Views[0].Fingerprint)
	s.hashes[key][head] = []byte("no blob")
	w = post(t, l, body)
	if w.Code != 500 || strings.Contains(w.Body.String(), "AA") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// A head and a tail that do not belong together are read again, and never make numbers.
func TestHandlerReadsTornBlobsAgain(t *testing.T) {
	l, s, p := setup(t, Options{})
	v := p.Views[0]
	key := storeKey(t, "flights", v, "AA")
	_, tail := online.Fields(v.Name, v.Fingerprint)
	whole := s.hashes[key][tail]
	other := s.hashes[storeKey(t, "flights", v, "UA")][tail]
	body := `{"features":["carrier_delays:mean_delay_1h","carrier_delays:last_dest"],"entities":{"carrier":["ZZ","AA","AA"]}}`
	want := post(t, l, body).Body.String()

	s.hashes[key][tail] = other
	w := post(t, l, body)
	if w.Code != 503 {
		t.Errorf("torn twice: status %d: %s", w.Code, w.Body)
	}
	s.fetches, s.fetched = 0, 0
	s.onFetch = func(s *memStore) {
		if s.fetches == 2 {
			s.hashes[key][tail] = whole
		}
	}
	if got := post(t, l, body).Body.String(); got != want {
		t.Errorf("torn once:\n got %s\nwant %s", got, want)
	}
	if s.fetches != 2 || s.fetched != 3 {
		t.Errorf("%d fetches of %d entities; only the torn one is read again", s.fetches, s.fetched)
	}
}

// slowStore answers when the request's time is up.
type slowStore struct{}

func (slowStore) FetchInto(ctx context.Context, _ []online.FetchRequest, _ [][][]byte, _ *online.Memory) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestHandlerKeepsToTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(flights(t), slowStore{}, Options{Timeout: time.Second, MaxTimeout: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f := func(header string, status int, after time.Duration) {
			t.Helper()
			r := httptest.NewRequest("POST", "/get-online-features", strings.NewReader(`{"features":["carrier_delays:last_dest"],"entities":{"carrier":["AA"]}}`))
			if header != "" {
				r.Header.Set("X-Freshet-Timeout", header)
			}
			w := httptest.NewRecorder()
			start := time.Now()
			l.Handler().ServeHTTP(w, r)
			if took := time.Since(start); w.Code != status || took != after {
				t.Errorf("timeout %q: status %d after %v, want %d after %v: %s", header, w.Code, took, status, after, w.Body)
			}
		}
		f("", 503, time.Second)
		f("250ms", 503, 250*time.Millisecond)
		f("1h", 503, 3*time.Second)
		f("-1s", 422, 0)
		f("soon", 422, 0)
	})
}

// TestHandlerNamesWhatIsWrongWithABody sends bodies that are not as they should be before a byte of them is JSON.
func TestHandlerNamesWhatIsWrongWithABody(t *testing.T) {
	l, _, _ := setup(t, Options{})
	f := func(r *http.Request, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if w.Code != status || !strings.Contains(w.Body.String(), want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("status %d, %s; want %d with %s", w.Code, w.Body, status, want)
		}
	}
	zipped := httptest.NewRequest(http.MethodPost, "/get-online-features", strings.NewReader("\x1f\x8b"))
	zipped.Header.Set("Content-Encoding", "gzip")
	f(zipped, http.StatusUnsupportedMediaType, `content encoding \"gzip\"`)
	f(httptest.NewRequest(http.MethodPost, "/get-online-features", iotest.ErrReader(os.ErrDeadlineExceeded)), http.StatusRequestTimeout, "did not arrive in time")
	f(httptest.NewRequest(http.MethodPost, "/get-online-features", iotest.ErrReader(io.ErrUnexpectedEOF)), http.StatusUnprocessableEntity, "could not be read")
}
