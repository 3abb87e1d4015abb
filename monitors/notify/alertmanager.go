package notify

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// AlertmanagerOptions are of a channel that posts to an Alertmanager's /api/v2/alerts, which groups, routes and silences
// on its own.
type AlertmanagerOptions struct {
	Name string
	// URL is the Alertmanager's address, as http://alertmanager:9093. Its host may be private, as is usual: the definition
	// names it. Addresses of metadata services stay blocked.
	URL     string
	Labels  map[string]string // added to every alert, as severity: page
	Network Network
}

// endsAhead is how far ahead of a sending a firing alert ends: as Prometheus does, some resends may be lost.
const endsAhead = 5 * time.Minute

// amAlert is one alert of the API, github.com/prometheus/alertmanager api/v2/openapi.yaml, postableAlert. Labels are the
// identity: they must be the same from firing to resolved.
type amAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

var alertNames = map[alert.Class]string{
	alert.Values: "FreshetDrift", alert.Performing: "FreshetModelQuality", alert.Availability: "FreshetNoData",
}

// NewAlertmanager returns the channel.
func NewAlertmanager(o AlertmanagerOptions) (*Channel, error) {
	var implied []string
	if u, err := url.Parse(o.URL); err == nil && u.Hostname() != "" {
		implied = append(implied, u.Hostname())
	}
	c, u, err := newChannel(o.Name, alertmanagerKind, Secret(o.URL), o.Network, nil, implied...)
	if err != nil {
		return nil, err
	}
	u = u.JoinPath("api", "v2", "alerts")
	c.render = func(m *alert.Message, now time.Time) (*http.Request, error) {
		body, err := json.Marshal([]amAlert{amOf(m, o.Labels, now)})
		if err != nil {
			return nil, err
		}
		return post(u, "application/json", body)
	}
	return c, nil
}

func amOf(m *alert.Message, extra map[string]string, now time.Time) amAlert {
	a := amAlert{Labels: map[string]string{}, StartsAt: m.StartedAt.Time(), EndsAt: now.Add(endsAhead).UTC()}
	for k, v := range extra {
		a.Labels[k] = v
	}
	a.Labels["alertname"] = cmp.Or(alertNames[m.Class], "FreshetAlert")
	for k, v := range map[string]string{"monitor": m.Monitor, "model": m.Model, "class": string(m.Class), "source": m.Group, "episode": m.Episode} {
		if v != "" { // an empty label is none
			a.Labels[k] = v
		}
	}
	if m.Type == alert.ResolvedType {
		a.EndsAt = now.UTC() // by its clock, not by the stream's, which may be behind or ahead
	}
	if a.StartsAt.After(now) || a.StartsAt.After(a.EndsAt) {
		a.StartsAt = now.UTC()
	}
	names := make([]string, 0, len(m.Features))
	for _, f := range m.Features[:min(len(m.Features), 50)] {
		names = append(names, seriesName(f.Series))
	}
	a.Annotations = map[string]string{"summary": m.Summary, "features": strings.Join(names, ", "), "feature_count": strconv.Itoa(m.Count)}
	if text := evidenceText(m); text != "" {
		a.Annotations["description"] = text
	}
	return a
}
