package serving

import (
	"maps"
	"slices"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

// catalog finds the plane's definitions by name.
type catalog struct {
	project  string
	views    map[string]*viewEntry
	services map[string]*config.Service
	joinKeys map[string]feature.Type // of every entity; the first entity's type where two differ
}

// viewEntry is one view and its features by name.
type viewEntry struct {
	view     *config.View
	features map[string]int
}

func newCatalog(plane *config.Plane) *catalog {
	c := &catalog{
		project:  plane.Project,
		views:    make(map[string]*viewEntry, len(plane.Views)),
		services: make(map[string]*config.Service, len(plane.Services)),
		joinKeys: make(map[string]feature.Type),
	}
	for _, v := range plane.Views {
		e := &viewEntry{view: v, features: make(map[string]int, len(v.Features))}
		for i := range v.Features {
			e.features[v.Features[i].Name] = i
		}
		c.views[v.Name] = e
	}
	for _, s := range plane.Services {
		c.services[s.Name] = s
	}
	for _, e := range plane.Entities {
		for _, k := range e.JoinKeys {
			if _, ok := c.joinKeys[k.Name]; !ok {
				c.joinKeys[k.Name] = k.Type
			}
		}
	}
	return c
}

func (c *catalog) service(name string) (*config.Service, *Error) {
	s, ok := c.services[name]
	if !ok {
		return nil, notFound(serviceNotFound, "Feature service %s does not exist in project %s%s",
			name, c.project, spell.Suggest(name, names(c.services)))
	}
	return s, nil
}

func (c *catalog) feature(view, name string) (config.ServiceFeature, *Error) {
	e, ok := c.views[view]
	if !ok {
		return config.ServiceFeature{}, notFound(viewNotFound, "Feature view %s does not exist in project %s%s",
			view, c.project, spell.Suggest(view, names(c.views)))
	}
	i, ok := e.features[name]
	if !ok {
		return config.ServiceFeature{}, notFound(objectNotFound, "Feature %s does not exist in feature view %s%s",
			name, view, spell.Suggest(name, names(e.features)))
	}
	return config.ServiceFeature{View: e.view, Index: i}, nil
}

// names returns the names of a lookup table, sorted so that suggestions do not depend on map order.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
