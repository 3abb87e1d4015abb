package config

import "time"

type modelSpec struct {
	Pos
	Name        At[string]     `yaml:"name" doc:"Name of the model." required:"true"`
	Description At[string]     `yaml:"description" doc:"For people."`
	Service     At[string]     `yaml:"feature_service" doc:"The feature service that the model asks." required:"true"`
	Inferences  *inferenceSpec `yaml:"inferences" doc:"The inference events that the model's server logs." required:"true"`
	Labels      *labelSpec     `yaml:"labels" doc:"What turned out to be true, which may come late."`
}

type inferenceSpec struct {
	Topic      At[string]      `yaml:"topic" doc:"The Kafka topic of inferences." required:"true"`
	Format     At[string]      `yaml:"format" doc:"Encoding of the records' values. Default: json." enum:"json,avro,protobuf"`
	ID         At[string]      `yaml:"id" doc:"Field with the inference's id, by which labels find it."`
	EventTime  *eventTimeSpec  `yaml:"event_time" doc:"Where an inference's time is. Default: the record's Kafka timestamp."`
	Version    At[string]      `yaml:"version" doc:"Field with the model's version."`
	Features   At[string]      `yaml:"features" doc:"Field with the object of feature values that the model was served. Default: features."`
	Prediction *predictionSpec `yaml:"prediction" doc:"What the model said."`
	Slices     []At[string]    `yaml:"slices" doc:"Fields whose values are watched apart."`
	AsOf       *asOfSpec       `yaml:"as_of" doc:"The as_of of the lookup's answer: when the features were read."`
	Entities   []entityKeySpec `yaml:"entities" doc:"Fields with the join keys of the lookup, where they are not named as the join keys."`
}

type asOfSpec struct {
	Pos
	Field  At[string] `yaml:"field" doc:"Field that holds as_of." required:"true"`
	Format At[string] `yaml:"format" doc:"Its encoding. Default: unix_us, as answers have it." enum:"rfc3339,unix_s,unix_ms,unix_us"`
}

type entityKeySpec struct {
	JoinKey At[string] `yaml:"join_key" doc:"A join key of an entity that the model's features describe." required:"true"`
	Field   At[string] `yaml:"field" doc:"Field of the inferences that holds it." required:"true"`
}

type predictionSpec struct {
	Field At[string] `yaml:"field" doc:"Field with the prediction." required:"true"`
	Type  At[string] `yaml:"type" doc:"A number, a class or a probability." enum:"float64,string,probability" required:"true"`
}

type labelSpec struct {
	Topic     At[string]        `yaml:"topic" doc:"The Kafka topic of labels." required:"true"`
	ID        At[string]        `yaml:"id" doc:"Field with the inference's id." required:"true"`
	Field     At[string]        `yaml:"field" doc:"Field with the label." required:"true"`
	Type      At[string]        `yaml:"type" doc:"Its type." enum:"bool,int64,float64,string" required:"true"`
	EventTime *eventTimeSpec    `yaml:"event_time" doc:"When a label became known: of several of an inference the latest counts. Default: the record's Kafka timestamp."`
	Within    At[time.Duration] `yaml:"within" doc:"How late a label may come." required:"true"`
	Positive  At[string]        `yaml:"positive" doc:"The label that is the positive class, where labels are strings."`
	Cutoff    At[float64]       `yaml:"cutoff" doc:"Probability from which on the positive class is predicted. Default: 0.5."`
}

type baselineSpec struct {
	Pos
	Name    At[string] `yaml:"name" doc:"Name of the baseline." required:"true"`
	Model   At[string] `yaml:"model" doc:"The model whose training data it describes." required:"true"`
	Version At[string] `yaml:"version" doc:"The model's version."`
}

type monitorSpec struct {
	Pos
	Name        At[string]           `yaml:"name" doc:"Name of the monitor." required:"true"`
	Description At[string]           `yaml:"description" doc:"For people."`
	Model       At[string]           `yaml:"model" doc:"The model whose inferences are watched." required:"true"`
	Window      *monitorWindowSpec   `yaml:"window" doc:"The rolling window that is compared." required:"true"`
	Skew        *skewSpec            `yaml:"skew" doc:"Compares serving with training."`
	Drift       *driftSpec           `yaml:"drift" doc:"Compares a window with an earlier one."`
	Quality     *qualitySpec         `yaml:"quality" doc:"How far the shares of bad values may lie above the baseline's; {} checks all with their defaults."`
	Volume      *volumeSpec          `yaml:"volume" doc:"Compares the inferences of each hour with those of the same hour of earlier weeks."`
	ValueSkew   *valueSkewSpec       `yaml:"value_skew" doc:"Compares what the model was served with what the offline path computes for the same entities and times, window by window of the monitor's other checks."`
	Performance *performanceSpec     `yaml:"performance" doc:"Holds the model's quality, measured by its labels, to limits."`
	Freshness   []freshnessSpec      `yaml:"freshness" doc:"How old the newest events of sources may be."`
	Numeric     At[string]           `yaml:"numeric" doc:"Distance for numeric features. Default: jensen_shannon." enum:"jensen_shannon,psi,ks,wasserstein,hellinger,chi_square,total_variation,l_infinity"`
	Categorical At[string]           `yaml:"categorical" doc:"Distance for categorical features. Default: jensen_shannon." enum:"jensen_shannon,psi,hellinger,chi_square,total_variation,l_infinity"`
	Threshold   At[float64]          `yaml:"threshold" doc:"Effect size that is too much, after bias correction. Default: 0.1."`
	FalseAlarms At[rate]             `yaml:"false_alarms" doc:"Expected number of false episodes in a time. Default: 1/30d."`
	MinSample   At[int]              `yaml:"min_sample" doc:"Fewest inferences that are judged. Default: 1000."`
	For         At[int]              `yaml:"for" doc:"Disjoint windows in a row that must be too far before an alert fires. Default: 2."`
	Features    []monitorFeatureSpec `yaml:"features" doc:"Features with a method or threshold of their own. All features of the model's service are watched."`
	Channels    []At[string]         `yaml:"channels" doc:"Where alerts are sent."`
}

