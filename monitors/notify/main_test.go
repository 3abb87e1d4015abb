package notify

import (
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/monitors/alert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// message is a firing or resolved message of an episode.
func message(episode string, kind alert.Type) *alert.Message {
	suffix, status := "-firing", "firing"
	if kind == alert.ResolvedType {
		suffix, status = "-resolved", "resolved"
	}
	series := alert.Series{Kind: alert.Skew, Column: "distance", Slice: "carrier=AA"}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &alert.Message{ID: episode + suffix, Type: kind, Origin: "/freshet/flights", At: start.Add(time.Hour).UnixMicro(), Data: alert.Data{
		Episode: episode, Status: status, Monitor: "delays", Model: "delay", Class: alert.Values, Group: "flights", Count: 1,
		Summary: "delays: training-serving skew of distance (carrier=AA), source flights", StartedAt: alert.Stamp(start.UnixMicro()),
		Features: []alert.Feature{{Series: series, Since: alert.Stamp(start.UnixMicro()), Effect: .42, Threshold: .1}},
		Evidence: []alert.Evidence{{
			Series: series, Method: "jensen_shannon", Score: .43, Effect: .42, Threshold: .1, P: 1e-9, Current: alert.Sample{N: 5000, NEff: 1200},
			Reference: alert.Sample{N: 90000, NEff: 90000}, Movers: []alert.Mover{{Bin: "[1600, 2400)", Reference: .08, Current: .31}},
			Window: alert.Window{Start: start.UnixMicro(), End: start.Add(time.Hour).UnixMicro()}, Against: "baseline train-2026", Query: "freshet monitor report delays",
		}},
	}}
}

// roundTrip stands for a receiver, without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stubbed is a webhook channel whose receiver is a function.
func stubbed(t *testing.T, name string, f roundTrip) *Channel {
	t.Helper()
	c, err := NewWebhook(WebhookOptions{Name: name, URL: "https://receiver.example/" + name, Secrets: []Secret{testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	c.client.Transport = f
	return c
}

func answer(code int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: http.NoBody}
}
