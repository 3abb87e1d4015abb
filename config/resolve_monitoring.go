package config

import (
	"slices"
	"time"

	"github.com/freshet-io/freshet/internal/spell"
)

// The bounds of a monitor's windows.
const (
	minMonitorWindow = time.Minute
	maxMonitorWindow = 366 * 24 * time.Hour
)

// monitoring checks models, baselines, channels and monitors. Nothing of them is in the Plane yet: this version holds
// them to their rules and says once a section that it does not run them.
func (r *resolver) monitoring() {
	r.env.lax = true
	defer func() { r.env.lax = false }()
	s := r.spec
	for i := range s.Models {
		r.model(&s.Models[i])
	}
	baselineModel := map[string]string{}
	for i := range s.Baselines {
		b := &s.Baselines[i]
		r.name("baseline", b.Name)
		added := r.baselineNames.add(r.issues, b.Name)
		if _, ok := lookup(r, b.Model, r.models, &r.modelNames); ok && added {
			baselineModel[b.Name.V] = b.Model.V
		}
	}
	for i := range s.Channels {
		r.channel(&s.Channels[i])
	}
	known := names{kind: "monitor"}
	for i := range s.Monitors {
		m := &s.Monitors[i]
		r.name("monitor", m.Name)
		known.add(r.issues, m.Name)
		r.monitor(m, baselineModel)
	}
	r.notRun("models", len(s.Models), func() Pos { return s.Models[0].Pos })
	r.notRun("baselines", len(s.Baselines), func() Pos { return s.Baselines[0].Pos })
	r.notRun("monitors", len(s.Monitors), func() Pos { return s.Monitors[0].Pos })
	r.notRun("channels", len(s.Channels), func() Pos { return s.Channels[0].Pos })
}

func (r *resolver) notRun(section string, n int, first func() Pos) {
	if n > 0 {
		r.warnf(first(), "this version checks %s and does not run them", section)
	}
}

func (r *resolver) model(s *modelSpec) {
	r.name("model", s.Name)
	added := r.modelNames.add(r.issues, s.Name)
	svc, ok := lookup(r, s.Service, r.services, &r.serviceNames)
	if added && ok {
		r.models[s.Name.V] = svc
	}
	if inf := s.Inferences; inf != nil {
		r.modelTopic(inf.Topic)
		slices := names{kind: "slice"}
		for _, sl := range inf.Slices {
			slices.add(r.issues, sl)
		}
		if et := inf.EventTime; et != nil && et.Zone.Set {
			if _, err := time.LoadLocation(et.Zone.V); err != nil || et.Zone.V == "Local" || et.Zone.V == "" {
				r.errorf(et.Zone.Pos, "unknown time zone %q; give an IANA name such as Europe/Berlin or UTC", et.Zone.V)
			}
		}
		if s.Labels != nil && !inf.ID.Set {
			r.errorf(s.Labels.ID.Pos, "labels need an id in inferences to be joined by")
		}
	}
	if l := s.Labels; l != nil {
		r.modelTopic(l.Topic)
		var within time.Duration
		r.interval("within", l.Within, time.Second, maxMonitorWindow, &within)
	}
}

// modelTopic checks a topic's name; several models may share a topic.
func (r *resolver) modelTopic(a At[string]) {
	if a.Set && !topicName.MatchString(a.V) {
		r.errorf(a.Pos, "topic name %q is not allowed: letters, digits, dots, - and _ only, at most 200", a.V)
	}
}

func (r *resolver) channel(s *channelSpec) {
	r.name("channel", s.Name)
	r.channelNames.add(r.issues, s.Name)
	kinds := 0
	if s.Webhook != nil {
		kinds++
		r.env.address("webhook.url", s.Webhook.URL, "https://", "http://")
		r.env.secret("webhook.secret", s.Webhook.Secret)
	}
	if s.Alertmanager != nil {
		kinds++
		r.env.address("alertmanager.url", s.Alertmanager.URL, "https://", "http://")
	}
	if s.Slack != nil {
		kinds++
		r.env.secret("slack.url", s.Slack.URL)
	}
	if s.PagerDuty != nil {
		kinds++
		r.env.secret("pagerduty.routing_key", s.PagerDuty.RoutingKey)
	}
	if kinds != 1 && s.Name.Set {
		r.errorf(s.Name.Pos, "channel %q must have one of webhook, alertmanager, slack and pagerduty, and has %d", s.Name.V, kinds)
	}
}

