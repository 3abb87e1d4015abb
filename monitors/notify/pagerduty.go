package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// PagerDutyOptions are of a channel that posts to PagerDuty's Events API v2 (PagerDuty/developer-docs, events-API-v2).
type PagerDutyOptions struct {
	Name       string
	RoutingKey Secret // of the integration, 32 characters
	Severity   string // critical, error, warning (default) or info
	URL        string // default https://events.pagerduty.com/v2/enqueue; that of the EU differs
	Network    Network
}

const (
	pagerDutyURL = "https://events.pagerduty.com/v2/enqueue"
	pdSummary    = 1024
	pdKey        = 255
)

var pdSeverities = []string{"critical", "error", "warning", "info"}

type pdEvent struct {
	RoutingKey string     `json:"routing_key"`
	Action     string     `json:"event_action"`
	DedupKey   string     `json:"dedup_key"`
	Client     string     `json:"client,omitempty"`
	Payload    *pdPayload `json:"payload,omitempty"`
}

type pdPayload struct {
	Summary   string      `json:"summary"`
	Source    string      `json:"source"`
	Severity  string      `json:"severity"`
	Timestamp alert.Stamp `json:"timestamp"`
	Component string      `json:"component,omitempty"`
	Group     string      `json:"group,omitempty"`
	Class     string      `json:"class,omitempty"`
	Details   alert.Data  `json:"custom_details"`
}

// NewPagerDuty returns the channel.
func NewPagerDuty(o PagerDutyOptions) (*Channel, error) {
	o.Severity, o.URL = cmp.Or(o.Severity, "warning"), cmp.Or(o.URL, pagerDutyURL)
	if len(o.RoutingKey) != 32 {
		return nil, fmt.Errorf("channel %q (pagerduty): its routing key has %d characters, want 32", o.Name, len(o.RoutingKey))
	}
	if !slices.Contains(pdSeverities, o.Severity) {
		return nil, fmt.Errorf("channel %q (pagerduty): no severity %q, there are %v", o.Name, o.Severity, pdSeverities)
	}
	c, u, err := newChannel(o.Name, pagerDutyKind, Secret(o.URL), o.Network, []Secret{o.RoutingKey})
	if err != nil {
		return nil, err
	}
	c.target = fingerprint(pagerDutyKind.name, o.URL, string(o.RoutingKey))
	c.render = func(m *alert.Message, _ time.Time) (*http.Request, error) {
		body, err := json.Marshal(pdOf(m, &o))
		if err != nil {
			return nil, err
		}
		return post(u, "application/json", body)
	}
	return c, nil
}

// pdOf is a message as PagerDuty's event: the episode is what it opens and closes an incident by.
func pdOf(m *alert.Message, o *PagerDutyOptions) pdEvent {
	e := pdEvent{RoutingKey: string(o.RoutingKey), Action: "trigger", DedupKey: cut(m.Episode, pdKey), Client: "Freshet"}
	if m.Type == alert.ResolvedType {
		e.Action = "resolve"
	}
	e.Payload = &pdPayload{
		Summary: cut(m.Summary, pdSummary), Source: cmp.Or(m.Group, m.Monitor), Severity: o.Severity, Timestamp: m.StartedAt,
		Component: m.Model, Group: m.Monitor, Class: string(m.Class), Details: m.Data,
	}
	return e
}
