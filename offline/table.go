package offline

import (
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// The columns that every table has besides those of its definition. Names that begin with an underscore are not given to
// fields and features.
const (
	EventTime = "_event_time" // timestamp: when the event happened
	ArrivedAt = "_arrived_at" // timestamp: the gateway's, the producer's or the broker's stamp of the record
	Deleted   = "_deleted"    // bool: the record deletes its entity
	Ordinal   = "_ordinal"    // int: 0 of backfilled rows, 1 of records
	Topic     = "_topic"      // string: where the row comes from: a Kafka topic, or backfill/NAME
	Partition = "_partition"  // int32: its partition, or the number of its file
	Offset    = "_offset"     // int64: its offset, or its row in the file
)

// BackfillPrefix begins the Topic of rows that were never in Kafka.
const BackfillPrefix = "backfill/"

// Column is a column of a table that holds a field or a feature.
type Column struct {
	Name        string
	Type        feature.Type
	Nullable    bool
	Description string
}

// Table is what an offline store keeps of one topic: one row a record. Its columns are Columns, then the ones above.
type Table struct {
	Name   string
	Source *config.Source // decodes the topic; of a view's log see config.Plane.FeatureLog
	View   *config.View   // whose log the table is; nil for all others
	Model  *config.Model  // whose inferences it has; nil for all others
	About  string         // what it has, for people; "" of a source's events and of a view's log
	// Columns has in place i the column of field i of Source.Schema. The event time of a log, its last field, is no column;
	// inferences have a column more, Mistyped.
	Columns []Column
	Key     []int // columns that begin the sort order, never null; none if the source has no key
	// Same are the columns in which, besides the event time, rows are alike that say one thing anew, and the one with the largest
	// Revision, a column, holds. Then there is a view of those, named with LatestSuffix. None: each row stands for itself.
	Same     []int
	Revision int
}

// LatestSuffix ends the name of the view of a table whose rows may be revised: it has the last revision of each.
const LatestSuffix = "_latest"

// LatestAbout describes such a view, for people.
func (t *Table) LatestAbout() string {
	return "The rows of " + t.Name + " that hold: of each the last revision."
}

// EventsTable returns the table of a source's events, "events_NAME".
func EventsTable(s *config.Source) *Table {
	t := &Table{Name: "events_" + s.Name, Source: s, Key: s.Key}
	t.columns()
	return t
}

// FeaturesTable returns the table of a view's log, "features_NAME": a row for each event that the view accepted, with the
// entity's features as of that event when it was processed.
func FeaturesTable(p *config.Plane, v *config.View) *Table {
	s := p.FeatureLog(v)
	t := &Table{Name: "features_" + v.Name, Source: s, View: v, Key: s.Key}
	t.columns()
	return t
}

func (t *Table) columns() {
	key := make(map[int]bool, len(t.Key))
	for _, k := range t.Key {
		key[k] = true
	}
	for i, f := range t.Source.Schema {
		if f.Name == config.FeatureLogTime {
			continue
		}
		t.Columns = append(t.Columns, Column{
			Name: f.Name, Type: f.Type, Description: f.Description,
			// A tombstone has only its key; what else is required of events may be null in its row.
			Nullable: !key[i] && (!f.Required || t.Source.Tombstones),
		})
	}
}

// Tables returns a plane's tables: each source's events, then the log of each view that keeps one, then the inferences of
// each model, then what monitors have found, if there are any.
func Tables(p *config.Plane) []*Table {
	var out []*Table
	for _, s := range p.Sources {
		out = append(out, EventsTable(s))
	}
	for _, v := range p.Views {
		if v.History == "events" {
			out = append(out, FeaturesTable(p, v))
		}
	}
	for _, m := range p.Models {
		out = append(out, InferencesTable(m))
	}
	if len(p.Monitors) > 0 {
		out = append(out, ScoresTable(p), ProfilesTable(p))
	}
	return out
}
