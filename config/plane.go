package config

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/freshet-io/freshet/internal/expr"
	"github.com/freshet-io/freshet/internal/feature"
)

// Plane is a checked definition: names are resolved to pointers, expressions are compiled, defaults are filled in. Every
// list is in the order of the definition. A Plane is immutable and safe for concurrent use.
type Plane struct {
	Project     string
	Prefix      string // of every topic, group and transactional id that Freshet owns; default "freshet.<project>."
	Connections Connections
	Listen      Listen
	Processing  Processing
	Offline     Offline
	Entities    []*Entity
	Sources     []*Source
	Views       []*View
	Services    []*Service
	Models      []*Model
	Baselines   []*Baseline
	Monitors    []*Monitor
	Channels    []*Channel
	Warnings    []Issue // what `check` tells but does not refuse
}

// Entity is what features describe.
type Entity struct {
	Name        string
	Description string
	JoinKeys    []Field // in the order of the entity key
}

// Field is a named, typed column.
type Field struct {
	Name        string
	Description string
	Type        feature.Type
	Required    bool
}

// Source is a topic of events and their schema.
type Source struct {
	Name           string
	Description    string
	Topic          string
	Format         string // "json"
	Schema         []Field
	Key            []int // indices into Schema, in the order of the record key
	Partitioned    bool  // producers partition by murmur2 of the key; false for `partitioning: unknown`
	EventTime      EventTime
	EventID        int           // index into Schema, -1 when events are not deduplicated
	EventIDHorizon time.Duration // how long an event id is remembered, in stream time
	Tombstones     bool          // a record with a null value deletes its entity; else it is dead-lettered
	AllowedSkew    time.Duration // how far an event may be ahead of its record's Kafka timestamp
	StartAt        string        // "earliest" or "latest": where a first start begins
	MaxRecordBytes int
	// Nested, where it is set, names an object of the record whose members are the fields from NestedFrom on. Their values
	// are taken as they are: one of another type than its field's is not refused, and an absent object has none.
	Nested     string
	NestedFrom int
}

// EventTime says where an event's time comes from.
type EventTime struct {
	Field  int            // index into Schema, -1 for the record's Kafka timestamp
	Format TimeFormat     // of an Int64 or String field; a Timestamp field needs none
	Zone   *time.Location // of a String that names none; nil: such a time is an error
}

// TimeFormat is the encoding of a time in a field.
type TimeFormat string

// The time formats.
const (
	RFC3339    TimeFormat = "rfc3339" // with a zone; finer than microseconds is floored
	UnixSecond TimeFormat = "unix_s"
	UnixMilli  TimeFormat = "unix_ms"
	UnixMicro  TimeFormat = "unix_us"
)

// View is a set of features of one entity computed from one source.
type View struct {
	Name           string
	Description    string
	Entity         *Entity
	Source         *Source
	KeyFields      []int // for each join key of Entity, the index of its field in Source.Schema
	Direct         bool  // Source is keyed by Entity's join keys in the same order and Partitioned: no repartition
	TTL            time.Duration
	History        string        // "events" or "none"
	Where          *expr.Program // nil: every event
	Features       []Feature
	Layout         *feature.Layout // Layout.Feature i is Features[i]
	Definition     string          // canonical text of what the fingerprint covers; stored beside it, see Diff
	Fingerprint    Fingerprint
	MaxEntityBytes int
}

// Feature is one column of a view.
type Feature struct {
	Name        string
	Description string
	Aggregate   string        // "" for a row feature: the latest value
	Of          *expr.Program // nil for a count of events
	Where       *expr.Program // nil: every event that passes the view's
	Window      time.Duration // 0: lifetime
	Spec        feature.AggregatorSpec
	Type        feature.Type // of the feature's values
}

// Fingerprint identifies a view's definition: source topic and schema fields used, entity, key, features, windows,
// expressions. What does not change the numbers (ttl, history, descriptions) is not in it. See View.Describe.
type Fingerprint [8]byte

