package serving

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/internal/testenv"
)

// busyUser is a plane with a user who has an event a minute, of the value 1, in three hours: of each window so many are
// asked for that tails have pages.
func busyUser(t testing.TB) (*config.Plane, *memStore) {
	user := &config.Entity{Name: "user", JoinKeys: []config.Field{{Name: "user_id", Type: feature.Int64}}}
	p, s := &config.Plane{Project: "flights", Entities: []*config.Entity{user}}, newStore()
	var columns []column
	for i := range 9 {
		columns = append(columns, column{name: fmt.Sprintf("sum%d", i), agg: "sum", typ: feature.Float64, window: time.Hour})
	}
	columns = append(columns,
		column{name: "half", agg: "count", window: 50 * time.Minute},
		column{name: "ones", agg: "approx_distinct", typ: feature.Float64, window: time.Hour},
		column{name: "ever", agg: "count"})
	p.Views = append(p.Views, newView(t, "busy", user, 24*time.Hour, columns...))
	var events []event
	for m := 179; m >= 0; m-- {
		in := make([]any, len(columns))
		for i := range in {
			in[i] = 1.0
		}
		events = append(events, event{at: ago(time.Duration(m) * time.Minute), in: in})
	}
	s.put(t, p, "busy", []any{7}, events...)
	return p, s
}

const busyBody = `{"features":["busy:sum3","busy:half","busy:ones","busy:ever"],"entities":{"user_id":[7,8]}}`

// TestLookupsReadPages: at every clock the windows have what is in them, and a page is read only for a feature that needs
// it. A clock far behind reads once more and is right too.
func TestLookupsReadPages(t *testing.T) {
	p, s := busyUser(t)
	at := now
	l, err := New(p, s, Options{Clock: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		late                time.Duration
		sum, half, distinct string
		fetches             int
	}{
		{0, "61.0", "51", "1", 1},
		{30 * time.Second, "61.0", "51", "1", 1},
		{time.Minute, "60.0", "50", "1", 1},
		{10 * time.Minute, "51.0", "41", "1", 1},
		{59 * time.Minute, "2.0", "0", "1", 1},
		{3 * time.Hour, "null", "0", "0", 1},
		{-5 * time.Minute, "66.0", "56", "1", 1},
		{-time.Hour, "67.0", "56", "1", 2}, // all that is kept is ahead of this clock
		{-24 * time.Hour, "67.0", "56", "1", 2},
	} {
		at, s.fetches = now.Add(tc.late), 0
		got := post(t, l, busyBody).Body.String()
		for column, want := range []string{"7,8", tc.sum + ",null", tc.half + ",null", tc.distinct + ",null"} {
			if part := strings.Split(got, `{"values":[`)[column+1]; !strings.HasPrefix(part, want+"]") && tc.late < 3*time.Hour {
				t.Errorf("%v late: column %d is %.40s; want %s", tc.late, column, part, want)
			}
		}
		if s.fetches != tc.fetches {
			t.Errorf("%v late: %d fetches; want %d", tc.late, s.fetches, tc.fetches)
		}
	}
}

// TestPagesOverRedis: pages are read from a Redis, embedded or real, as from memory.
func TestPagesOverRedis(t *testing.T) {
	p, s := busyUser(t)
	p.Project = testenv.Prefix(t)
	renamed := newStore()
	for key, hash := range s.hashes {
		renamed.hashes[strings.Replace(key, "{flights:", "{"+p.Project+":", 1)] = hash
	}
	f := func(t *testing.T, url string, opts online.Options) {
		rdb := openRedis(t, url, opts, renamed)
		for _, late := range []time.Duration{0, time.Minute, 17 * time.Minute, -24 * time.Hour} {
			clock := func() time.Time { return now.Add(late) }
			over, err := New(p, rdb, Options{Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			memory, err := New(p, renamed, Options{Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			got, want := post(t, over, busyBody), post(t, memory, busyBody)
			if got.Code != 200 || got.Body.String() != want.Body.String() {
				t.Errorf("%v late:\n got %d %s\nwant %s", late, got.Code, got.Body, want.Body)
			}
		}
	}
	t.Run("Embedded", func(t *testing.T) { f(t, "redis://"+miniredis.RunT(t).Addr(), online.Options{Embedded: true}) })
	t.Run("Real", func(t *testing.T) { f(t, "redis://"+testenv.Redis(t), online.Options{}) })
}

// TestLookupsRefuseTornPages: a page that is not there, or is another tail's, is read again and never makes numbers; what
// needs no page is answered.
func TestLookupsRefuseTornPages(t *testing.T) {
	p, s := busyUser(t)
	l, err := New(p, s, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	v := p.Views[0]
	hash := s.hashes[storeKey(t, "flights", v, 7)]
	_, tail := online.Fields(v.Name, v.Fingerprint)
	whole := hash[tail]
	first, _, _ := feature.TailParts(whole)
	want := post(t, l, busyBody).Body.String()
	hash[tail] = first
	if w := post(t, l, busyBody); w.Code != 503 || !strings.Contains(w.Body.String(), "being rewritten") {
		t.Errorf("without pages: status %d: %s", w.Code, w.Body)
	}
	if w := post(t, l, `{"features":["busy:ever","busy:ones"],"entities":{"user_id":[7]}}`); w.Code != 200 || !strings.Contains(w.Body.String(), `[180]`) {
		t.Errorf("features that need no page: status %d: %s", w.Code, w.Body)
	}
	s.fetches = 0
	s.onFetch = func(s *memStore) {
		if s.fetches == 2 {
			hash[tail] = whole
		}
	}
	var w *httptest.ResponseRecorder
	if w = post(t, l, busyBody); w.Body.String() != want || s.fetches != 2 {
		t.Errorf("torn once: %d fetches\n got %s\nwant %s", s.fetches, w.Body, want)
	}
}
