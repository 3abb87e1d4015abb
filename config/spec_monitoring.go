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
}

type predictionSpec struct {
	Field At[string] `yaml:"field" doc:"Field with the prediction." required:"true"`
	Type  At[string] `yaml:"type" doc:"A number, a class or a probability." enum:"float64,string,probability" required:"true"`
}

type labelSpec struct {
	Topic  At[string]        `yaml:"topic" doc:"The Kafka topic of labels." required:"true"`
	ID     At[string]        `yaml:"id" doc:"Field with the inference's id." required:"true"`
	Field  At[string]        `yaml:"field" doc:"Field with the label." required:"true"`
	Type   At[string]        `yaml:"type" doc:"Its type." enum:"bool,int64,float64,string" required:"true"`
	Within At[time.Duration] `yaml:"within" doc:"How late a label may come." required:"true"`
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
	Baseline At[string] `yaml:"baseline" doc:"The baseline compared with." required:"true"`
}

type driftSpec struct {
	Against At[time.Duration] `yaml:"against" doc:"How much earlier the window compared with lies." required:"true"`
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
