package config

import (
	"fmt"
	"strings"

	"github.com/freshet-io/freshet/internal/expr"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

func (r *resolver) service(s *serviceSpec) {
	r.name("feature service", s.Name)
	if !r.serviceNames.add(r.issues, s.Name) {
		return
	}
	before := len(r.errors)
	svc := &Service{Name: s.Name.V}
	if s.Features != nil && len(s.Features) == 0 && s.Name.Set {
		r.errorf(s.Name.Pos, "feature service %q has no features", s.Name.V)
	}
	c := &columns{r: r, from: map[string]string{}}
	complete := true
	for _, ref := range s.Features {
		complete = r.serviceFeatures(svc, ref, c) && complete
	}
	requests := names{kind: "request field"}
	for _, q := range s.Request {
		if !r.name("request field", q.Name) || !requests.add(r.issues, q.Name) {
			complete = false
			continue
		}
		t, err := feature.ParseType(q.Type.V)
		if !q.Type.Set || err != nil {
			complete = false
			continue
		}
		c.add(q.Name, "the request")
		svc.Request = append(svc.Request, Field{Name: q.Name.V, Type: t})
	}
	r.derived(s, svc, c, complete)
	if len(r.errors) == before && complete {
		r.services[svc.Name] = svc
		r.plane.Services = append(r.plane.Services, svc)
	}
}

// columns are the names that a lookup of a service returns, which must differ.
type columns struct {
	r    *resolver
	from map[string]string
}

func (c *columns) add(a At[string], from string) {
	if other, dup := c.from[a.V]; dup {
		c.r.errorf(a.Pos, "%q would come from %s and from %s: a lookup returns each name once", a.V, other, from)
		return
	}
	c.from[a.V] = from
}

// serviceFeatures resolves `view` or `view:feature`. It returns false if what it names is not known.
func (r *resolver) serviceFeatures(svc *Service, ref At[string], c *columns) bool {
	if !ref.Set {
		return false
	}
	viewName, featureName, one := strings.Cut(ref.V, ":")
	v, ok := lookup(r, At[string]{V: viewName, Set: true, Pos: ref.Pos}, r.views, &r.viewNames)
	if !ok {
		return false
	}
	found := false
	for i, f := range v.Features {
		if one && f.Name != featureName {
			continue
		}
		found = true
		c.add(At[string]{V: f.Name, Pos: ref.Pos}, "feature view "+v.Name)
		svc.Features = append(svc.Features, ServiceFeature{View: v, Index: i})
	}
	if !found {
		r.errorf(ref.Pos, "feature view %s has no feature %q%s", v.Name, featureName, spell.Suggest(featureName, v.featureNames()))
	}
	return found
}

func (r *resolver) derived(s *serviceSpec, svc *Service, c *columns, complete bool) {
	if len(s.Derived) == 0 {
		return
	}
	var env *expr.Env
	if complete {
		var vars []expr.Variable
		seen := map[string]bool{}
		for _, f := range svc.Features {
			name := fmt.Sprintf("%s.%s", f.View.Name, f.View.Features[f.Index].Name)
			if seen[name] {
				return // the collision is reported already
			}
			seen[name] = true
			vars = append(vars, expr.Variable{Name: name, Type: f.View.Features[f.Index].Type})
		}
		for _, q := range svc.Request {
			vars = append(vars, expr.Variable{Name: "request." + q.Name, Type: q.Type})
		}
		env = r.newEnv(s.Name.Pos, vars)
	}
	for i := range s.Derived {
		r.derivedFeature(&s.Derived[i], svc, c, env)
	}
}

func (r *resolver) derivedFeature(d *derivedSpec, svc *Service, c *columns, env *expr.Env) {
	if r.name("derived feature", d.Name) {
		c.add(d.Name, "a derived feature")
	}
	want := feature.Null
	if d.Type.Set {
		t, err := feature.ParseType(d.Type.V)
		if err != nil {
			r.errorf(d.Type.Pos, "%v", err)
			return
		}
		want = t
	}
	if env == nil || !d.Expr.Set {
		return
	}
	p := r.compile("expr", d.Expr, env)
	if p == nil {
		return
	}
	if want != feature.Null && p.Type() != want {
		r.errorf(d.Expr.Pos, "derived feature %q is declared %s; its expression gives %s", d.Name.V, want, p.Type())
		return
	}
	svc.Derived = append(svc.Derived, Derived{Name: d.Name.V, Type: p.Type(), Program: p})
}
