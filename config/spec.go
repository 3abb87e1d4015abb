package config

import "time"

// The structs of this file are the form of the definition files. From their tags come the decoding, the messages about
// unknown and missing fields, the JSON Schema and the check that the manual mentions every field.

type planeSpec struct {
	Project     At[string]      `yaml:"project" doc:"Name of the plane. It prefixes topics, groups and Redis keys."`
	Prefix      At[string]      `yaml:"prefix" doc:"Start of the name of every topic, consumer group and transactional id that Freshet owns. Default: freshet.PROJECT. (with both dots)."`
	Connections *connectSpec    `yaml:"connections" doc:"Where the services are. What is not named is embedded by dev and demo, and refused by run."`
	Listen      *listenSpec     `yaml:"listen" doc:"Where the interfaces listen."`
	Processing  *processingSpec `yaml:"processing" doc:"Tuning of the stream processors; the defaults suit most planes."`
	Offline     *offlineSpec    `yaml:"offline" doc:"Tuning of what fills the offline stores; the defaults suit most planes."`
	Entities    []entitySpec    `yaml:"entities" doc:"What features describe: a carrier, a user, a pair of places."`
	Sources     []sourceSpec    `yaml:"sources" doc:"Topics of events and their schemas."`
	Views       []viewSpec      `yaml:"feature_views" doc:"Sets of features of one entity, computed from one source."`
	Services    []serviceSpec   `yaml:"feature_services" doc:"Named lists of features that models ask for."`
	Models      []modelSpec     `yaml:"models" doc:"Models and the inference events that they log."`
	Baselines   []baselineSpec  `yaml:"baselines" doc:"Distributions that monitors compare with."`
	Monitors    []monitorSpec   `yaml:"monitors" doc:"What is watched for skew and drift."`
	Channels    []channelSpec   `yaml:"channels" doc:"Where alerts are sent."`
}

type connectSpec struct {
	Kafka      *kafkaSpec      `yaml:"kafka" doc:"The Kafka cluster."`
	Redis      *redisSpec      `yaml:"redis" doc:"The online store."`
	ClickHouse *clickHouseSpec `yaml:"clickhouse" doc:"The offline store for SQL."`
	Parquet    *parquetSpec    `yaml:"parquet" doc:"The offline store in files."`
}

type kafkaSpec struct {
	Pos
	Brokers           []At[string]      `yaml:"brokers" doc:"Addresses host:port to start from; one value may hold several, separated by commas." required:"true"`
	TLS               *tlsSpec          `yaml:"tls" doc:"TLS to the brokers; {} uses the system's authorities."`
	SASL              *saslSpec         `yaml:"sasl" doc:"Authentication to the brokers."`
	ReplicationFactor At[int]           `yaml:"replication_factor" doc:"Copies of the topics that Freshet creates. Default: 3, or as many as the cluster has brokers if those are fewer."`
	MinInsyncReplicas At[int]           `yaml:"min_insync_replicas" doc:"Copies that must have a record before it is acknowledged, on the topics that Freshet creates. Default: 2, or replication_factor if that is less."`
	SessionTimeout    At[time.Duration] `yaml:"session_timeout" doc:"How long a process that died keeps its partitions. Less than 6s needs a lower group.min.session.timeout.ms of the brokers. Default: 10s."`
}

type saslSpec struct {
	Mechanism At[string] `yaml:"mechanism" doc:"How to authenticate." enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" required:"true"`
	Username  At[string] `yaml:"username" doc:"The user." required:"true"`
	Password  At[string] `yaml:"password" doc:"The password: ${VARIABLE} or file:PATH." required:"true"`
}

type tlsSpec struct {
	Pos
	CA         At[string] `yaml:"ca" doc:"File of the authorities that the server's certificate is checked against. Default: the system's."`
	Cert       At[string] `yaml:"cert" doc:"File of our certificate."`
	Key        At[string] `yaml:"key" doc:"File of our certificate's key."`
	ServerName At[string] `yaml:"server_name" doc:"Name that the server's certificate must have, where it differs from the address."`
}

type redisSpec struct {
	URL At[string] `yaml:"url" doc:"redis:// rediss:// redis-cluster:// rediss-cluster:// redis-sentinel:// rediss-sentinel://. A password stands in it as ${VARIABLE}." required:"true"`
	TLS *tlsSpec   `yaml:"tls" doc:"Certificates for a rediss URL."`
}

type clickHouseSpec struct {
	URL     At[string]        `yaml:"url" doc:"clickhouse:// clickhouses:// (native protocol) http:// https://; the path is the database. A password stands in it as ${VARIABLE}." required:"true"`
	TLS     *tlsSpec          `yaml:"tls" doc:"Certificates for a clickhouses or https URL."`
	Cluster At[string]        `yaml:"cluster" doc:"Name of the cluster on which tables are created, replicated and distributed. Default: one node."`
	TTL     At[time.Duration] `yaml:"ttl" doc:"Rows whose event time is older are removed. Default: none are."`
}

