package parquet

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// front stands before a bucket and refuses some of what changes it: before it happens, or after, as a lost answer does.
type front struct {
	handler http.Handler
	forbid  atomic.Bool // everything
	refuse  atomic.Bool
	refused atomic.Int64

	mu  sync.Mutex
	rnd *rand.Rand
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.forbid.Load() {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	f.mu.Lock()
	luck := f.rnd.IntN(6)
	f.mu.Unlock()
	if r.Method == http.MethodGet || r.Method == http.MethodHead || !f.refuse.Load() || luck > 1 {
		f.handler.ServeHTTP(w, r)
		return
	}
	f.refused.Add(1)
	if luck == 0 {
		f.handler.ServeHTTP(httptest.NewRecorder(), r)
	} else {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	w.WriteHeader(http.StatusForbidden)
}

// buckets are the kinds that there are, each a bucket of a server in this process.
var buckets = map[string]func(t *testing.T) (*Store, *front){"s3": openS3, "gs": openGCS}

// openS3 returns a store in a bucket of S3.
func openS3(t *testing.T) (*Store, *front) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("lake"); err != nil {
		t.Fatal(err)
	}
	f, server := serveBucket(t, gofakes3.New(backend).Server())
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	return openBucketStore(t, "s3://lake/plane/one?region=eu-central-1&use_path_style=true&endpoint="+server), f
}

// openGCS returns a store in a bucket of Cloud Storage.
func openGCS(t *testing.T) (*Store, *front) {
	t.Helper()
	f, server := serveBucket(t, newGCS())
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server, "http://"))
	return openBucketStore(t, "gs://lake/plane/one"), f
}

func serveBucket(t *testing.T, handler http.Handler) (f *front, url string) {
	f = &front{handler: handler, rnd: rand.New(rand.NewPCG(1, 2))}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func openBucketStore(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), config.Secret(url), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(); http.DefaultClient.CloseIdleConnections() })
	return s
}

