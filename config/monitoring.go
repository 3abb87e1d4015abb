package config

import (
	"slices"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// Model is what predicts from features and logs what it was served.
type Model struct {
	Name        string
	Description string
	Service     *Service
	// Inferences is the source of the model's inference events, named as the model. Its schema has the id, version,
	// event time, prediction and slices, as far as they are defined, and then, inside the object Inferences.Nested, the
	// model's inputs.
	Inferences *Source
	ID         int // of the inference: an index into Inferences.Schema; -1 if it has none
	Version    int // -1: all inferences are of the version ""
	Prediction int // -1: predictions are not logged
	Class      bool
	Predicts   string // what predictions are: Number, ClassName or Probability; "" if they are not logged
	Slices     []int
	// AsOf is when the features of an inference were looked up; its Field is -1 if that is not logged.
	AsOf EventTime
	// JoinKeys are those of the entities that the model's features describe, in the order of the service's features, as far
	// as value skew needs them: none of a model whose monitors do without.
	JoinKeys []ModelKey
	Columns  []Column // what can be watched: the inputs, and the prediction at the end
	Labels   *Labels
}

// Intakes returns everything that takes records from outside: the sources, and those of the models' inferences and labels.
func (p *Plane) Intakes() []*Source {
	all := slices.Clone(p.Sources)
	for _, m := range p.Models {
		all = append(all, m.Inferences)
		if m.Labels != nil {
			all = append(all, m.Labels.Source)
		}
	}
	return all
}

// ModelKey is a join key in a model's inferences.
type ModelKey struct {
	Name  string
	Type  feature.Type
	Field int // index into Inferences.Schema
}

// Reads reports whether a processor reads a source, or a model's inferences: then it puts aside what it refuses of them.
func (p *Plane) Reads(s *Source) bool {
	return slices.ContainsFunc(p.Views, func(v *View) bool { return v.Source == s }) ||
		slices.ContainsFunc(p.Monitors, func(m *Monitor) bool { return m.Model.Inferences == s })
}

// Column is one column of a model's inferences that can be watched: a bool, int64, float64 or string.
type Column struct {
	Name  string // unique in the model; view__feature where the service has two features of one name
	Field int    // index into Inferences.Schema
	Type  feature.Type
	// Feature is its place among the service's features, followed by the derived ones; -1 for a request field and the
	// prediction.
	Feature int
}

// PredictionColumn is the name of the column that holds what the model said.
const PredictionColumn = "prediction"

// What a prediction is.
const (
	Number      = "float64"
	ClassName   = "string"
	Probability = "probability"
)

// Labels says where the truth comes from, and how predictions are compared with it.
type Labels struct {
	// Source is that of the label events, named MODEL.labels. Its schema has the inference's id and the label, at LabelID and
	// LabelValue, and the event time if that is a field.
	Source   *Source
	Within   time.Duration // how long after its inference a label counts
	Positive string        // the label that is the positive class, where labels are text; "" if none is
	Cutoff   float64       // from which probability on the positive class is predicted
}

// The places of a label event's fields in its schema.
const (
	LabelID = iota
	LabelValue
)

// Performance is how good a monitor wants its model's predictions to be.
type Performance struct {
	MinCoverage float64       // which share of a window's inferences must have labels before it is judged
	Against     time.Duration // how much earlier the window lies that worse_by is relative to; 0: none
	Metrics     []Metric
	// MaxDuplicates is which share of a window's inferences may have an id that was there before; 0: any.
	MaxDuplicates float64
}

// Metric is a measure of quality with its limit: Bound or, if it is above 0, WorseBy.
type Metric struct {
	Name    string
	Bound   float64 // at most, or at least where more is better
	WorseBy float64 // by which part it may be worse than in the earlier window
}

// Baseline names the stored statistics of the data that a version of a model was trained on. Version "" serves every
// version that has none of its own.
type Baseline struct {
	Name    string
	Model   *Model
	Version string
}

// Monitor compares windows of a model's inferences with its training, or with earlier windows.
type Monitor struct {
	Name        string
	Description string
	Model       *Model
	Size        time.Duration // of a window
	Every       time.Duration // step of the windows; Size and Against are whole numbers of it
	Grace       time.Duration // how long after its end, in stream time, a window is judged
	// Bins is the baseline whose bins the profiles have; compared with only if Skew. nil for a monitor with neither skew nor
	// drift.
	Bins        *Baseline
	Skew        bool
	Sequential  bool          // with Skew: tested across windows too
	Against     time.Duration // how much earlier the window compared with lies; 0: no drift
	ValueSkew   *ValueSkew    // nil: served values are not compared
	Columns     []Watched
	Performance *Performance // nil: labels are not looked at
	FalseAlarms float64      // expected number of false firing episodes in 30 days
	MinSample   int
	For         int // disjoint windows in a row
	Channels    []*Channel

	Quality   []QualityCheck // none: not checked
	Volume    *Volume        // nil: not checked
	Freshness []Freshness    // none: not checked
}

// BinsName is the name of Bins, empty if there is none.
func (m *Monitor) BinsName() string {
	if m.Bins == nil {
		return ""
	}
	return m.Bins.Name
}

// ValueSkew says how what a model was served is compared with what the offline path computes.
type ValueSkew struct {
	Tolerance float64       // two numbers are the same if they are no further apart than this part of the larger, or of 1
	Threshold float64       // share of a feature's values that is too much, above 0 and below 1
	Rows      int           // of a window that are compared, at most
	Settle    time.Duration // after a window was judged
	Timing    time.Duration // before and after the lookup
}

// Watched is one column of a monitor, with how it is compared.
type Watched struct {
	Column    int // index into Model.Columns
	Method    string
	Threshold float64
}

// Channel is where alerts are sent. Kind says which of the fields it has.
type Channel struct {
	Name       string
	Kind       string // webhook, alertmanager, slack or pagerduty
	URL        Secret
	Secrets    []Secret // of a webhook: messages are signed with each, the first is the current one
	RoutingKey Secret   // of pagerduty
	// Allow are host names and networks in CIDR form that the channel may reach although their addresses are not public.
	Allow []string
}