type parquetSpec struct {
	URL At[string] `yaml:"url" doc:"file:///folder, s3://bucket/prefix or gs://bucket/prefix." required:"true"`
}

type listenSpec struct {
	HTTP       At[string]     `yaml:"http" doc:"Ingest gateway and Feast HTTP. Default: 127.0.0.1:6566."`
	GRPC       At[string]     `yaml:"grpc" doc:"Feast gRPC. Default: 127.0.0.1:6567."`
	Admin      At[string]     `yaml:"admin" doc:"Metrics, health and profiles. Default: 127.0.0.1:6580."`
	TLS        *listenTLSSpec `yaml:"tls" doc:"TLS of the http and grpc interfaces."`
	TokensFile At[string]     `yaml:"tokens_file" doc:"File of bearer tokens, one a line with a name and the sources and services it may use."`
}

type listenTLSSpec struct {
	Cert     At[string] `yaml:"cert" doc:"File of the server's certificate." required:"true"`
	Key      At[string] `yaml:"key" doc:"File of the certificate's key." required:"true"`
	ClientCA At[string] `yaml:"client_ca" doc:"File of the authorities that clients' certificates must come from; without it clients need none."`
}

type processingSpec struct {
	CommitInterval   At[time.Duration] `yaml:"commit_interval" doc:"How often the materializer commits a transaction. Default: 1s."`
	RouteInterval    At[time.Duration] `yaml:"route_interval" doc:"How often a repartitioning router commits. Default: 20ms."`
	PublishInterval  At[time.Duration] `yaml:"publish_interval" doc:"How long an entity's change may wait before it is published online. Default: 10ms."`
	StateCacheBytes  At[byteSize]      `yaml:"state_cache_bytes" doc:"Memory for entities. Default: 512MiB."`
	MaxPendingWrites At[int]           `yaml:"max_pending_writes" doc:"Entities that may wait for Redis before processing pauses. It pauses too when those that wait fill state_cache_bytes. Asked before each batch of up to 20000 records is read, so one batch more may come to wait. Default: 200000."`
	StateDir         At[string]        `yaml:"state_dir" doc:"Folder of the local state. Default: freshet/PROJECT in the user's cache folder."`
	InstanceID       At[string]        `yaml:"instance_id" doc:"Stable name of this instance. Default: the host's name."`
}

type offlineSpec struct {
	FlushInterval At[time.Duration] `yaml:"flush_interval" doc:"How long a record may wait before its batch is written. Default: 5s."`
	FlushRows     At[int]           `yaml:"flush_rows" doc:"Records of one partition that are written as one batch, at most. Default: 100000."`
	Memory        At[byteSize]      `yaml:"memory" doc:"Memory for records that wait to be written, of all tables together. Beyond it reading pauses. Default: 128MiB."`
}

type entitySpec struct {
	Pos
	Name        At[string]    `yaml:"name" doc:"Name of the entity." required:"true"`
	Description At[string]    `yaml:"description" doc:"For people."`
	JoinKeys    []joinKeySpec `yaml:"join_keys" doc:"What identifies one entity, in the order of its key." required:"true"`
}

type joinKeySpec struct {
	Name At[string] `yaml:"name" doc:"Name of the join key, which is also the name of the sources' field." required:"true"`
	Type At[string] `yaml:"type" doc:"Its type." enum:"bool,int64,string,bytes,timestamp" required:"true"`
}

type sourceSpec struct {
	Pos
	Name           At[string]        `yaml:"name" doc:"Name of the source." required:"true"`
	Description    At[string]        `yaml:"description" doc:"For people."`
	Topic          At[string]        `yaml:"topic" doc:"The Kafka topic." required:"true"`
	Format         At[string]        `yaml:"format" doc:"Encoding of the records' values. Default: json. This version reads json." enum:"json,avro,protobuf"`
	Key            []At[string]      `yaml:"key" doc:"Fields that the topic is keyed by, in order. Views of entities with other join keys are repartitioned."`
	Partitioning   At[string]        `yaml:"partitioning" doc:"Whether producers partition by murmur2 of the key, as Java clients and the gateway do. Default: murmur2; unknown repartitions every view." enum:"murmur2,unknown"`
	EventTime      *eventTimeSpec    `yaml:"event_time" doc:"Where an event's time is. Default: the record's Kafka timestamp."`
	EventID        *eventIDSpec      `yaml:"event_id" doc:"Drops events that come again under the same id."`
	Tombstones     At[string]        `yaml:"tombstones" doc:"What a record with a null value means: delete its entity, or reject it to the dead letters. Default: reject." enum:"delete,reject"`
	AllowedSkew    At[time.Duration] `yaml:"allowed_skew" doc:"How far an event may be ahead of its record's Kafka timestamp. Default: 5m."`
	StartAt        At[string]        `yaml:"start_at" doc:"Where a first start begins to read. Default: earliest." enum:"earliest,latest"`
	MaxRecordBytes At[byteSize]      `yaml:"max_record_bytes" doc:"Larger records go to the dead letters. Default: 1MiB."`
	Schema         []fieldSpec       `yaml:"schema" doc:"Fields of the events. Others are ignored." required:"true"`
}

