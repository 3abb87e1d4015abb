package bench

import (
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// viewFields are the fields that a lookup of some features of a view reads of an entity.
type viewFields struct {
	view   *config.View
	want   []int
	names  []string // of the head, the tail's first part, and the pages that the last clock asked for
	pages  []string // of all pages, by place
	places []int
}

func newViewFields(v *config.View, want []int) *viewFields {
	head, tail := online.Fields(v.Name, v.Fingerprint)
	f := &viewFields{view: v, want: want, names: []string{head, tail}}
	for place := range v.Layout.Pages() {
		f.pages = append(f.pages, online.PageField(tail, place))
	}
	return f
}

// allOf names all features of a view.
func allOf(v *config.View) []int {
	want := make([]int, len(v.Features))
	for i := range want {
		want[i] = i
	}
	return want
}

// at returns the names of the fields for a clock, until it is called again.
func (f *viewFields) at(now time.Time) []string {
	f.names = f.names[:2]
	f.places = f.view.Layout.AppendPages(f.places[:0], f.want, now.UnixMicro())
	for _, place := range f.places {
		f.names = append(f.names, f.pages[place])
	}
	return f.names
}

// read evaluates the features from what was fetched at the last clock.
func (f *viewFields) read(r *feature.Reader, fetched [][]byte, now time.Time, out []feature.Value) (feature.Status, int64, feature.Version, error) {
	return r.ReadPages(f.view.Layout, fetched[0], fetched[1], f.places, fetched[2:], now.UnixMicro(), f.want, out)
}
