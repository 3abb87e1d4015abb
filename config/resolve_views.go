package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/expr"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

// The defaults and bounds of a view.
const (
	defaultMaxEntityBytes = 64 << 10
	minWindow             = time.Second
	maxWindow             = 3660 * 24 * time.Hour
)

func (r *resolver) view(s *viewSpec) {
	named := r.name("feature view", s.Name)
	if s.Name.V == "request" {
		r.errorf(s.Name.Pos, "a feature view cannot be named request: expressions read request fields under that name")
	}
	if !r.viewNames.add(r.issues, s.Name) {
		return
	}
	before := len(r.errors)
	v := &View{Name: s.Name.V, Description: s.Description.V, TTL: s.TTL.V, History: "events", MaxEntityBytes: defaultMaxEntityBytes}
	v.Entity, _ = lookup(r, s.Entity, r.entities, &r.entityNames)
	v.Source, _ = lookup(r, s.Source, r.sources, &r.sourceNames)
	if s.History.Set {
		v.History = s.History.V
	}
	if s.TTL.Set && (s.TTL.V < minWindow || s.TTL.V > maxWindow) {
		r.errorf(s.TTL.Pos, "ttl must be from %s to %s, not %s", formatDuration(minWindow), formatDuration(maxWindow), formatDuration(s.TTL.V))
	}
	if s.MaxEntityBytes.Set {
		v.MaxEntityBytes = int(s.MaxEntityBytes.V)
		if s.MaxEntityBytes.V < 1 || s.MaxEntityBytes.V > 16<<20 {
			r.errorf(s.MaxEntityBytes.Pos, "max_entity_bytes must be from 1 to 16MiB")
		}
	}
	if s.Features != nil && len(s.Features) == 0 && s.Name.Set {
		r.errorf(s.Name.Pos, "feature view %q has no features", s.Name.V)
	}
	if v.Entity != nil && v.Source != nil {
		r.viewKey(s, v)
	}
	var env *expr.Env
	if v.Source != nil {
		env = r.sourceEnv(s.Source.Pos, v.Source)
	}
	if env != nil && s.Where.Set {
		v.Where = r.condition("where", s.Where, env)
	}
	r.features(s, v, env)
	resolved := len(v.Features) == len(s.Features)
	whole := resolved && len(v.Features) > 0 && v.Entity != nil && v.Source != nil
	if whole && len(r.errors) == before {
		r.layout(s, v)
	}
	if whole && len(r.errors) == before {
		v.Definition = v.describe()
		v.Fingerprint = fingerprint(v.Definition)
	}
	if named && resolved { // with other mistakes services can be checked still
		r.views[v.Name] = v
		r.plane.Views = append(r.plane.Views, v)
	}
}

// viewKey finds the entity's join keys among the source's fields.
func (r *resolver) viewKey(s *viewSpec, v *View) {
	for _, k := range v.Entity.JoinKeys {
		i := slices.IndexFunc(v.Source.Schema, func(f Field) bool { return f.Name == k.Name })
		switch {
		case i < 0:
			r.errorf(s.Source.Pos, "source %s has no field %q, the join key of entity %s%s", v.Source.Name, k.Name,
				v.Entity.Name, spell.Suggest(k.Name, fieldNames(v.Source.Schema)))
		case v.Source.Schema[i].Type != k.Type && v.Source.Schema[i].Type != feature.Null:
			r.errorf(s.Source.Pos, "field %q of source %s is of type %s; the join key of entity %s is of type %s", k.Name, v.Source.Name,
				v.Source.Schema[i].Type, v.Entity.Name, k.Type)
		default:
			v.KeyFields = append(v.KeyFields, i)
		}
	}
	v.Direct = v.Source.Partitioned && slices.Equal(v.KeyFields, v.Source.Key)
	if v.Source.Tombstones {
		for _, i := range v.KeyFields {
			if !slices.Contains(v.Source.Key, i) {
				r.warnf(s.Source.Pos, "tombstones of source %s delete nothing from feature view %s: its join key %q is not in the source's key",
					v.Source.Name, v.Name, v.Source.Schema[i].Name)
				break
			}
		}
	}
}