func (r *resolver) monitor(s *monitorSpec, baselineModel map[string]string) {
	svc, _ := lookup(r, s.Model, r.models, &r.modelNames)
	var size time.Duration
	if w := s.Window; w != nil {
		r.interval("window.size", w.Size, minMonitorWindow, maxMonitorWindow, &size)
		every := size
		r.interval("window.every", w.Every, time.Second, maxMonitorWindow, &every)
		if size > 0 && every > size {
			r.errorf(w.Every.Pos, "window.every %s is longer than window.size %s: events between windows would not be seen",
				formatDuration(every), formatDuration(size))
		}
	}
	if s.Skew == nil && s.Drift == nil && s.Name.Set {
		r.errorf(s.Name.Pos, "monitor %q compares with nothing: give it skew, drift or both", s.Name.V)
	}
	if s.Skew != nil && s.Skew.Baseline.Set {
		b := s.Skew.Baseline
		if _, ok := r.baselineNames.first[b.V]; !ok {
			r.errorf(b.Pos, "unknown baseline %q%s", b.V, spell.Suggest(b.V, r.baselineNames.sorted()))
		} else if m := baselineModel[b.V]; s.Model.Set && m != "" && m != s.Model.V {
			r.errorf(b.Pos, "baseline %q is of model %s; the monitor watches %s", b.V, m, s.Model.V)
		}
	}
	if s.Drift != nil && s.Drift.Against.Set && s.Drift.Against.V < size {
		r.errorf(s.Drift.Against.Pos, "drift.against %s is shorter than window.size %s: the windows would overlap",
			formatDuration(s.Drift.Against.V), formatDuration(size))
	}
	r.threshold(s.Threshold, s.Numeric.V, s.Categorical.V)
	if s.MinSample.Set && s.MinSample.V < 1 {
		r.errorf(s.MinSample.Pos, "min_sample must be at least 1")
	}
	if s.For.Set && (s.For.V < 1 || s.For.V > 100) {
		r.errorf(s.For.Pos, "for must be from 1 to 100")
	}
	r.monitorFeatures(s, svc)
	for _, c := range s.Channels {
		if _, ok := r.channelNames.first[c.V]; c.Set && !ok {
			r.errorf(c.Pos, "unknown channel %q%s", c.V, spell.Suggest(c.V, r.channelNames.sorted()))
		}
	}
}

// bounded are the distances that are never above 1.
var bounded = []string{"", "jensen_shannon", "ks", "hellinger", "total_variation", "l_infinity"}

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
		if !slices.Contains(bounded, m) {
			return
		}
	}
	if t.V >= 1 {
		r.errorf(t.Pos, "threshold must be below 1, which this distance never exceeds")
	}
}

func (r *resolver) monitorFeatures(s *monitorSpec, svc *Service) {
	var columns []string
	if svc != nil {
		for _, f := range svc.Features {
			columns = append(columns, f.View.Features[f.Index].Name)
		}
		for _, q := range svc.Request {
			columns = append(columns, q.Name)
		}
		for _, d := range svc.Derived {
			columns = append(columns, d.Name)
		}
	}
	seen := names{kind: "monitored feature"}
	for _, f := range s.Features {
		if seen.add(r.issues, f.Name) && svc != nil && !slices.Contains(columns, f.Name.V) {
			r.errorf(f.Name.Pos, "feature service %s of model %s has no feature %q%s", svc.Name, s.Model.V, f.Name.V, spell.Suggest(f.Name.V, columns))
		}
		r.threshold(f.Threshold, f.Method.V)
	}
}
