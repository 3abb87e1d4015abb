package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// clicksPlane has a source whose events have an id, and one whose events do not.
const clicksPlane = `
project: %[1]s
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
sources:
  - name: clicks
    topic: %[2]s
    key: [user]
    event_time: {field: at, format: unix_ms}
    event_id: {field: id, horizon: 6h}
    schema: &schema
      - {name: user, type: string, required: true}
      - {name: id, type: string, required: true}
      - {name: at, type: int64, required: true}
  - name: taps
    topic: %[2]s-taps
    key: [user]
    event_time: {field: at, format: unix_ms}
    schema: *schema
feature_views:
  - {name: user_clicks, entity: user, source: clicks, features: [{name: clicks, aggregate: count}]}
  - {name: user_taps, entity: user, source: taps, features: [{name: taps, aggregate: count}]}
`

// posted is what the gateway said to one request.
type posted struct {
	Accepted int `json:"accepted"`
	Refused  []struct {
		Index        int
		Field, Class string
	} `json:"refused"`
	NotAcknowledged []struct{ Index int } `json:"not_acknowledged"`
	Error           string                `json:"error"`
}

func post(server, source, contentType, body string) (status int, p posted, err error) {
	resp, err := httpClient.Post(server+"/v1/events/"+source, contentType, strings.NewReader(body))
	if err != nil {
		return 0, p, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return resp.StatusCode, p, fmt.Errorf("status %d: %w: %s", resp.StatusCode, err, text)
	}
	return resp.StatusCode, p, nil
}

// TestGatewayRefusals posts what cannot be used among what can.
func TestGatewayRefusals(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, clicksPlane, kafka, kafka, testenv.Redis(t), 3)
	p.topic += "-taps"
	p.createTopic(3)
	in := p.run("one")
	now := time.Now().UnixMilli()
	good := func(id string) string { return fmt.Sprintf(`{"user":"u","id":%q,"at":%d}`, id, now) }
	const lines, array = "application/x-ndjson", "application/json"
	for _, tc := range []struct {
		name, source, contentType, body string
		status, accepted                int
		refused                         string // index:class:field, in order
	}{
		{"one", "clicks", array, good("a"), 200, 1, ""},
		{"an array", "clicks", array, "[" + good("b") + "," + good("c") + "]", 200, 2, ""},
		{"lines", "clicks", lines, good("d") + "\n\n" + good("e") + "\n", 200, 2, ""},
		{"bad ones among good ones", "clicks", lines, strings.Join([]string{
			good("f"), `{"user":`, `{"user":7,"id":"x","at":1}`, `{"id":"x","at":1}`, `{"user":"u","id":"x"}`, good("g"),
			fmt.Sprintf(`{"user":"u","id":"x","at":%d}`, now+3_600_000),
		}, "\n"), 207, 2, "1:malformed: 2:wrong_type:user 3:missing_field:user 4:missing_field:at 6:too_far_ahead:at"},
		{"only bad ones", "clicks", array, `[{"user":"u","id":7,"at":1}]`, 422, 0, "0:wrong_type:id"},
		{"no JSON", "clicks", array, `[{"user":"u"`, 400, 0, ""},
		{"no such source", "klicks", array, good("x"), 404, 0, ""},
		{"another type", "clicks", "text/csv", "a,b", 415, 0, ""},
		{"too large", "clicks", array, `{"user":"` + strings.Repeat("u", 9<<20) + `"}`, 413, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, got, err := post(in.http, tc.source, tc.contentType, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			var refused []string
			for _, r := range got.Refused {
				refused = append(refused, fmt.Sprintf("%d:%s:%s", r.Index, r.Class, r.Field))
			}
			if status != tc.status || got.Accepted != tc.accepted || strings.Join(refused, " ") != tc.refused || (status >= 400) != (got.Error != "") {
				t.Errorf("status %d, accepted %d, refused %v, error %q", status, got.Accepted, refused, got.Error)
			}
		})
	}
	eventually(t, "what was accepted counts", func() error { return countOf(in, "user_clicks:clicks", map[string]int{"u": 7}) })
	in.stop()
}

