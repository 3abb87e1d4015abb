package serving

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
	typespb "github.com/freshet-io/freshet/serving/feastpb/feast/types"
)

// samples returns how many observations each series of a histogram has, those that have any, one a line.
func samples(t *testing.T, reg *prometheus.Registry, name string) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() { // sorted by their labels
			if n := m.GetHistogram().GetSampleCount(); n > 0 {
				for _, l := range m.GetLabel() {
					fmt.Fprintf(&b, "%s=%s ", l.GetName(), l.GetValue())
				}
				fmt.Fprintln(&b, n)
			}
		}
	}
	return b.String()
}

func TestLookupsAreTimedByServiceAndOutcome(t *testing.T) {
	reg := prometheus.NewRegistry()
	l, s, _ := setup(t, Options{Registerer: reg})
	const service = `{"feature_service":"delay_model","entities":{"carrier":["AA"],"origin":["JFK"],"dest":["LAX"],"distance":[4],"stops":[1]}}`
	const byName = `{"features":["carrier_delays:last_dest"],"entities":{"carrier":["AA"]}}`
	post(t, l, service)
	post(t, l, service)
	post(t, l, byName)
	post(t, l, `{"feature_service":"made_up_by_a_client","entities":{"carrier":["AA"]}}`)
	post(t, l, `{"feature_service":"delay_model","entities":{"carrier":["AA"]}}`)
	post(t, l, `{"features":[`)
	s.fail = context.DeadlineExceeded
	post(t, l, service)
	_, err := servingpb.NewServingServiceClient(dial(t, l)).GetOnlineFeatures(t.Context(), &servingpb.GetOnlineFeaturesRequest{
		Kind: byFeatures("carrier_delays:last_dest"), Entities: map[string]*typespb.RepeatedValue{"carrier": repeated(str("AA"))},
	})
	if err == nil {
		t.Error("gRPC answers from a store that fails")
	}
	want := `face=grpc outcome=deadline service= 1
face=http outcome=deadline service=delay_model 1
face=http outcome=invalid service= 2
face=http outcome=not_found service= 1
face=http outcome=ok service= 1
face=http outcome=ok service=delay_model 2
`
	if got := samples(t, reg, "freshet_lookup_seconds"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A view's time stands under the status that tells most against it, of all entities of the lookup.
func TestLookupsAreTimedByViewAndWorstStatus(t *testing.T) {
	reg := prometheus.NewRegistry()
	l, s, p := setup(t, Options{Registerer: reg})
	s.put(t, p, "carrier_delays", []any{"B6"}, event{at: ago(time.Minute), in: []any{0, absent{}, 0, nil}})
	f := func(carriers string) {
		t.Helper()
		if w := post(t, l, `{"features":["carrier_delays:last_dest","user_profile:visits"],"entities":{"user_id":[`+
			"1001"+strings.Repeat(",1001", strings.Count(carriers, ","))+`],"carrier":[`+carriers+`]}}`); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	f(`"AA"`)
	f(`"AA","B6"`)
	f(`"UA","B6"`)
	f(`"UA","ZZ","AA"`)
	f(`"ZZ"`)
	s.fail = context.DeadlineExceeded
	post(t, l, `{"features":["carrier_delays:last_dest"],"entities":{"carrier":["AA"]}}`)
	want := `status=NOT_FOUND view=carrier_delays 2
status=NULL_VALUE view=carrier_delays 1
status=OUTSIDE_MAX_AGE view=carrier_delays 1
status=PRESENT view=carrier_delays 1
status=PRESENT view=user_profile 5
`
	if got := samples(t, reg, "freshet_lookup_view_seconds"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Counting an answered lookup allocates nothing.
func TestCountingALookupAllocatesNothing(t *testing.T) {
	l, _, _ := setup(t, Options{Registerer: prometheus.NewRegistry()})
	pl, failed := l.planner.resolve(&shape{features: []string{"carrier_delays:last_dest"}, columns: []string{"carrier"}})
	if failed != nil {
		t.Fatal(failed)
	}
	b := l.begin(pl)
	defer l.end(b)
	b.columns[0] = append(b.columns[0], valueOf(t, "AA"))
	if failed := b.run(t.Context(), l); failed != nil {
		t.Fatal(failed)
	}
	start := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		b.count(time.Since(start))
		l.metrics.done(faceHTTP, start, answered{plan: pl, rows: 1}, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
