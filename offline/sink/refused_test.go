package sink_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

// bucketFront stands before a bucket and answers what changes it with a status, 0 is none.
type bucketFront struct {
	handler http.Handler
	status  atomic.Int64
	refused atomic.Int64
}

func (f *bucketFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := int(f.status.Load())
	if status == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		f.handler.ServeHTTP(w, r)
		return
	}
	f.refused.Add(1)
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(status)
}

// text is a log that is read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), part)
}

// filesHave reports how the rows of the files differ from those of a sink that nothing disturbed; "" if they do not.
func (w *world) filesHave(store *parquet.Store) string {
	table := offline.Tables(w.plane)[0]
	columns := make([]int, len(table.Columns))
	for i := range columns {
		columns[i] = i
	}
	var got, want []string
	err := store.Scan(w.t.Context(), table, offline.Query{Columns: columns}, func(_ int, b *offline.Batch) error {
		for i := range b.Len() {
			got = append(got, fmt.Sprintf("%d %v %+v", b.Meta[i].Offset, b.Row(i), b.Meta[i]))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store.mu.Lock()
	for _, rows := range w.store.ranges {
		want = append(want, rows...)
	}
	w.store.mu.Unlock()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Sprintf("%d rows in the files, %d are right", len(got), len(want))
	}
	return ""
}

// TestABucketThatRefuses: forbidden, then overloaded, then mended; meanwhile status, metrics and log say what is wrong, and then each
// record is there once.
func TestABucketThatRefuses(t *testing.T) {
	w := newWorld(t)
	backend := s3mem.New()
	if err := backend.CreateBucket("lake"); err != nil {
		t.Fatal(err)
	}
	front := &bucketFront{handler: gofakes3.New(backend).Server()}
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	store, err := parquet.Open(t.Context(), config.Secret("s3://lake/plane?region=eu-central-1&use_path_style=true&endpoint="+server.URL), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	w.produce(rand.New(rand.NewPCG(7, 7)), 100)
	w.start()
	w.check()
	log := &text{}
	i := w.startOn("parquet", store, slog.New(slog.NewTextHandler(log, nil)))
	until(t, "what came before", func() bool { return w.filesHave(store) == "" && i.Ready() == nil })

	front.status.Store(http.StatusForbidden)
	w.produce(rand.New(rand.NewPCG(9, 9)), 200)
	w.check()
	for _, status := range []int{http.StatusForbidden, http.StatusServiceUnavailable} {
		front.status.Store(int64(status))
		before := front.refused.Load()
		until(t, fmt.Sprint("a refusal with ", status), func() bool {
			err := i.Ready()
			return front.refused.Load() > before && err != nil && strings.Contains(err.Error(), "s3://lake/plane/events_orders/") && strings.Contains(err.Error(), fmt.Sprint(status))
		})
	}
	until(t, "the log and the metrics to tell of it", func() bool {
		return log.has("a table waits to be filled") && log.has("s3://lake/plane/events_orders/") &&
			i.metric(t, "freshet_offline_retries_total") > 0 && i.metric(t, "freshet_offline_lag_records") > 0
	})
	front.status.Store(0)
	until(t, "each record once", func() bool { return w.filesHave(store) == "" })
	until(t, "readiness", func() bool { return i.Ready() == nil })
}