type monitorWindowSpec struct {
	Pos
	Size  At[time.Duration] `yaml:"size" doc:"Length of the window." required:"true"`
	Every At[time.Duration] `yaml:"every" doc:"Step of the window. Default: its size."`
	Grace At[time.Duration] `yaml:"grace" doc:"How long a window waits for late inferences, in stream time. Default: 10s."`
}

type skewSpec struct {
	Baseline   At[string] `yaml:"baseline" doc:"The baseline compared with." required:"true"`
	Sequential At[bool]   `yaml:"sequential" doc:"Test across windows as well, for what has too few inferences in a window. Default: false."`
}

type driftSpec struct {
	Against At[time.Duration] `yaml:"against" doc:"How much earlier the window compared with lies." required:"true"`
}

type valueSkewSpec struct {
	Tolerance At[float64]       `yaml:"tolerance" doc:"How far two numbers may be apart and be the same, as a part of the larger one, and at most this where both are below 1. Default: 0.000001."`
	Threshold At[float64]       `yaml:"threshold" doc:"Share of a feature's values that may be other ones. Default: 0.01."`
	Rows      At[int]           `yaml:"rows" doc:"Inferences of a window that are compared, drawn by their ids. Default: 1000."`
	Settle    At[time.Duration] `yaml:"settle" doc:"How long after a window was judged the history is waited for. Default: 10m."`
	Timing    At[time.Duration] `yaml:"timing" doc:"How near to the lookup an event must be to explain a difference. Default: 1s with as_of, 10s without."`
}

type performanceSpec struct {
	Pos
	Metrics     []metricSpec      `yaml:"metrics" doc:"What is measured." required:"true"`
	MinCoverage At[float64]       `yaml:"min_coverage" doc:"Share of a window's inferences that must have labels before it is judged. Default: 0.5."`
	Against     At[time.Duration] `yaml:"against" doc:"How much earlier the window lies that worse_by is relative to."`
	Duplicates  At[float64]       `yaml:"max_duplicates" doc:"Share of a window's inferences whose id may have been there before. Default: any."`
}

type metricSpec struct {
	Name    At[string]  `yaml:"name" doc:"The metric." enum:"rmse,mae,log_loss,calibration_error,auc,accuracy,precision,recall" required:"true"`
	Max     At[float64] `yaml:"max" doc:"The largest value that is good, of rmse, mae, log_loss and calibration_error."`
	Min     At[float64] `yaml:"min" doc:"The least value that is good, of auc, accuracy, precision and recall."`
	WorseBy At[float64] `yaml:"worse_by" doc:"Instead of either: by which part it may be worse than in the earlier window; 0.1 is a tenth."`
}

type monitorFeatureSpec struct {
	Name      At[string]  `yaml:"name" doc:"A feature or derived feature of the model's service." required:"true"`
	Method    At[string]  `yaml:"method" doc:"Distance for this feature." enum:"jensen_shannon,psi,ks,wasserstein,hellinger,chi_square,total_variation,l_infinity"`
	Threshold At[float64] `yaml:"threshold" doc:"Effect size that is too much for this feature."`
}

type channelSpec struct {
	Pos
	Name         At[string]        `yaml:"name" doc:"Name of the channel." required:"true"`
	Webhook      *webhookSpec      `yaml:"webhook" doc:"A signed webhook (Standard Webhooks)."`
	Alertmanager *alertmanagerSpec `yaml:"alertmanager" doc:"The Alertmanager API."`
	Slack        *slackSpec        `yaml:"slack" doc:"A Slack incoming webhook."`
	PagerDuty    *pagerDutySpec    `yaml:"pagerduty" doc:"The PagerDuty Events API."`
}

type webhookSpec struct {
	URL      At[string]   `yaml:"url" doc:"Where messages are posted." required:"true"`
	Secret   At[string]   `yaml:"secret" doc:"Key that messages are signed with: ${VARIABLE} or file:PATH." required:"true"`
	Previous At[string]   `yaml:"previous_secret" doc:"A second key that messages are signed with while receivers change over."`
	Allow    []At[string] `yaml:"allow" doc:"Host names and networks (CIDR) that are reached although their addresses are not public."`
}

type alertmanagerSpec struct {
	URL At[string] `yaml:"url" doc:"Address of the Alertmanager." required:"true"`
}

type slackSpec struct {
	URL At[string] `yaml:"url" doc:"The webhook's address, which is a secret: ${VARIABLE} or file:PATH." required:"true"`
}

type pagerDutySpec struct {
	RoutingKey At[string] `yaml:"routing_key" doc:"The integration's key: ${VARIABLE} or file:PATH." required:"true"`
}