// TestBucket has every kind of bucket do what a folder does.
func TestBucket(t *testing.T) {
	for scheme, open := range buckets {
		t.Run(scheme, func(t *testing.T) {
			s, f := open(t)
			testBucket(t, s, scheme)
			g, ok := f.handler.(*gcs)
			if !ok {
				return
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, kind := range []string{"multipart", "resumable", "list", "next page", "attributes", "range", "rewrite", "delete", "404", "412"} {
				if g.seen[kind] == 0 {
					t.Errorf("no request of kind %s came: %v", kind, g.seen)
				}
			}
			if g.seen["501"] > 0 {
				t.Errorf("requests that are not answered here: %v", g.seen)
			}
			for _, u := range g.uploads {
				// What was broken off may have begun: Cloud Storage forgets it after a week.
				if !strings.HasSuffix(u.name, "/"+brokenOff) {
					t.Errorf("the upload of %s is open", u.name)
				}
			}
		})
	}
}

func testBucket(t *testing.T, s *Store, scheme string) {
	table := testTable()
	want := fill(t, s, table)
	checkFilled(t, s, table, want)
	files, err := s.Files(t.Context(), table.Name)
	if err != nil || len(files) != 12 || !strings.HasPrefix(files[0].URL, scheme+"://lake/plane/one/events_orders/dt=2026-03-01/shop.orders-0-000") {
		t.Fatalf("%v, %v", files, err)
	}
	done, err := s.Compact(t.Context(), table.Name, CompactOptions{})
	if err != nil || done.Replaced != 12 || done.Merged != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	checkFilled(t, s, table, want)
	if done, err = s.Compact(t.Context(), table.Name, CompactOptions{Grace: -1}); err != nil || done.Deleted != 12 {
		t.Fatalf("%+v, %v", done, err)
	}
	checkFilled(t, s, table, want)
	if err := s.place.createNew(t.Context(), table.Name+"/"+manifestDir+"/x", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.place.createNew(t.Context(), table.Name+"/"+manifestDir+"/x", nil); !errors.Is(err, errExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, size := range []int64{-1, 10, 2 * wholeObject} {
		o, err := s.place.open(t.Context(), "nothing", size)
		if err == nil {
			_, err = o.ReadAt(make([]byte, 1), 0)
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a name that is not there: %v", err)
		}
	}
	if err := errors.Join(s.place.remove(t.Context(), "nothing"), s.place.move(t.Context(), "nothing", "else")); err != nil {
		t.Errorf("what is not there is removed and moved: %v", err)
	}
	testLargeObject(t, s)
	if rows, err := s.Forget(t.Context(), table, Match{Columns: []int{0}, Values: []feature.Value{feature.StringValue("user1")}}); err != nil || rows == 0 {
		t.Errorf("%d rows are forgotten, %v", rows, err)
	}
	for _, r := range scanAll(t, s, table, offline.Query{Columns: allColumns(table)}) {
		if r.values[0].Str() == "user1" {
			t.Fatalf("%s is still there", r)
		}
	}
}

// brokenOff is the name of an object whose writing fails midway.
const brokenOff = "half"

// testLargeObject writes an object in pieces, which is read by ranges; one that fails midway is not there.
func testLargeObject(t *testing.T, s *Store) {
	content := make([]byte, wholeObject+100)
	for i := range content {
		content[i] = byte(i >> 10)
	}
	if err := s.place.create(t.Context(), "large", func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
		t.Fatal(err)
	}
	o, err := s.place.open(t.Context(), "large", -1)
	if err != nil || o.Size() != int64(len(content)) {
		t.Fatalf("%v, %v", o, err)
	}
	for _, at := range []int{0, 5000, wholeObject + 50} {
		got := make([]byte, 50)
		if n, err := o.ReadAt(got, int64(at)); n != 50 || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, content[at:at+50]) {
			t.Errorf("%d bytes at %d are %v, %v", n, at, got, err)
		}
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken off")
	err = s.place.create(t.Context(), brokenOff, func(w io.Writer) error {
		_, err := w.Write(content[:wholeObject/2])
		return errors.Join(err, broken)
	})
	if _, openErr := s.place.open(t.Context(), brokenOff, -1); !errors.Is(err, broken) || !errors.Is(openErr, os.ErrNotExist) {
		t.Errorf("what was broken off: %v, and it is there: %v", err, openErr)
	}
}

// TestBucketThatForbids: what a bucket refuses to delete, move, or show is an error, never taken for what is not there: forgetting would
// pass over it.
func TestBucketThatForbids(t *testing.T) {
	for scheme, open := range buckets {
		t.Run(scheme, func(t *testing.T) {
			s, f := open(t)
			if err := s.place.createNew(t.Context(), "x", []byte("x")); err != nil {
				t.Fatal(err)
			}
			f.forbid.Store(true)
			_, openErr := s.place.open(t.Context(), "x", -1)
			_, listErr := s.place.list(t.Context(), "")
			for what, err := range map[string]error{
				"remove": s.place.remove(t.Context(), "x"), "move": s.place.move(t.Context(), "x", "y"), "open": openErr, "list": listErr,
				"create": s.place.createNew(t.Context(), "y", nil),
			} {
				if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, errExists) || !strings.Contains(err.Error(), scheme+"://lake/plane/one/") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestBucketThatRefuses lets one in three changes fail, some of them after they have happened; whoever writes and compacts
// tries again.
func TestBucketThatRefuses(t *testing.T) {
	for scheme, open := range buckets {
		t.Run(scheme, func(t *testing.T) {
			s, f := open(t)
			testRefusals(t, s, f, scheme+"://lake/plane/one/events_orders/")
		})
	}
}

func testRefusals(t *testing.T, s *Store, f *front, names string) {
	table := testTable()
	f.refuse.Store(true)
	retry := func(what string, do func() error) {
		t.Helper()
		for range 100 {
			err := do()
			if err == nil {
				return
			}
			if !errors.Is(err, errChanged) && !strings.Contains(err.Error(), names) {
				t.Fatalf("%s: the error does not name the object: %v", what, err)
			}
		}
		t.Fatalf("%s never succeeds", what)
	}
	for first := int64(0); first < 300; first += 100 {
		r := orders(0, first, first+100)
		retry("write", func() error { return s.Write(t.Context(), table, r, rowsOf(r, 2)) })
	}
	want := sortedRows(rowsIn(rowsOf(orders(0, 0, 300), 2)))
	retry("compact", func() error {
		_, err := s.Compact(t.Context(), table.Name, CompactOptions{Grace: -1})
		if rows := scanAll(t, s, table, offline.Query{Columns: allColumns(table)}); len(rows) != len(want) {
			t.Fatalf("%d rows in the middle, want %d", len(rows), len(want))
		}
		return err
	})
	if f.refused.Load() < 5 {
		t.Errorf("only %d requests were refused", f.refused.Load())
	}
	same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table)}), want)
}