// countOf compares a count of users.
func countOf(in *instance, feature string, want map[string]int) error {
	var users []any
	for u := range want {
		users = append(users, u)
	}
	a, _, err := lookup(in.http, []string{feature}, map[string][]any{"user": users})
	if err != nil {
		return err
	}
	for i, u := range users {
		if got := string(a.Results[1].Values[i]); got != fmt.Sprint(want[u.(string)]) {
			return fmt.Errorf("%s of %s is %s, want %d", feature, u, got, want[u.(string)])
		}
	}
	return nil
}

// clickers post clicks and taps to a process that comes and goes.
type clickers struct {
	server atomic.Pointer[instance]

	mu    sync.Mutex
	tried map[string]int // events of each user, all of whose clicks were acknowledged in the end
	acked map[string]int // those whose taps were, too
}

// post sends requests as one client: clicks until they are acknowledged, and the same as taps, once.
func (c *clickers) post(client, requests int) error {
	const lines, records = "application/x-ndjson", 20
	for r := range requests {
		var body strings.Builder
		users := map[string]int{}
		for i := range records {
			user := fmt.Sprintf("u%d", (client*7+r*3+i)%25)
			users[user]++
			fmt.Fprintf(&body, "{\"user\":%q,\"id\":\"%d-%d-%d\",\"at\":%d}\n", user, client, r, i, time.Now().UnixMilli())
		}
		acknowledged := func(source string) bool {
			status, got, err := post(c.server.Load().http, source, lines, body.String())
			return err == nil && status == http.StatusOK && got.Accepted == records
		}
		for until := time.Now().Add(patience); !acknowledged("clicks"); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(until) {
				return fmt.Errorf("client %d: request %d was never acknowledged", client, r)
			}
		}
		c.count(users, acknowledged("taps"))
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func (c *clickers) count(users map[string]int, taps bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried == nil {
		c.tried, c.acked = map[string]int{}, map[string]int{}
	}
	for u, n := range users {
		c.tried[u] += n
		if taps {
			c.acked[u] += n
		}
	}
}

// TestGatewayKeepsWhatItAcknowledged posts from several clients while the process is killed again and again. A client that
// got no answer posts the same again: with event ids each event counts once. Without, an event counts at least once for
// each acknowledgement, and no more often than it was posted.
func TestGatewayKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, clicksPlane, kafka, kafka, testenv.Redis(t), 3)
	p.topic += "-taps"
	p.createTopic(3)
	c := &clickers{}
	c.server.Store(p.run("one"))
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if err := c.post(i, 60); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	kills := 0
	for moment := 300 * time.Millisecond; kills < 5; moment += 170 * time.Millisecond {
		select {
		case <-done:
			t.Logf("the clients were done after %d kills", kills)
		case <-time.After(moment):
			c.server.Load().kill()
			kills++
			c.server.Store(p.run("one"))
			continue
		}
		break
	}
	<-done
	if kills == 0 {
		t.Error("the clients were done before the first kill")
	}
	in := c.server.Load()
	eventually(t, "every event counts once", func() error { return countOf(in, "user_clicks:clicks", c.tried) })
	eventually(t, "caught up", in.caughtUp)
	eventually(t, "what was acknowledged counts, and no more than was posted", func() error { return checkBetween(in, c.acked, c.tried) })
	in.stop()
}

// checkBetween holds the counts between what was acknowledged and what was tried.
func checkBetween(in *instance, acked, tried map[string]int) error {
	var users []any
	for u := range tried {
		users = append(users, u)
	}
	a, _, err := lookup(in.http, []string{"user_taps:taps"}, map[string][]any{"user": users})
	if err != nil {
		return err
	}
	for i, u := range users {
		var n int
		if err := json.Unmarshal(a.Results[1].Values[i], &n); err != nil {
			return err
		}
		if least, most := acked[u.(string)], tried[u.(string)]; n < least || n > most {
			return fmt.Errorf("%s: %d taps count, %d were acknowledged of %d", u, n, least, most)
		}
	}
	return nil
}
