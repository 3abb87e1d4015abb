package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

// The bounds of a monitor's windows.
const (
	minMonitorWindow = time.Minute
	maxMonitorWindow = 366 * 24 * time.Hour
	maxWindowSteps   = 1000   // of one window
	maxReachSteps    = 20_000 // from the end of a window to the beginning of what it is compared with
	defaultGrace     = 10 * time.Second
)

// monitoring resolves models, baselines, channels and monitors.
func (r *resolver) monitoring() {
	r.env.lax = true // a definition can be checked where its channels' secrets are not; a process that sends needs them
	defer func() { r.env.lax = false }()
	s := r.spec
	for i := range s.Models {
		r.model(&s.Models[i])
	}
	for i := range s.Baselines {
		r.baseline(&s.Baselines[i])
	}
	for i := range s.Channels {
		r.channel(&s.Channels[i])
	}
	known := names{kind: "monitor"}
	for i := range s.Monitors {
		m := &s.Monitors[i]
		r.name("monitor", m.Name)
		known.add(r.issues, m.Name)
		r.monitor(m)
	}
}

func (r *resolver) baseline(s *baselineSpec) {
	r.name("baseline", s.Name)
	added := r.baselineNames.add(r.issues, s.Name)
	m, ok := lookup(r, s.Model, r.models, &r.modelNames)
	if !ok || !added {
		return
	}
	for _, b := range r.plane.Baselines {
		if b.Model == m && b.Version == s.Version.V {
			r.errorf(s.Name.Pos, "baselines %s and %s are of the same version of model %s", b.Name, s.Name.V, m.Name)
			return
		}
	}
	b := &Baseline{Name: s.Name.V, Model: m, Version: s.Version.V}
	r.baselines[b.Name] = b
	r.plane.Baselines = append(r.plane.Baselines, b)
}

func (r *resolver) channel(s *channelSpec) {
	r.name("channel", s.Name)
	added := r.channelNames.add(r.issues, s.Name)
	c := &Channel{Name: s.Name.V}
	kinds := 0
	if w := s.Webhook; w != nil {
		kinds++
		c.Kind = "webhook"
		c.URL, _ = r.env.address("webhook.url", w.URL, "https://", "http://")
		c.Secrets = append(c.Secrets, r.env.secret("webhook.secret", w.Secret))
		if w.Previous.Set {
			c.Secrets = append(c.Secrets, r.env.secret("webhook.previous_secret", w.Previous))
		}
		for _, a := range w.Allow {
			if _, err := netip.ParsePrefix(a.V); a.Set && err != nil && strings.ContainsAny(a.V, "/: ") {
				r.errorf(a.Pos, "webhook.allow takes host names and networks like 10.1.0.0/16, not %q", a.V)
			}
			c.Allow = append(c.Allow, a.V)
		}
	}
	if s.Alertmanager != nil {
		kinds++
		c.Kind = "alertmanager"
		c.URL, _ = r.env.address("alertmanager.url", s.Alertmanager.URL, "https://", "http://")
	}
	if s.Slack != nil {
		kinds++
		c.Kind, c.URL = "slack", r.env.secret("slack.url", s.Slack.URL)
	}
	if s.PagerDuty != nil {
		kinds++
		c.Kind, c.RoutingKey = "pagerduty", r.env.secret("pagerduty.routing_key", s.PagerDuty.RoutingKey)
	}
	if kinds != 1 && s.Name.Set {
		r.errorf(s.Name.Pos, "channel %q must have one of webhook, alertmanager, slack and pagerduty, and has %d", s.Name.V, kinds)
	}
	if added {
		r.channels[c.Name] = c
		r.plane.Channels = append(r.plane.Channels, c)
	}
}

