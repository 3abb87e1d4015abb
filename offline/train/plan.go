package train

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/offline"
)

// plan is a service bound to the columns of a spine.
type plan struct {
	service *config.Service
	cols    []SpineColumn
	at      *converter // of the time column
	atCol   int
	groups  []*group
	outputs []output         // where the value of each of the service's features comes from
	request []boundColumn    // of the service's request fields
	typed   []*converter     // by spine column: how it is read where a type is wanted; nil: as it is
	columns []offline.Column // of the result, after the spine's
}

// boundColumn is a column of the spine, read as a type.
type boundColumn struct {
	col  int
	conv *converter
}

// group is what is replayed together: the views of one source and one entity.
type group struct {
	table  *offline.Table
	entity *config.Entity
	keys   []boundColumn
	views  []*groupView
	width  int // values of a row
}

// groupView reads some features of one view.
type groupView struct {
	view *config.View
	want []int
	slot int // of want[0] among the group's values
}

// output is the place of a feature's value.
type output struct{ group, slot int }

// defaultTimeColumns are the names under which the time is looked for.
var defaultTimeColumns = []string{"event_timestamp", "timestamp"}

// newPlan binds a service to a spine's columns.
func newPlan(o *Options, service *config.Service, cols []SpineColumn) (*plan, error) {
	p := &plan{service: service, cols: cols, typed: make([]*converter, len(cols))}
	if err := p.bindTime(o); err != nil {
		return nil, err
	}
	p.addFeatures()
	for _, g := range p.groups {
		for _, k := range g.entity.JoinKeys {
			b, err := p.bind(k.Name, k.Type, "join key of entity "+g.entity.Name, o.Zone)
			if err != nil {
				return nil, err
			}
			g.keys = append(g.keys, b)
		}
	}
	for _, f := range service.Request {
		b, err := p.bind(f.Name, f.Type, "request field of feature service "+service.Name, o.Zone)
		if err != nil {
			return nil, err
		}
		p.request = append(p.request, b)
	}
	return p, p.nameColumns(o.FullNames)
}

func (p *plan) names() []string {
	var out []string
	for _, c := range p.cols {
		out = append(out, c.Name)
	}
	return out
}

func (p *plan) column(name string) int {
	return slices.IndexFunc(p.cols, func(c SpineColumn) bool { return c.Name == name })
}

func (p *plan) bindTime(o *Options) error {
	names := defaultTimeColumns
	if o.TimeColumn != "" {
		names = []string{o.TimeColumn}
	}
	p.atCol = -1
	for _, n := range names {
		i := p.column(n)
		if i < 0 {
			continue
		}
		if p.atCol >= 0 {
			return fmt.Errorf("the spine has both %q and %q; say which is the time (--timestamp)", p.cols[p.atCol].Name, n)
		}
		p.atCol = i
	}
	if p.atCol < 0 {
		return fmt.Errorf("the spine has no column %s: the time that features are wanted as of; it has %s", quoteOr(names), strings.Join(p.names(), ", "))
	}
	var err error
	p.at, err = newConverter(p.cols[p.atCol], feature.Timestamp, o.Zone)
	p.typed[p.atCol] = p.at
	return err
}

func quoteOr(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, " or ")
}

// bind finds a column that features need.
func (p *plan) bind(name string, t feature.Type, what string, zone *time.Location) (boundColumn, error) {
	i := p.column(name)
	if i < 0 {
		return boundColumn{}, fmt.Errorf("the spine has no column %q (%s), a %s%s", name, t, what, spell.Suggest(name, p.names()))
	}
	c, err := newConverter(p.cols[i], t, zone)
	if err != nil {
		return boundColumn{}, fmt.Errorf("%w, as the %s is", err, what)
	}
	p.typed[i] = c
	return boundColumn{i, c}, nil
}

// addFeatures groups the service's features by source and entity, then by view.
func (p *plan) addFeatures() {
	type place struct{ group, view, want int }
	var places []place
	for _, f := range p.service.Features {
		g := slices.IndexFunc(p.groups, func(g *group) bool { return g.entity == f.View.Entity && g.table.Source == f.View.Source })
		if g < 0 {
			g = len(p.groups)
			p.groups = append(p.groups, &group{table: offline.EventsTable(f.View.Source), entity: f.View.Entity})
		}
		gr := p.groups[g]
		v := slices.IndexFunc(gr.views, func(v *groupView) bool { return v.view == f.View })
		if v < 0 {
			v = len(gr.views)
			gr.views = append(gr.views, &groupView{view: f.View})
		}
		places = append(places, place{g, v, len(gr.views[v].want)})
		gr.views[v].want = append(gr.views[v].want, f.Index)
	}
	for _, g := range p.groups {
		for _, v := range g.views {
			v.slot = g.width
			g.width += len(v.want)
		}
	}
	for _, at := range places {
		p.outputs = append(p.outputs, output{at.group, p.groups[at.group].views[at.view].slot + at.want})
	}
}

// nameColumns names the columns of the result as a lookup names them, and refuses two of one name.
func (p *plan) nameColumns(full bool) error {
	taken := map[string]string{}
	for _, c := range p.cols {
		taken[c.Name] = "column of the spine"
	}
	add := func(of, name, what, description string, t feature.Type) error {
		if full {
			name = of + "__" + name
		}
		if other, ok := taken[name]; ok {
			return fmt.Errorf("two columns of the training set would be called %q: a %s and the %s; rename the spine's column or ask for full names (--full-feature-names)",
				name, other, what)
		}
		taken[name] = what
		p.columns = append(p.columns, offline.Column{Name: name, Type: t, Nullable: true, Description: description})
		return nil
	}
	for _, f := range p.service.Features {
		ft := &f.View.Features[f.Index]
		if err := add(f.View.Name, ft.Name, "feature "+f.View.Name+":"+ft.Name, ft.Description, ft.Type); err != nil {
			return err
		}
	}
	for i := range p.service.Derived {
		d := &p.service.Derived[i]
		if err := add(p.service.Name, d.Name, "derived feature "+d.Name, "", d.Type); err != nil {
			return err
		}
	}
	return nil
}

// fields returns the fields of the source that the group's views read.
func (g *group) fields() []int {
	var out []int
	for _, v := range g.views {
		out = append(out, inputs.Fields(v.view)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// The years 0001 and 9999, between which all event times are.
const (
	firstTime = -62135596800 * feature.Second
	lastTime  = 253402300800*feature.Second - 1
)

// span returns the event times that a spine from `from` to `to` may ask for, as an offline.Query has them.
func (g *group) span(from, to int64, asServed bool) (int64, int64) {
	src := g.table.Source
	to++
	if asServed {
		to += src.AllowedSkew.Microseconds() // an event may have come before its time
	}
	var keep int64
	for _, v := range g.views {
		k := v.view.Layout.KeepFor()
		if k == 0 || v.view.Direct && src.Tombstones { // all that ever was counts, and a tombstone ends it
			return firstTime, min(to, lastTime)
		}
		keep = max(keep, k)
	}
	if src.EventID >= 0 {
		keep += src.EventIDHorizon.Microseconds()
	}
	return max(from-keep, firstTime), min(to, lastTime)
}