// sourceEnv returns the variables of a source's expressions: its fields.
func (r *resolver) sourceEnv(p Pos, src *Source) *expr.Env {
	vars := make([]expr.Variable, len(src.Schema))
	for i, f := range src.Schema {
		vars[i] = expr.Variable{Name: f.Name, Type: f.Type, Unknown: f.Type == feature.Null}
	}
	return r.newEnv(p, vars)
}

func (r *resolver) newEnv(p Pos, vars []expr.Variable) *expr.Env {
	env, err := expr.NewEnv(vars)
	if err != nil {
		r.errorf(p, "expressions cannot be compiled: %v", err)
		return nil
	}
	return env
}

// compile compiles an expression and places its mistakes in the file. It returns nil after a mistake, and where the type
// of a variable is not known.
func (r *resolver) compile(what string, a At[source], env *expr.Env) *expr.Program {
	var p *expr.Program
	var err error
	if env.Partly() {
		err = expr.Check(env, a.V.text)
	} else {
		p, err = expr.Compile(env, a.V.text)
	}
	if err == nil {
		return p
	}
	var e *expr.Error
	if !errors.As(err, &e) {
		r.errorf(a.Pos, "%s: %v", what, err)
		return nil
	}
	for _, x := range append([]*expr.Error{e}, e.More...) {
		r.errorf(a.V.doc.within(a.Pos, a.V.tok, x.Line, x.Column), "%s: %s", what, x.Message)
	}
	return nil
}

// condition compiles an expression that must be a bool.
func (r *resolver) condition(what string, a At[source], env *expr.Env) *expr.Program {
	p := r.compile(what, a, env)
	if p != nil && p.Type() != feature.Bool {
		r.errorf(a.Pos, "%s must be a condition, a bool; the expression gives %s", what, p.Type())
		return nil
	}
	return p
}

func (r *resolver) features(s *viewSpec, v *View, env *expr.Env) {
	known := names{kind: "feature"}
	for i := range s.Features {
		fs := &s.Features[i]
		if !r.column("feature", fs.Name) || !known.add(r.issues, fs.Name) {
			continue
		}
		if v.Entity != nil && slices.ContainsFunc(v.Entity.JoinKeys, func(k Field) bool { return k.Name == fs.Name.V }) {
			r.errorf(fs.Name.Pos, "feature %q has the name of a join key of entity %s", fs.Name.V, v.Entity.Name)
		}
		if f, ok := r.feature(fs, env); ok {
			v.Features = append(v.Features, f)
			if s.TTL.Set && s.TTL.V < f.Window {
				r.warnf(s.TTL.Pos, "ttl %s is shorter than the window %s of feature %s: its values read as null before the window ends",
					formatDuration(s.TTL.V), formatDuration(f.Window), f.Name)
			}
		}
	}
}

// feature resolves one feature. env is nil if the source is not known.
func (r *resolver) feature(s *featureSpec, env *expr.Env) (Feature, bool) {
	f := Feature{Name: s.Name.V, Description: s.Description.V, Aggregate: s.Aggregate.V, Window: s.Window.V}
	before := len(r.errors)
	if s.Window.Set && (s.Window.V < minWindow || s.Window.V > maxWindow) {
		r.errorf(s.Window.Pos, "window must be from %s to %s, not %s", formatDuration(minWindow), formatDuration(maxWindow), formatDuration(s.Window.V))
	}
	bad := s.Aggregate.Bad || s.Of.Bad || s.Where.Bad || s.Window.Bad || s.Q.Bad || s.N.Bad || s.K.Bad
	if s.Aggregate.Set && !slices.Contains(feature.Aggregations(), s.Aggregate.V) {
		meant := spell.Suggest(s.Aggregate.V, feature.Aggregations())
		if meant == "" {
			meant = "; aggregates are " + strings.Join(feature.Aggregations(), ", ")
		}
		r.errorf(s.Aggregate.Pos, "unknown aggregate %q%s", s.Aggregate.V, meant)
	}
	if !s.Aggregate.Set && !bad {
		r.rowFeature(s)
	}
	if env != nil && s.Of.Set {
		f.Of = r.compile("of", s.Of, env)
	}
	if env != nil && s.Where.Set {
		f.Where = r.condition("where", s.Where, env)
	}
	if env == nil || env.Partly() || bad || len(r.errors) > before {
		return f, false
	}
	f.Spec = feature.AggregatorSpec{Name: f.Aggregate, Q: s.Q.V, N: s.N.V, K: s.K.V}
	if f.Of != nil {
		f.Type, f.Spec.In = f.Of.Type(), f.Of.Type()
	}
	if f.Aggregate == "" {
		f.Spec = feature.AggregatorSpec{}
		return f, true
	}
	return f, r.aggregate(s, &f)
}

