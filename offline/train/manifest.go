package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/replay"
)

// Manifest says what a training set was made of.
type Manifest struct {
	Format     int       `json:"format"` // 1
	Project    string    `json:"project"`
	Service    string    `json:"service"`
	Created    time.Time `json:"created"`
	Seconds    float64   `json:"seconds"`
	Rows       uint64    `json:"rows"`
	Spine      string    `json:"spine"`
	Output     string    `json:"output"`
	Store      string    `json:"store"`
	TimeColumn string    `json:"time_column"`
	Zone       string    `json:"zone,omitempty"` // of times without one
	Earliest   time.Time `json:"earliest"`       // time of the spine
	Latest     time.Time `json:"latest"`
	// Semantics is "event time", or "as served" for a set of what had arrived.
	Semantics string          `json:"semantics"`
	Views     []ViewReport    `json:"views"`
	Sources   []GroupReport   `json:"sources"`
	Features  []FeatureReport `json:"features"`
	Warnings  []string        `json:"warnings"`

	began time.Time
}

// ViewReport names the definition of a view that features come from.
type ViewReport struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	TTL         string `json:"ttl,omitempty"`
}

// GroupReport says what was read of one source for one entity.
type GroupReport struct {
	Source  string        `json:"source"`
	Entity  string        `json:"entity"`
	Table   string        `json:"table"`
	Views   []string      `json:"views"`
	From    *time.Time    `json:"from,omitempty"` // event times; nil: the beginning
	Before  time.Time     `json:"before"`
	Read    int64         `json:"events_read"`
	Used    int64         `json:"events_used"`
	Spilled int64         `json:"spilled_bytes"`
	Offsets []RangeReport `json:"offsets"` // what the store has whole
}

// RangeReport is a range of offsets, First <= offset < End.
type RangeReport struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first"`
	End       int64  `json:"end"`
}

// FeatureReport describes a column of the result.
type FeatureReport struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Nulls     int64   `json:"nulls"`
	NullShare float64 `json:"null_share"`
}

func (s *Set) report(g *group, l *replay.Log, from, to int64, covered []offline.Range) GroupReport {
	r := GroupReport{
		Source: g.table.Source.Name, Entity: g.entity.Name, Table: g.table.Name, Before: utc(to),
		Read: l.Scanned(), Used: l.Kept(), Spilled: l.Spilled(), Offsets: []RangeReport{},
	}
	if from > firstTime {
		at := utc(from)
		r.From = &at
	}
	for _, v := range g.views {
		r.Views = append(r.Views, v.view.Name)
	}
	for _, c := range covered {
		r.Offsets = append(r.Offsets, RangeReport(c))
	}
	slices.SortFunc(r.Offsets, func(a, b RangeReport) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return r
}

func utc(us int64) time.Time { return time.UnixMicro(us).UTC() }

// manifest says what is known before the result is written.
func (s *Set) manifest(began time.Time) *Manifest {
	m := &Manifest{
		Format: 1, Project: s.o.Plane.Project, Service: s.service.Name, Created: began.UTC(), Rows: s.rows, Spine: s.o.SpineName,
		Output: s.o.OutputName, Store: s.o.StoreName, TimeColumn: s.plan.cols[s.plan.atCol].Name, Earliest: utc(s.from), Latest: utc(s.to),
		Semantics: "event time", Sources: s.groups, Warnings: []string{}, began: began,
	}
	if s.o.Zone != nil {
		m.Zone = s.o.Zone.String()
	}
	if s.o.AsServed {
		m.Semantics = "as served"
	}
	for _, g := range s.plan.groups {
		for _, v := range g.views {
			r := ViewReport{Name: v.view.Name, Fingerprint: v.view.Fingerprint.String()}
			if v.view.TTL > 0 {
				r.TTL = v.view.TTL.String()
			}
			m.Views = append(m.Views, r)
		}
	}
	m.Warnings = append(m.Warnings, s.warnings()...)
	return m
}

func (s *Set) warnings() []string {
	out := []string{}
	if s.o.AsServed {
		out = append(out, "what had arrived is judged by the Kafka timestamps of records: exact for topics with LogAppendTime, "+
			"approximate where producers stamp their records (CreateTime), and without the publish interval")
	}
	for i, g := range s.plan.groups {
		if s.groups[i].Read == 0 {
			when := "before " + s.groups[i].Before.Format(time.RFC3339)
			if from := s.groups[i].From; from != nil {
				when = "from " + from.Format(time.RFC3339) + " to " + s.groups[i].Before.Format(time.RFC3339)
			}
			out = append(out, fmt.Sprintf("%s has no events %s: all features of %s are empty", g.table.Name, when, strings.Join(s.groups[i].Views, ", ")))
		}
		for _, r := range s.groups[i].Offsets {
			if r.First > 0 && !strings.HasPrefix(r.Topic, offline.BackfillPrefix) {
				out = append(out, fmt.Sprintf("%s begins at offset %d of %s/%d: earlier events count only if they were backfilled", g.table.Name, r.First, r.Topic, r.Partition))
			}
		}
		if g.table.Source.EventID >= 0 && !g.views[0].view.Direct {
			out = append(out, fmt.Sprintf("views %s are repartitioned: which of several events with one id had arrived first is judged by their Kafka timestamps",
				strings.Join(s.groups[i].Views, ", ")))
		}
	}
	return out
}

// finish adds what is known once all rows are written.
func (m *Manifest) finish(s *Set) {
	for i, c := range s.plan.columns {
		share := math.Round(float64(s.nulls[i])/float64(max(s.rows, 1))*1e6) / 1e6
		m.Features = append(m.Features, FeatureReport{Name: c.Name, Type: c.Type.String(), Nulls: s.nulls[i], NullShare: share})
	}
	m.Seconds = math.Round(s.o.Clock().Sub(m.began).Seconds()*1000) / 1000
}
