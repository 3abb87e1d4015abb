package config

// ViewCost is what one view can cost at worst, for `check` to print.
type ViewCost struct {
	View           *View
	EntityBytes    int // of one entity in the online store
	LookupBytes    int // read by a lookup of the view for one entity
	MaxEntityBytes int
}

// Check returns the costs of a plane's views, in order. Warnings are in Plane.Warnings.
func Check(p *Plane) []ViewCost {
	costs := make([]ViewCost, len(p.Views))
	for i, v := range p.Views {
		entity, lookup := v.Layout.WorstCase()
		costs[i] = ViewCost{View: v, EntityBytes: entity, LookupBytes: lookup, MaxEntityBytes: v.MaxEntityBytes}
	}
	return costs
}