func (r *resolver) monitor(s *monitorSpec) {
	before := len(r.errors)
	model, _ := lookup(r, s.Model, r.models, &r.modelNames)
	m := &Monitor{Name: s.Name.V, Description: s.Description.V, Model: model, Grace: defaultGrace, FalseAlarms: 1, MinSample: 1000, For: 2}
	r.monitorChecks(s)
	r.monitorBaseline(s, m)
	r.monitorWindow(s, m)
	r.checks(s, m)
	r.threshold(s.Threshold, s.Numeric.V, s.Categorical.V)
	if s.FalseAlarms.Set {
		m.FalseAlarms = s.FalseAlarms.V.perMonth()
	}
	if s.MinSample.Set {
		if m.MinSample = s.MinSample.V; m.MinSample < 1 {
			r.errorf(s.MinSample.Pos, "min_sample must be at least 1")
		}
	}
	if s.For.Set {
		if m.For = s.For.V; m.For < 1 || m.For > 100 {
			r.errorf(s.For.Pos, "for must be from 1 to 100")
		}
	}
	r.valueSkew(s, m)
	r.monitorFeatures(s, m)
	if s.Performance != nil && model != nil {
		r.performance(s, m)
	}
	for _, c := range s.Channels {
		if ch, ok := lookup(r, c, r.channels, &r.channelNames); ok {
			m.Channels = append(m.Channels, ch)
		}
	}
	if model != nil && len(r.errors) == before {
		r.plane.Monitors = append(r.plane.Monitors, m)
	}
}

// monitorChecks are the parts of a monitor of which it needs at least one: without any it would judge nothing.
var monitorChecks = []struct {
	name  string
	given func(*monitorSpec) bool
}{
	{"skew", func(s *monitorSpec) bool { return s.Skew != nil }},
	{"drift", func(s *monitorSpec) bool { return s.Drift != nil }},
	{"quality", func(s *monitorSpec) bool { return s.Quality != nil }},
	{"volume", func(s *monitorSpec) bool { return s.Volume != nil }},
	{"performance", func(s *monitorSpec) bool { return s.Performance != nil }},
	{"freshness", func(s *monitorSpec) bool { return len(s.Freshness) > 0 }},
}

func (r *resolver) monitorChecks(s *monitorSpec) {
	var names []string
	for _, c := range monitorChecks {
		if c.given(s) {
			return
		}
		names = append(names, c.name)
	}
	if s.Name.Set {
		r.errorf(s.Name.Pos, "monitor %q checks nothing: give it at least one of %s", s.Name.V, strings.Join(names, ", "))
	}
}

// monitorBaseline finds whose bins the monitor's profiles have: those of its own baseline, else the model's first.
func (r *resolver) monitorBaseline(s *monitorSpec, m *Monitor) {
	if s.Skew != nil && s.Skew.Baseline.Set {
		at := s.Skew.Baseline
		b, ok := lookup(r, at, r.baselines, &r.baselineNames)
		if ok && m.Model != nil && b.Model != m.Model {
			r.errorf(at.Pos, "baseline %q is of model %s; the monitor watches %s", b.Name, b.Model.Name, m.Model.Name)
		}
		m.Bins, m.Skew, m.Sequential = b, true, s.Skew.Sequential.V
		return
	}
	var at Pos
	switch {
	case m.Model == nil:
		return
	case s.Drift != nil:
		at = s.Drift.Against.Pos
	case s.Quality != nil:
		at = s.Quality.Pos
	case s.Volume != nil:
		at = s.Volume.Pos
	default:
		return
	}
	for _, b := range r.plane.Baselines {
		if b.Model == m.Model {
			m.Bins = b
			return
		}
	}
	r.errorf(at, "model %s has no baseline, and the bins of its profiles are a baseline's: add one to baselines", m.Model.Name)
}

