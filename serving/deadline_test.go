package serving

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/freshet-io/freshet/internal/online"
	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
	typespb "github.com/freshet-io/freshet/serving/feastpb/feast/types"
)

// hangingLookups returns lookups over a Redis that takes every read and answers none.
func hangingLookups(t *testing.T, url string, opts Options) *Lookups {
	t.Helper()
	_, s, p := setup(t, Options{})
	m := miniredis.RunT(t)
	c := openRedis(t, "redis://"+m.Addr()+url, online.Options{Embedded: true}, s)
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	m.Server().SetPreHook(func(_ *server.Peer, cmd string, _ ...string) bool {
		if strings.EqualFold(cmd, "HMGET") {
			<-ended
		}
		return false
	})
	l, err := New(p, c, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A Redis that is there and too slow is told from one that is away: the request's time is up.
func TestASlowRedisIsADeadline(t *testing.T) {
	f := func(url string, opts Options, code codes.Code, kind Kind, message string) {
		t.Helper()
		l := hangingLookups(t, url, opts)
		w := post(t, l, `{"features":["carrier_delays:last_dest"],"entities":{"carrier":["AA"]}}`)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), message) {
			t.Errorf("HTTP answers %d: %s; want %s", w.Code, w.Body, message)
		}
		_, err := servingpb.NewServingServiceClient(dial(t, l)).GetOnlineFeatures(t.Context(), &servingpb.GetOnlineFeaturesRequest{
			Kind:     byFeatures("carrier_delays:last_dest"),
			Entities: map[string]*typespb.RepeatedValue{"carrier": repeated(str("AA"))},
		})
		if status.Code(err) != code || !strings.Contains(err.Error(), message) {
			t.Errorf("gRPC answers %v; want %s: %s", err, code, message)
		}
		for face, name := range faceNames {
			if n := testutil.ToFloat64(l.metrics.failures[face][kind]); n != 1 {
				t.Errorf("%s has counted %v lookups as %s, want 1", name, n, kind)
			}
		}
	}
	f("", Options{Timeout: 50 * time.Millisecond}, codes.DeadlineExceeded, Deadline, "did not answer in time")
	// The connection gives up long before the request does: that is the store's failure.
	f("?read_timeout=50ms", Options{Timeout: 10 * time.Second}, codes.Unavailable, Unavailable, "is not available")
}
