package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/alert"
)

// amNotification is what an Alertmanager posts to a webhook, as far as the test reads it.
type amNotification struct {
	Status string `json:"status"`
	Alerts []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"alerts"`
}

// TestRealAlertmanagerShowsTheAlertAndItsResolve runs both through a real Alertmanager to a receiver behind it.
func TestRealAlertmanagerShowsTheAlertAndItsResolve(t *testing.T) {
	told := make(chan amNotification, 100)
	behind := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var n amNotification
		if err := json.Unmarshal(body, &n); err != nil {
			t.Error(err)
		}
		told <- n
	}))
	defer behind.Close()
	am := testenv.StartAlertmanager(t, behind.URL)
	c, err := NewAlertmanager(AlertmanagerOptions{Name: "am", URL: am.URL(), Labels: map[string]string{"severity": "page"}})
	if err != nil {
		t.Fatal(err)
	}
	d, stop := running(t, &Memory{}, c)
	defer stop()
	offer(t, d, message("ep_1", alert.FiringType), "am")
	n := await(t, told, "firing")
	labels := n.Alerts[0].Labels
	for name, want := range map[string]string{
		"alertname": "FreshetDrift", "monitor": "delays", "model": "delay", "class": "values", "source": "flights", "episode": "ep_1", "severity": "page",
	} {
		if labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, labels[name], want)
		}
	}
	if a := n.Alerts[0].Annotations; a["features"] != "distance (carrier=AA) skew" || a["summary"] == "" || a["description"] == "" {
		t.Errorf("annotations %q", a)
	}
	if got := shown(t, am.URL()); len(got) != 1 || got[0].Status.State != "active" || time.Until(got[0].EndsAt) < 4*time.Minute {
		t.Errorf("it shows %+v, want one active alert that ends in five minutes", got)
	}
	offer(t, d, message("ep_1", alert.ResolvedType), "am")
	if n := await(t, told, "resolved"); n.Alerts[0].Labels["episode"] != "ep_1" {
		t.Errorf("resolved %+v", n)
	}
	if got := shown(t, am.URL()); len(got) != 0 {
		t.Errorf("it still shows %+v", got)
	}
}

func await(t *testing.T, told <-chan amNotification, status string) amNotification {
	t.Helper()
	select {
	case n := <-told:
		if n.Status != status || len(n.Alerts) != 1 {
			t.Fatalf("told of %+v, want one %s alert", n, status)
		}
		return n
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s notification", status)
	}
	panic("unreachable")
}

type amShown struct {
	Status struct{ State string }
	EndsAt time.Time
}

// shown are the alerts that an Alertmanager has now.
func shown(t *testing.T, address string) []amShown {
	t.Helper()
	resp, err := http.Get(address + "/api/v2/alerts?filter=" + url.QueryEscape(`episode="ep_1"`))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	var out []amShown
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
