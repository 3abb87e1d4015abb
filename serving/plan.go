package serving

import (
	"maps"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/internal/spell"
)

// shape is what of a request decides its plan: everything but the values of its columns.
type shape struct {
	service   string   // wins over features when set
	features  []string // "view:feature"
	fullNames bool
	columns   []string // entity columns and request data, in the request's order
}

// own makes the shape's names its own memory, as a plan outlives the request it was made for.
func (s *shape) own() {
	s.service = strings.Clone(s.service)
	for i := range s.features {
		s.features[i] = strings.Clone(s.features[i])
	}
	for i := range s.columns {
		s.columns[i] = strings.Clone(s.columns[i])
	}
}

// plan is a resolved shape: what to read and how to answer. Immutable, shared by all requests of the shape.
type plan struct {
	service string // that the request names; "" where it lists features
	metrics *serviceMetrics
	columns []planColumn // join keys in the request's order, then request data: the first columns of the response
	groups  []planGroup  // one an entity
	outputs []planOutput // stored features in the order asked
	derived []planDerived
	gather  []planOutput // where the first values of a derived feature's row are; nil without derived features
	request []int        // the plan column of each further value of that row

	names    []string // of the response's columns
	views    []string // in the order first asked
	round    int      // of the planner's generations
	metadata []byte   // the response's JSON after the results, without and with the views
	withView []byte
}

// planColumn is one column that the request carries.
type planColumn struct {
	name     string
	typ      feature.Type
	from     int // index among the request's columns
	key      bool
	required bool // nulls are refused: join keys, required request fields
}

// planGroup is all that is read of one entity: one HMGET a distinct key.
type planGroup struct {
	entity *config.Entity
	keys   []int // plan columns of the join keys, in the entity's order
	views  []planView
	width  int // values of one entity
}

// planView reads some features of one view.
type planView struct {
	view    *config.View
	want    []int // indices into view.Features
	slot    int   // of want[0] among the group's values; the others follow
	global  int   // index among plan.views
	metrics *viewMetrics
	head    string   // fields of the view in the entity's hash
	tail    string   // of the tail's first part
	pages   []string // of the tail's pages, by place; a lookup reads those that its clock asks for
}

// planOutput says where a stored feature's value is.
type planOutput struct {
	group, view int
	slot        int
}

type planDerived struct {
	*config.Derived
	failed prometheus.Counter
}

// planner resolves shapes and keeps the plans it made.
type planner struct {
	catalog     *catalog
	metrics     *metrics
	maxFeatures int

	mu          sync.RWMutex
	plans       map[string]*plan  // by what a face finds cheap: see cached
	generations map[string]uint32 // of the views' states: see online.Client.Generations
	round       int               // counts the changes of generations
}

// setGenerations has lookups read other states of the views from now on. Requests under way end with what they began with.
func (p *planner) setGenerations(g map[string]uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if maps.Equal(p.generations, g) {
		return
	}
	p.generations = g
	p.round++
	clear(p.plans)
}

// maxPlans bounds the plans kept. Clients ask for few shapes; one that sends ever new ones makes the others resolve
// again, which costs microseconds.
const maxPlans = 512

// maxPlanKey is the longest shape worth keeping.
const maxPlanKey = 64 << 10

// cached returns the plan kept under key, nil if there is none. A key determines the shape and begins with the face, as
// each face writes shapes in its own way.
func (p *planner) cached(key []byte) *plan {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.plans[string(key)]
}

