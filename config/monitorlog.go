package config

import (
	"math"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// The topics of what monitors have found that offline stores keep, after the plane's prefix.
const (
	ScoresTopic  = "monitor.scores"
	WindowsTopic = "monitor.windows"
)

// maxMonitorLogBytes is as much as the topics take.
const maxMonitorLogBytes = 8 << 20

// KeepsWindows reports whether the profiles of judged windows are written down: the plane has an offline store to keep them.
func (p *Plane) KeepsWindows() bool {
	return len(p.Monitors) > 0 && (p.Connections.ClickHouse != nil || p.Connections.Parquet != nil)
}

// ScoreLog returns the topic of the monitors' scores as a source. A record is what one series of a monitor (kind, column, slice and
// check) came to in one window: the window's end is the event time. Records of the same series and window have each
// another revision, and the highest holds.
func (p *Plane) ScoreLog() *Source {
	return p.monitorLog("monitor_scores", ScoresTopic, []Field{
		{Name: "kind", Type: feature.String, Required: true, Description: "skew, drift, value_skew, quality, volume, freshness, performance"},
		{Name: "column", Type: feature.String, Required: true, Description: "the column of the inferences; of freshness the source; empty where it is not of one"},
		{Name: "slice", Type: feature.String, Required: true, Description: "field=value; empty: all rows"},
		{Name: "check", Type: feature.String, Required: true, Description: "which of the kind's checks, as null_share or auc; empty where it has but one"},
		{Name: "revision", Type: feature.Int64, Required: true, Description: "of two rows of one series and window the higher holds: labels came later"},
		{Name: "against", Type: feature.String, Required: true, Description: "what the window was compared with"},
		{Name: "method", Type: feature.String, Required: true, Description: "how"},
		{Name: "score", Type: feature.Float64, Description: "the distance by its formula; null where there is none"},
		{Name: "effect", Type: feature.Float64, Description: "without what chance gives: what the threshold is for"},
		{Name: "threshold", Type: feature.Float64, Required: true, Description: "the least effect that counts"},
		{Name: "p", Type: feature.Float64, Description: "how surprising the window is if nothing has changed"},
		{Name: "p_adjusted", Type: feature.Float64, Description: "for all tests of the window"},
		{Name: "level", Type: feature.Float64, Required: true, Description: "at or below it p_adjusted is significant"},
		{Name: "n_ref", Type: feature.Int64, Required: true, Description: "rows of what was compared with"},
		{Name: "n_cur", Type: feature.Int64, Required: true, Description: "rows of the window"},
		{Name: "n_eff_ref", Type: feature.Float64, Description: "how many independent rows n_ref are worth"},
		{Name: "n_eff_cur", Type: feature.Float64, Description: "how many independent rows n_cur are worth"},
		{Name: "outcome", Type: feature.String, Required: true, Description: "stable, drifted, exceeded, worse, type_changed, too_few_rows, no_rows"},
		{Name: "coverage", Type: feature.Float64, Description: "share of the window's inferences that have labels; null where labels have no say"},
		{Name: "moved", Type: feature.ListOf(feature.String), Description: "the bins that moved most, with their shares of what was compared with and of the window"},
		{Name: "notes", Type: feature.ListOf(feature.String), Description: "for people"},
	})
}

// WindowLog returns the topic of judged windows' profiles as a source. A record is how one column of one slice was distributed in one
// window of a monitor, as it was judged: the window's end is the event time. Of windows that overlap those are here that end at
// a whole number of windows since the epoch, so that each inference is in one.
func (p *Plane) WindowLog() *Source {
	return p.monitorLog("monitor_profiles", WindowsTopic, []Field{
		{Name: "baseline", Type: feature.String, Required: true, Description: "whose bins these are"},
		{Name: "column", Type: feature.String, Required: true, Description: "the column of the inferences"},
		{Name: "slice", Type: feature.String, Required: true, Description: "field=value; empty: all rows"},
		{Name: "rows", Type: feature.Int64, Required: true, Description: "inferences of the window"},
		{Name: "nulls", Type: feature.Int64, Required: true, Description: "of them without a value"},
		{Name: "mean", Type: feature.Float64, Description: "of the finite numbers; null: there are none"},
		{Name: "stddev", Type: feature.Float64, Description: "of the finite numbers"},
		{Name: "min", Type: feature.Float64, Description: "the least finite number"},
		{Name: "max", Type: feature.Float64, Description: "the largest finite number"},
		{Name: "bins", Type: feature.ListOf(feature.String), Description: "what the baseline's bins are called, that have rows on either side"},
		{Name: "counts", Type: feature.ListOf(feature.Int64), Description: "rows of the window in each of bins"},
		{Name: "reference", Type: feature.ListOf(feature.Int64), Description: "rows of the baseline in each of bins; null: it does not have the slice"},
	})
}

// monitorLog is a topic of the monitors whose records are of windows. They have the fields of every such log, then their own.
func (p *Plane) monitorLog(name, topic string, own []Field) *Source {
	s := &Source{
		Name: name, Topic: p.Prefix + topic, Format: "json", Partitioned: true,
		EventID: -1, AllowedSkew: time.Duration(math.MaxInt64), StartAt: "earliest", MaxRecordBytes: maxMonitorLogBytes,
		Schema: append([]Field{
			{Name: "monitor", Type: feature.String, Required: true},
			{Name: "model", Type: feature.String, Required: true},
			{Name: "window_start", Type: feature.Timestamp, Required: true, Description: "the window has the inferences from here on"},
			{Name: "window_end", Type: feature.Timestamp, Required: true, Description: "up to, but not including, here"},
		}, own...),
		Key: []int{0},
	}
	s.EventTime = EventTime{Field: 3}
	return s
}