// rowFeature checks a feature without an aggregate.
func (r *resolver) rowFeature(s *featureSpec) {
	if !s.Of.Set {
		r.errorf(s.Pos, "feature %q has neither an aggregate nor an `of`", s.Name.V)
	}
	for _, x := range []struct {
		name string
		set  bool
		at   Pos
	}{{"window", s.Window.Set, s.Window.Pos}, {"where", s.Where.Set, s.Where.Pos}, {"q", s.Q.Set, s.Q.Pos}, {"n", s.N.Set, s.N.Pos}, {"k", s.K.Set, s.K.Pos}} {
		if x.set {
			r.errorf(x.at, "a feature without an aggregate has no %s; `aggregate: last` may have", x.name)
		}
	}
}

var backquoted = regexp.MustCompile("`([a-z]+)`")

// aggregate types an aggregate; a mistake is placed at the parameter that it names.
func (r *resolver) aggregate(s *featureSpec, f *Feature) bool {
	at := s.Aggregate.Pos
	if f.Aggregate == "approx_quantile" && !s.Q.Set {
		r.errorf(at, "aggregate approx_quantile needs `q` from 0 to 1")
		return false
	}
	_, t, err := feature.NewAggregator(f.Spec)
	if err == nil {
		f.Type = t
		return true
	}
	if m := backquoted.FindStringSubmatch(err.Error()); m != nil {
		for name, x := range map[string]struct {
			set bool
			at  Pos
		}{"of": {s.Of.Set, s.Of.Pos}, "q": {s.Q.Set, s.Q.Pos}, "n": {s.N.Set, s.N.Pos}, "k": {s.K.Set, s.K.Pos}} {
			if name == m[1] && x.set {
				at = x.at
			}
		}
	}
	r.errorf(at, "%v", err)
	return false
}

// layout compiles the view's state and holds it to its bound.
func (r *resolver) layout(s *viewSpec, v *View) {
	spec := feature.LayoutSpec{TTL: v.TTL.Microseconds(), AllowedSkew: v.Source.AllowedSkew.Microseconds()}
	for _, f := range v.Features {
		spec.Features = append(spec.Features, feature.FeatureSpec{Name: f.Name, Agg: f.Spec, Type: f.Type, Window: f.Window.Microseconds()})
	}
	l, err := feature.NewLayout(spec)
	if err != nil {
		r.errorf(s.Name.Pos, "feature view %q: %v", v.Name, err)
		return
	}
	v.Layout = l
	if worst, _ := l.WorstCase(); worst > v.MaxEntityBytes {
		r.errorf(s.Name.Pos, "one entity of feature view %q can take %d bytes, most for feature %q, and max_entity_bytes is %d: keep fewer or shorter windows, or set max_entity_bytes: %dKiB",
			v.Name, worst, largest(spec), v.MaxEntityBytes, (worst+1023)/1024)
	}
}

// largest returns the feature that takes the most bytes of an entity by itself.
func largest(spec feature.LayoutSpec) string {
	name, most := "", -1
	for _, f := range spec.Features {
		alone := spec
		alone.Features = []feature.FeatureSpec{f}
		l, err := feature.NewLayout(alone)
		if err != nil {
			continue // a view of the feature alone may be refused where the whole is not; another is named then
		}
		if worst, _ := l.WorstCase(); worst > most {
			name, most = f.Name, worst
		}
	}
	return name
}

// featureNames lists a view's features.
func (v *View) featureNames() []string {
	out := make([]string, len(v.Features))
	for i, f := range v.Features {
		out[i] = f.Name
	}
	return out
}
