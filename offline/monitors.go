package offline

import (
	"slices"

	"github.com/freshet-io/freshet/config"
)

// Two tables hold what the monitors of a plane have found.
const (
	Scores   = "monitor_scores"
	Profiles = "monitor_profiles"
)

// ScoresTable returns the table of the monitors' scores: a row for each record of their topic. A window that was judged again, as
// labels came, has a row for each time; LatestSuffix names the view that has the last of them.
func ScoresTable(p *config.Plane) *Table {
	t := &Table{
		Name: Scores, Source: p.ScoreLog(), Key: []int{0},
		About: "What each window of each monitor came to, a row a column, slice and check; where labels came late, a row for each time that it was judged.",
	}
	t.columns()
	for i, f := range t.Source.Schema {
		switch f.Name {
		case "column", "check": // words of SQL
			t.Columns[i].Name += "_name"
		}
		if slices.Contains([]string{"monitor", "kind", "column", "slice", "check"}, f.Name) {
			t.Same = append(t.Same, i)
		}
		if f.Name == "revision" {
			t.Revision = i
		}
	}
	return t
}

// ProfilesTable returns the table of the profiles of judged windows: a row for each column and slice.
func ProfilesTable(p *config.Plane) *Table {
	t := &Table{
		Name: Profiles, Source: p.WindowLog(), Key: []int{0},
		About: "How each column of each slice was distributed in each window of each monitor, beside its baseline; windows do not overlap.",
	}
	t.columns()
	for i, f := range t.Source.Schema {
		if f.Name == "column" {
			t.Columns[i].Name += "_name"
		}
	}
	return t
}
