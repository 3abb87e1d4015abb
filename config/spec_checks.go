package config

import "time"

type qualitySpec struct {
	Pos
	NullShare  At[float64] `yaml:"null_share" doc:"How far the share of nulls may rise. Default: 0.05 if none is given, else off."`
	OutOfRange At[float64] `yaml:"out_of_range" doc:"Numbers below or above all of the training data. Default: 0.02 if none is given, else off."`
	Unseen     At[float64] `yaml:"unseen" doc:"Categories without a bin in the baseline. Default: 0.02 if none is given, else off."`
	TypeErrors At[float64] `yaml:"type_errors" doc:"Values of another type. Default: 0.01 if none is given, else off."`
	NotFinite  At[float64] `yaml:"not_finite" doc:"NaN and infinities. Default: 0.01 if none is given, else off."`
}

type volumeSpec struct {
	Pos
	Threshold At[float64] `yaml:"threshold" doc:"Relative change that is too much; above 1 only a rise can be. Default: 0.5."`
	Weeks     At[int]     `yaml:"weeks" doc:"How many earlier weeks are compared with. Default: 4."`
}

type freshnessSpec struct {
	Source At[string]        `yaml:"source" doc:"The source whose events are read." required:"true"`
	By     At[string]        `yaml:"by" doc:"A string field of the source, whose values are judged each."`
	MaxAge At[time.Duration] `yaml:"max_age" doc:"How old the newest event may be." required:"true"`
	AsOf   At[string]        `yaml:"as_of" doc:"What ages are measured by: the clock, or the newest event of the whole source, as for sources that are replayed. Default: clock." enum:"clock,stream"`
}