// monitorWindow resolves the window, and what it is compared with, in whole steps.
func (r *resolver) monitorWindow(s *monitorSpec, m *Monitor) {
	before := len(r.errors)
	if w := s.Window; w != nil {
		r.interval("window.size", w.Size, minMonitorWindow, maxMonitorWindow, &m.Size)
		m.Every = m.Size
		r.interval("window.every", w.Every, time.Second, maxMonitorWindow, &m.Every)
		r.interval("window.grace", w.Grace, 0, maxMonitorWindow, &m.Grace)
		if m.Size > 0 && m.Every > m.Size {
			r.errorf(w.Every.Pos, "window.every %s is longer than window.size %s: events between windows would not be seen",
				formatDuration(m.Every), formatDuration(m.Size))
		}
	}
	if s.Drift != nil && s.Drift.Against.Set {
		if m.Against = s.Drift.Against.V; m.Against < m.Size {
			r.errorf(s.Drift.Against.Pos, "drift.against %s is shorter than window.size %s: the windows would overlap",
				formatDuration(m.Against), formatDuration(m.Size))
		}
	}
	if len(r.errors) > before || m.Every <= 0 || m.Size <= 0 {
		return
	}
	switch {
	case m.Every%time.Second != 0:
		r.errorf(s.Window.Every.Pos, "window.every must be whole seconds")
	case m.Size%m.Every != 0:
		r.errorf(s.Window.Every.Pos, "window.size %s is not a whole number of window.every %s", formatDuration(m.Size), formatDuration(m.Every))
	case m.Size/m.Every > maxWindowSteps:
		r.errorf(s.Window.Every.Pos, "window.size %s is more than %d steps of window.every %s", formatDuration(m.Size), maxWindowSteps, formatDuration(m.Every))
	case m.Against%m.Every != 0:
		r.errorf(s.Drift.Against.Pos, "drift.against %s is not a whole number of window.every %s", formatDuration(m.Against), formatDuration(m.Every))
	case (m.Size+m.Against)/m.Every > maxReachSteps:
		r.errorf(s.Drift.Against.Pos, "drift.against %s reaches back more than %d steps of window.every %s", formatDuration(m.Against), maxReachSteps, formatDuration(m.Every))
	}
}

// bounded are the distances that are never above 1; "" is the default.
var bounded = []string{"", "jensen_shannon", "ks", "hellinger", "total_variation", "l_infinity"}

// Bounded reports whether a distance is never above 1.
func Bounded(method string) bool { return slices.Contains(bounded, method) }

// threshold checks an effect size against the range of the methods that it is for.
func (r *resolver) threshold(t At[float64], methods ...string) {
	if !t.Set {
		return
	}
	if t.V <= 0 {
		r.errorf(t.Pos, "threshold must be above 0")
		return
	}
	for _, m := range methods {
		if !Bounded(m) {
			return
		}
	}
	if t.V >= 1 {
		r.errorf(t.Pos, "threshold must be below 1, which this distance never exceeds")
	}
}

// defaultThreshold is an effect that people would call a change: a mean that moved by a quarter of a standard deviation
// has a jensen_shannon of 0.1.
const (
	defaultMethod    = "jensen_shannon"
	defaultThreshold = 0.1
)

// monitorFeatures lists the monitor's columns: every column of its model, with the methods and thresholds given.
func (r *resolver) monitorFeatures(s *monitorSpec, m *Monitor) {
	own := map[string]monitorFeatureSpec{}
	var columns []string
	if m.Model != nil {
		for _, c := range m.Model.Columns {
			columns = append(columns, c.Name)
		}
	}
	seen := names{kind: "monitored feature"}
	for _, f := range s.Features {
		if seen.add(r.issues, f.Name) && m.Model != nil && !slices.Contains(columns, f.Name.V) {
			r.errorf(f.Name.Pos, "feature service %s of model %s has no feature %q%s", m.Model.Service.Name, m.Model.Name, f.Name.V, spell.Suggest(f.Name.V, columns))
		}
		own[f.Name.V] = f
	}
	if m.Model == nil {
		return
	}
	for i, c := range m.Model.Columns {
		w := Watched{Column: i, Method: defaultMethod, Threshold: defaultThreshold}
		numeric := c.Type == feature.Float64 || c.Type == feature.Int64
		if method := pick(numeric, s.Numeric, s.Categorical); method.Set {
			w.Method = method.V
		}
		if s.Threshold.Set {
			w.Threshold = s.Threshold.V
		}
		if f := own[c.Name]; f.Method.Set {
			w.Method = f.Method.V
			if !numeric && slices.Contains([]string{"ks", "wasserstein"}, w.Method) {
				r.errorf(f.Method.Pos, "%s needs an order of values, and feature %q is a %s", w.Method, c.Name, c.Type)
			}
		}
		if f := own[c.Name]; f.Threshold.Set {
			r.threshold(f.Threshold, w.Method)
			w.Threshold = f.Threshold.V
		}
		m.Columns = append(m.Columns, w)
	}
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
