package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/serving"
)

// recordedStore keeps what the last fetch asked for, sorted, and how many bytes came.
type recordedStore struct {
	serving.Fetcher
	fetches int
	asked   []string
	bytes   int
}

// FetchInto implements serving.Fetcher.
func (s *recordedStore) FetchInto(ctx context.Context, reqs []online.FetchRequest, out [][][]byte, mem *online.Memory) error {
	s.fetches++
	s.asked, s.bytes = nil, 0
	for _, r := range reqs {
		s.asked = append(s.asked, fmt.Sprint(r.Key, r.Fields))
	}
	slices.Sort(s.asked)
	err := s.Fetcher.FetchInto(ctx, reqs, out, mem)
	for _, blob := range slices.Concat(out...) {
		s.bytes += len(blob)
	}
	return err
}

// bareFixture is a bare server beside the real one, over the same filled store at the same clock.
type bareFixture struct {
	plane      *config.Plane
	store      *recordedStore
	redis      *redis.Client
	bare, real *httptest.Server
}

// bareEntities is how many are filled; requests of more name some twice.
const bareEntities = 7

func newBareFixture(t *testing.T) *bareFixture {
	t.Helper()
	t.Setenv("PATH", t.TempDir()) // an embedded Redis
	ctx, now := t.Context(), time.Now()
	server, err := openRedis(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.close() })
	rdb, err := online.Open(ctx, config.Redis{URL: config.Secret(server.url)}, online.Options{Embedded: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	plane, _, _, err := lookupPlane(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := fillViews(ctx, rdb, plane, bareEntities); err != nil {
		t.Fatal(err)
	}
	f := &bareFixture{plane: plane, store: &recordedStore{Fetcher: rdb}}
	clock := func() time.Time { return now }
	lookups, err := serving.New(plane, f.store, serving.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	f.real = httptest.NewServer(lookups.Handler())
	t.Cleanup(f.real.Close)
	bare, err := newBareServer(plane, f.store, clock, f.real.URL+lookupPath)
	if err != nil {
		t.Fatal(err)
	}
	f.bare = httptest.NewServer(bare)
	t.Cleanup(f.bare.Close)
	u, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	f.redis = redis.NewClient(&redis.Options{Addr: u.Host})
	t.Cleanup(func() { _ = f.redis.Close() })
	return f
}

// post asks a server and returns its status, header without the date, and body.
func (f *bareFixture) post(t *testing.T, s *httptest.Server, body string) (status int, header http.Header, answer string) {
	t.Helper()
	resp, err := s.Client().Post(s.URL+lookupPath, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Header.Del("Date")
	return resp.StatusCode, resp.Header, string(b)
}

// idsOf returns the entities of a request from the first on, some of them twice.
func idsOf(first int, c lookupCase) []int {
	ids := make([]int, c.entities)
	for i := range ids {
		ids[i] = (first + i) % bareEntities
	}
	return ids
}

// TestBareServerDoesTheSameIO: of every case the bare server fetches, in one round trip, what the real one fetches, and
// writes the same answer; then the same answer again whatever the values are.
func TestBareServerDoesTheSameIO(t *testing.T) {
	f := newBareFixture(t)
	for _, c := range lookupCases() {
		status, header, want := f.post(t, f.real, c.body(idsOf(0, c)))
		if status != http.StatusOK || !strings.Contains(want, "PRESENT") {
			t.Fatalf("%s: the real server answered %d %s", c.name, status, want)
		}
		asked, size := f.store.asked, f.store.bytes
		for range 2 { // the first asks the real server too
			f.store.fetches = 0
			status, got, answer := f.post(t, f.bare, c.body(idsOf(0, c)))
			if status != http.StatusOK || answer != want || fmt.Sprint(got) != fmt.Sprint(header) {
				t.Errorf("%s: answered %d %v %s; want %v %s", c.name, status, got, answer, header, want)
			}
		}
		if f.store.fetches != 1 || !slices.Equal(f.store.asked, asked) || f.store.bytes != size || size == 0 {
			t.Errorf("%s: %d fetches, the last of %v, %d bytes; want one of %v, %d bytes", c.name, f.store.fetches, f.store.asked, f.store.bytes, asked, size)
		}
		if status, _, answer := f.post(t, f.bare, c.body(idsOf(3, c))); status != http.StatusOK || answer != want {
			t.Errorf("%s: other entities are answered with %d %s", c.name, status, answer)
		}
	}
}

// TestBareServerRefusesWhatIsNotThere: an answer that could be written all the same is not, unless every field of every
// entity came.
func TestBareServerRefusesWhatIsNotThere(t *testing.T) {
	f := newBareFixture(t)
	for _, c := range lookupCases() {
		refuses := func(what string, ids []int) {
			t.Helper()
			if status, _, answer := f.post(t, f.bare, c.body(ids)); status == http.StatusOK || !strings.Contains(answer, "not in Redis") {
				t.Errorf("%s, %s: answered %d %s", c.name, what, status, answer)
			}
		}
		absent := idsOf(1, c)
		absent[len(absent)-1] = bareEntities
		refuses("no answer to write yet", absent)
		if status, _, answer := f.post(t, f.bare, c.body(idsOf(1, c))); status != http.StatusOK {
			t.Fatalf("%s: answered %d %s", c.name, status, answer)
		}
		refuses("an answer to write", absent)
		v, err := c.viewIn(f.plane)
		if err != nil {
			t.Fatal(err)
		}
		fields := f.store.asked[0]
		fields = fields[strings.Index(fields, "[")+1 : len(fields)-1]
		for field := range strings.FieldsSeq(fields) { // the head, the tail's first part, a page
			key := string(entityKey(f.plane, v, 1))
			blob, err := f.redis.HGet(t.Context(), key, field).Result()
			if err != nil {
				t.Fatalf("%s: field %s: %v", c.name, field, err)
			}
			f.redis.HDel(t.Context(), key, field)
			refuses("without "+field, idsOf(1, c))
			f.redis.HSet(t.Context(), key, field, blob)
		}
		if status, _, answer := f.post(t, f.bare, c.body(idsOf(1, c))); status != http.StatusOK {
			t.Errorf("%s: with all fields again answered %d %s", c.name, status, answer)
		}
	}
}

// TestBareServerRefusesOtherRequests: what it does not read is not answered.
func TestBareServerRefusesOtherRequests(t *testing.T) {
	f := newBareFixture(t)
	for _, body := range []string{
		``, `{}`,
		`{"feature_service":"wide","entities":{"user_id":[]}}`,
		`{"feature_service":"wide","entities":{"user_id":[1,]}}`,
		`{"feature_service":"wide","entities":{"user_id":["1"]}}`,
		`{"feature_service":"wide","entities":{"user_id":[1]}`,
		`{"feature_service":"wide","entities":{"user_id":[1]}} `,
		`{"feature_service":"wide","entities":{"user_id":[1,2]}}`,
		`{"feature_service":"other","entities":{"user_id":[1]}}`,
		`{"entities":{"user_id":[1]},"feature_service":"wide"}`,
		`{"feature_service":"wide","entities":{"user_id":[` + strings.Repeat("1,", 40<<10) + `1]}}`,
	} {
		if status, _, answer := f.post(t, f.bare, body); status != http.StatusInternalServerError || f.store.fetches > 0 {
			t.Errorf("%.80q: answered %d %s after %d fetches", body, status, answer, f.store.fetches)
		}
	}
	f.real.Close()
	if status, _, answer := f.post(t, f.bare, `{"feature_service":"wide","entities":{"user_id":[1]}}`); status == http.StatusOK || !strings.Contains(answer, "real server") {
		t.Errorf("without the real server: answered %d %s", status, answer)
	}
}