type eventTimeSpec struct {
	Pos
	Field  At[string] `yaml:"field" doc:"Field that holds the time: a timestamp, a string or an int64." required:"true"`
	Format At[string] `yaml:"format" doc:"Encoding of a string or int64 field. Default for a string: rfc3339." enum:"rfc3339,unix_s,unix_ms,unix_us"`
	Zone   At[string] `yaml:"zone" doc:"IANA time zone of times that name none, such as Europe/Berlin or UTC. Without it such a time is an error."`
}

type eventIDSpec struct {
	Field   At[string]        `yaml:"field" doc:"Field that holds the id: a string, int64 or bytes." required:"true"`
	Horizon At[time.Duration] `yaml:"horizon" doc:"How long an id is remembered, in event time. Default: 1h."`
}

type fieldSpec struct {
	Name        At[string] `yaml:"name" doc:"Name of the field." required:"true"`
	Type        At[string] `yaml:"type" doc:"Type of the field." enum:"bool,int64,float64,string,bytes,timestamp" required:"true"`
	Required    At[bool]   `yaml:"required" doc:"Events without the field go to the dead letters. Default: false."`
	Description At[string] `yaml:"description" doc:"For people."`
}

type viewSpec struct {
	Pos
	Name           At[string]        `yaml:"name" doc:"Name of the view." required:"true"`
	Description    At[string]        `yaml:"description" doc:"For people."`
	Entity         At[string]        `yaml:"entity" doc:"The entity that the features describe." required:"true"`
	Source         At[string]        `yaml:"source" doc:"The source that they are computed from." required:"true"`
	TTL            At[time.Duration] `yaml:"ttl" doc:"Age of an entity's last event after which its features read as null, with status OUTSIDE_MAX_AGE. Default: none."`
	History        At[string]        `yaml:"history" doc:"Offline rows of the view: one an event, or none. The rows are written only where the plane has an offline store. Default: events." enum:"events,none"`
	Where          At[source]        `yaml:"where" doc:"Condition on the source's fields; only events that pass count. Null does not pass."`
	MaxEntityBytes At[byteSize]      `yaml:"max_entity_bytes" doc:"Refuses the view if one entity can take more. Default: 64KiB."`
	Features       []featureSpec     `yaml:"features" doc:"The features." required:"true"`
}

type featureSpec struct {
	Pos
	Name        At[string]        `yaml:"name" doc:"Name of the feature." required:"true"`
	Description At[string]        `yaml:"description" doc:"For people."`
	Aggregate   At[string]        `yaml:"aggregate" doc:"Aggregate function. Without one the feature is the value of the latest event."`
	Of          At[source]        `yaml:"of" doc:"Expression over the source's fields that is aggregated. A null is skipped."`
	Where       At[source]        `yaml:"where" doc:"Condition that events must pass besides the view's, for an aggregate."`
	Window      At[time.Duration] `yaml:"window" doc:"How far back the aggregate looks. Without one: the entity's lifetime."`
	Q           At[float64]       `yaml:"q" doc:"The quantile of approx_quantile, 0 to 1."`
	N           At[int]           `yaml:"n" doc:"How many values last_n keeps."`
	K           At[int]           `yaml:"k" doc:"How many values top_k keeps."`
}

type serviceSpec struct {
	Pos
	Name        At[string]         `yaml:"name" doc:"Name of the service." required:"true"`
	Description At[string]         `yaml:"description" doc:"For people."`
	Features    []At[string]       `yaml:"features" doc:"A whole view, or view:feature." required:"true"`
	Request     []requestFieldSpec `yaml:"request" doc:"Fields that a request carries for derived features."`
	Derived     []derivedSpec      `yaml:"derived" doc:"Features computed at lookup, and in training sets alike."`
}

type requestFieldSpec struct {
	Name At[string] `yaml:"name" doc:"Name of the request field; expressions read request.NAME." required:"true"`
	Type At[string] `yaml:"type" doc:"Its type." enum:"bool,int64,float64,string,bytes,timestamp" required:"true"`
}

type derivedSpec struct {
	Name At[string] `yaml:"name" doc:"Name of the derived feature." required:"true"`
	Type At[string] `yaml:"type" doc:"Type that the expression must give. Default: the type it gives."`
	Expr At[source] `yaml:"expr" doc:"Expression over view.feature and request.field." required:"true"`
}
