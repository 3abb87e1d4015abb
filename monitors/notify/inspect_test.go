package notify

import (
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/monitors/alert"
)

// What a dispatcher kept reads as what it shows itself.
func TestInspectShowsWhatADispatcherKept(t *testing.T) {
	var store Memory
	c := stubbed(t, "a", func(*http.Request) (*http.Response, error) { return nil, errors.New("away") })
	d, err := New(t.Context(), Options{Channels: []*Channel{c}, Store: &store, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []alert.Type{alert.FiringType, alert.ResolvedType} {
		if err := d.Offer(t.Context(), message("ep_1", kind), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	started, _ := d.begin()
	for _, s := range started {
		d.attempt(t.Context(), s)
	}
	if err := d.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, _ := store.Load(t.Context())
	got, endpoints, err := Inspect(records)
	if err != nil {
		t.Fatal(err)
	}
	want := d.Deliveries()
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] || got[0].Attempts != 1 || got[0].Error == "" {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(endpoints) != 1 || endpoints[0].Channel != "a" || endpoints[0].Failures != 1 || endpoints[0].Disabled {
		t.Errorf("endpoints %+v", endpoints)
	}
	if _, _, err := Inspect([]Record{{Key: "delivery/a", Value: []byte("{}")}}); err == nil {
		t.Error("a record of no version is read")
	}
}