func (p *planner) keep(key []byte, pl *plan) {
	if len(key) > maxPlanKey {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.round != p.round {
		return // it was made for states that have been replaced since
	}
	if len(p.plans) >= maxPlans {
		clear(p.plans)
	}
	p.plans[string(key)] = pl
}

// resolve makes the plan of a shape.
func (p *planner) resolve(s *shape) (*plan, *Error) {
	stored, service, err := p.stored(s)
	if err != nil {
		return nil, err
	}
	p.mu.RLock()
	generations, round := p.generations, p.round
	p.mu.RUnlock()
	pl := &plan{service: s.service, metrics: p.metrics.services[s.service], round: round}
	pl.addStored(stored, p.metrics, generations)
	if err := p.addColumns(pl, s, service); err != nil {
		return nil, err
	}
	if service != nil {
		pl.addDerived(service, p.metrics)
	}
	if err := pl.name(s, service, stored); err != nil {
		return nil, err
	}
	pl.encodeMetadata()
	return pl, nil
}

// stored resolves the names of the features.
func (p *planner) stored(s *shape) ([]config.ServiceFeature, *config.Service, *Error) {
	if s.service != "" {
		service, err := p.catalog.service(s.service)
		if err != nil {
			return nil, nil, err
		}
		return service.Features, service, nil
	}
	if len(s.features) == 0 {
		return nil, nil, invalid("missing", "name a feature_service, or features as \"view:feature\"").at("features")
	}
	if len(s.features) > p.maxFeatures {
		return nil, nil, tooManyFeatures(p.maxFeatures)
	}
	stored := make([]config.ServiceFeature, len(s.features))
	for i, ref := range s.features {
		view, name, ok := strings.Cut(ref, ":")
		if !ok || view == "" || name == "" {
			return nil, nil, invalid("value_error", "%q is not of the form \"view:feature\"", ref).at("features").inRow(i)
		}
		f, err := p.catalog.feature(view, name)
		if err != nil {
			return nil, nil, err
		}
		stored[i] = f
	}
	return stored, nil, nil
}

func tooManyFeatures(most int) *Error {
	return invalid("too_long", "more than %d features", most).at("features")
}

// addStored groups the features by entity and view, so that a view's values stand together, and remembers where each
// came to stand.
func (pl *plan) addStored(stored []config.ServiceFeature, m *metrics, generations map[string]uint32) {
	type place struct{ group, view, want int }
	places := make([]place, len(stored))
	groupOf := make(map[*config.Entity]int)
	viewOf := make(map[*config.View]int)
	for i, f := range stored {
		g, ok := groupOf[f.View.Entity]
		if !ok {
			g = len(pl.groups)
			groupOf[f.View.Entity] = g
			pl.groups = append(pl.groups, planGroup{entity: f.View.Entity})
		}
		group := &pl.groups[g]
		v, ok := viewOf[f.View]
		if !ok {
			v = len(group.views)
			viewOf[f.View] = v
			pv := planView{view: f.View, global: len(pl.views), metrics: m.views[f.View.Name]}
			pv.head, pv.tail = online.Fields(f.View.Name, f.View.Fingerprint.State(online.GenerationOf(generations, f.View)))
			for place := range f.View.Layout.Pages() {
				pv.pages = append(pv.pages, online.PageField(pv.tail, place))
			}
			group.views = append(group.views, pv)
			pl.views = append(pl.views, f.View.Name)
		}
		places[i] = place{g, v, len(group.views[v].want)}
		group.views[v].want = append(group.views[v].want, f.Index)
	}
	for g := range pl.groups {
		group := &pl.groups[g]
		for v := range group.views {
			group.views[v].slot = group.width
			group.width += len(group.views[v].want)
		}
	}
	for _, at := range places {
		pl.outputs = append(pl.outputs, planOutput{at.group, at.view, pl.groups[at.group].views[at.view].slot + at.want})
	}
}

// addColumns gives each column of the request its meaning and type, and finds the ones that the features need.
func (p *planner) addColumns(pl *plan, s *shape, service *config.Service) *Error {
	request := make(map[string]config.Field)
	if service != nil {
		for _, f := range service.Request {
			request[f.Name] = f
		}
	}
	types := make(map[string]feature.Type)
	for _, g := range pl.groups {
		for _, k := range g.entity.JoinKeys {
			if t, ok := types[k.Name]; ok && t != k.Type {
				return invalid("value_error", "join key %s is %s in one entity and %s in another; ask for their features separately",
					k.Name, t, k.Type).at("entities", k.Name)
			}
			types[k.Name] = k.Type
		}
	}
	place := make(map[string]int)
	for _, keys := range []bool{true, false} {
		for i, name := range s.columns {
			t, isKey := types[name]
			f, isRequest := request[name]
			if !isKey && !isRequest {
				// A join key that these features do not need is echoed, as Feast does.
				if t, isKey = p.catalog.joinKeys[name]; !isKey {
					return notFound(entityNotFound, "Entity %s does not exist in project %s%s", name, p.catalog.project, p.suggestColumn(name, service))
				}
			}
			if isKey != keys {
				continue
			}
			place[name] = len(pl.columns)
			c := planColumn{name: name, typ: t, from: i, key: true, required: true}
			if !isKey {
				c = planColumn{name: name, typ: f.Type, from: i, required: f.Required}
			}
			pl.columns = append(pl.columns, c)
		}
	}
	return pl.bind(place, service)
}

// bind finds the columns that entity keys and derived features are made of.
func (pl *plan) bind(place map[string]int, service *config.Service) *Error {
	for g := range pl.groups {
		group := &pl.groups[g]
		for _, k := range group.entity.JoinKeys {
			c, ok := place[k.Name]
			if !ok {
				return invalid("missing", "join key %s (%s) of entity %s is missing; the features asked for need it",
					k.Name, k.Type, group.entity.Name).at("entities", k.Name)
			}
			group.keys = append(group.keys, c)
		}
	}
	if service == nil {
		return nil
	}
	for _, f := range service.Request {
		c, ok := place[f.Name]
		if !ok {
			return invalid("missing", "request field %s (%s) of feature service %s is missing", f.Name, f.Type, service.Name).at("entities", f.Name)
		}
		pl.request = append(pl.request, c)
	}
	return nil
}

func (p *planner) suggestColumn(name string, service *config.Service) string {
	known := make(map[string]struct{})
	for k := range p.catalog.joinKeys {
		known[k] = struct{}{}
	}
	if service != nil {
		for _, f := range service.Request {
			known[f.Name] = struct{}{}
		}
	}
	return spell.Suggest(name, names(known))
}

func (pl *plan) addDerived(service *config.Service, m *metrics) {
	for i := range service.Derived {
		d := &service.Derived[i]
		pl.derived = append(pl.derived, planDerived{d, m.derived.WithLabelValues(service.Name, d.Name)})
	}
	if len(pl.derived) > 0 {
		pl.gather = pl.outputs
	}
}

// name gives the response's columns their names and refuses two of one name, as Feast does: clients find columns by
// name.
func (pl *plan) name(s *shape, service *config.Service, stored []config.ServiceFeature) *Error {
	seen := make(map[string]string)
	add := func(name, ref string) *Error {
		if other, ok := seen[name]; ok {
			how := "ask for each feature once, under different names"
			if !s.fullNames && other != ref {
				how = "set full_feature_names, or ask for one of them"
			}
			return &Error{Kind: Collision, Class: featureCollision, Row: -1, Message: "Duplicate column " + name + " in the response: " +
				other + " and " + ref + "; " + how}
		}
		seen[name] = ref
		pl.names = append(pl.names, name)
		return nil
	}
	for _, c := range pl.columns {
		if err := add(c.name, "entity column "+c.name); err != nil {
			return err
		}
	}
	full := func(of, name string) string {
		if s.fullNames {
			return of + "__" + name
		}
		return name
	}
	for _, f := range stored {
		n := f.View.Features[f.Index].Name
		if err := add(full(f.View.Name, n), f.View.Name+":"+n); err != nil {
			return err
		}
	}
	for _, d := range pl.derived {
		if err := add(full(service.Name, d.Name), "derived feature "+d.Name); err != nil {
			return err
		}
	}
	return nil
}