// String returns the fingerprint in hexadecimal, as topics and Redis fields carry it.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// State returns the name of one generation of a definition's state, in cell keys, meta records and Redis fields: the
// fingerprint itself for generation 0, which the processors build; the others are built anew by `apply` and `backfill`.
func (f Fingerprint) State(generation uint32) Fingerprint {
	if generation == 0 {
		return f
	}
	return fingerprint(string(binary.LittleEndian.AppendUint32(f[:], generation)))
}

// Service is a named list of features that a model asks for, with features derived from them.
type Service struct {
	Name     string
	Features []ServiceFeature
	Request  []Field
	Derived  []Derived
}

// ServiceFeature is one stored feature of a service.
type ServiceFeature struct {
	View  *View
	Index int // into View.Features
}

// Derived is an on-demand feature. Its program's row is every ServiceFeature's value in order, then every Request
// field's.
type Derived struct {
	Name    string
	Type    feature.Type
	Program *expr.Program
}

// Connections says where the services are. A nil member is embedded in `dev` and `demo` and an error in `run`.
type Connections struct {
	Kafka      *Kafka
	Redis      *Redis
	ClickHouse *ClickHouse // nil: no tables for SQL
	Parquet    *Parquet    // nil: no files; dev and demo then write to their own folder
}

// Kafka is a cluster and how to authenticate to it.
type Kafka struct {
	Brokers           []string
	TLS               *TLS
	SASL              *SASL
	ReplicationFactor int           // of the topics that Freshet creates; 0: 3, or as many as the cluster has brokers if those are fewer
	MinInsyncReplicas int           // 0: 2, or as many as there are replicas if those are fewer
	SessionTimeout    time.Duration // of consumer groups; 0: 10 s
}

// Redis is a Redis server, cluster or Sentinel by URL: redis:// rediss:// redis-cluster:// rediss-cluster://
// redis-sentinel:// rediss-sentinel://.
type Redis struct {
	URL Secret
	TLS *TLS
}

// ClickHouse is a server or cluster by URL: clickhouse:// clickhouses:// (native protocol) http:// https://, its path the
// database. Cluster, when set, is the name under which tables are created on every node.
type ClickHouse struct {
	URL     Secret
	TLS     *TLS
	Cluster string
	TTL     time.Duration // of rows, from their event time, of tables that are created from then on; 0: they stay
}

// Parquet is where files are kept, by URL: file:///path, s3://bucket/prefix, gs://bucket/prefix.
type Parquet struct {
	URL Secret
}

// TLS names files in PEM. As a client, CA verifies the server and Cert with Key authenticate the client; as a
// listener, Cert and Key are the server's and ClientCA, when set, demands client certificates.
type TLS struct {
	CA, Cert, Key, ClientCA string
	ServerName              string
}

// SASL authenticates to Kafka.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	Username  string
	Password  Secret
}

// Secret is a string that does not print.
type Secret string

// String hides the secret.
func (Secret) String() string { return "[hidden]" }

// GoString hides the secret.
func (Secret) GoString() string { return "[hidden]" }

// Listen says where the faces listen.
type Listen struct {
	HTTP, GRPC, Admin string
	TLS               *TLS
	TokensFile        string
}

// Offline tunes what fills the offline stores; the defaults suit most planes.
type Offline struct {
	FlushInterval time.Duration // how long a record may wait before its batch is written; default 5s
	FlushRows     int           // records of a partition in one batch; default 100_000
	Memory        int64         // of records that wait, of all tables; default 128 MiB
}

// Processing tunes the stream runtime; the defaults suit most planes.
type Processing struct {
	CommitInterval   time.Duration // transactions of the materializer; default 1s
	RouteInterval    time.Duration // transactions of the router; default 20ms
	PublishInterval  time.Duration // how long an entity's change may wait before it is published; default 10ms
	StateCacheBytes  int64         // entities held in memory; default 512 MiB
	MaxPendingWrites int           // entities waiting for Redis before processing pauses, as it does when they fill StateCacheBytes; default 200_000
	StateDir         string        // of the local store; default under the user's cache folder
	InstanceID       string        // stable name of this instance; default the host's name
}
