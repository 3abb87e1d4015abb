CREATE TABLE IF NOT EXISTS `features`.`events_trips_rows` ON CLUSTER `main`
(
    `driver` String COMMENT 'who drove' CODEC(ZSTD(1)),
    `shift` Int64 CODEC(ZSTD(1)),
    `trip id` Nullable(String) COMMENT '`quoted` \'name\' \\ of a trip' CODEC(ZSTD(1)),
    `req_bool` Bool CODEC(ZSTD(1)),
    `opt_bool` Nullable(Bool) CODEC(ZSTD(1)),
    `list_bool` Array(Bool) CODEC(ZSTD(1)),
    `stops` Array(String) CODEC(ZSTD(1)),
    `_event_time` DateTime64(6, 'UTC') COMMENT 'when the event happened, UTC' CODEC(Delta(8), ZSTD(1)),
    `_arrived_at` DateTime64(6, 'UTC') COMMENT 'when it arrived: the time stamp of its Kafka record' CODEC(Delta(8), ZSTD(1)),
    `_deleted` Bool COMMENT 'true: the record deletes its entity, and only the key is set' CODEC(ZSTD(1)),
    `_ordinal` UInt8 COMMENT '0: loaded from files; 1: from Kafka. Order within an entity is (_event_time, _ordinal, _partition, _offset)' CODEC(ZSTD(1)),
    `_topic` LowCardinality(String) COMMENT 'the Kafka topic, or backfill/NAME' CODEC(ZSTD(1)),
    `_partition` Int32 COMMENT 'the topic\'s partition, or the number of the file' CODEC(ZSTD(1)),
    `_offset` Int64 COMMENT 'the record\'s offset, or the row of the file' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/features/events_trips_rows', '{replica}')
PARTITION BY toYYYYMM(`_event_time`)
PRIMARY KEY (`driver`, `shift`, `_event_time`)
ORDER BY (`driver`, `shift`, `_event_time`, `_topic`, `_partition`, `_offset`)
TTL toDateTime(least(`_event_time`, toDateTime64('2100-01-01 00:00:00', 6, 'UTC'))) + toIntervalSecond(7776000)
COMMENT 'Storage of events_trips: a row may be here twice for a while. Read events_trips.';

CREATE TABLE IF NOT EXISTS `features`.`events_trips_ranges` ON CLUSTER `main`
(
    _topic LowCardinality(String),
    _partition Int32,
    _first Int64,
    _end Int64,
    _topic_id String COMMENT 'of the one row of a topic whose partition is -1: the topic that the table is filled from',
    _oldest Int64 COMMENT 'event time of the oldest row, microseconds since 1970; the largest number if there is none'
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/features/events_trips_ranges', '{shard}-{replica}', _end)
ORDER BY (_topic, _partition, _first)
COMMENT 'Which offsets of each partition events_trips has whole: from _first, below the largest _end.';

CREATE TABLE IF NOT EXISTS `features`.`events_trips_all` ON CLUSTER `main` AS `features`.`events_trips_rows`
ENGINE = Distributed(`main`, `features`, `events_trips_rows`, cityHash64(`driver`, `shift`));

CREATE OR REPLACE VIEW `features`.`events_trips` ON CLUSTER `main`
(
    `driver` String COMMENT 'who drove',
    `shift` Int64,
    `trip id` Nullable(String) COMMENT '`quoted` \'name\' \\ of a trip',
    `req_bool` Bool,
    `opt_bool` Nullable(Bool),
    `list_bool` Array(Bool),
    `stops` Array(String),
    `_event_time` DateTime64(6, 'UTC') COMMENT 'when the event happened, UTC',
    `_arrived_at` DateTime64(6, 'UTC') COMMENT 'when it arrived: the time stamp of its Kafka record',
    `_deleted` Bool COMMENT 'true: the record deletes its entity, and only the key is set',
    `_ordinal` UInt8 COMMENT '0: loaded from files; 1: from Kafka. Order within an entity is (_event_time, _ordinal, _partition, _offset)',
    `_topic` LowCardinality(String) COMMENT 'the Kafka topic, or backfill/NAME',
    `_partition` Int32 COMMENT 'the topic\'s partition, or the number of the file',
    `_offset` Int64 COMMENT 'the record\'s offset, or the row of the file'
)
AS SELECT `driver`, `shift`, `trip id`, `req_bool`, `opt_bool`, `list_bool`, `stops`, `_event_time`, `_arrived_at`, `_deleted`, `_ordinal`, `_topic`, `_partition`, `_offset`
FROM `features`.`events_trips_all` FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Events of the source trips, one row a record: Taxi trips; the driver\'s "own" \\ data';

CREATE TABLE IF NOT EXISTS `features`.`scores_rows` ON CLUSTER `main`
(
    `monitor` String CODEC(ZSTD(1)),
    `slice` LowCardinality(String) CODEC(ZSTD(1)),
    `revision` Int64 CODEC(ZSTD(1)),
    `_event_time` DateTime64(6, 'UTC') COMMENT 'when the event happened, UTC' CODEC(Delta(8), ZSTD(1)),
    `_arrived_at` DateTime64(6, 'UTC') COMMENT 'when it arrived: the time stamp of its Kafka record' CODEC(Delta(8), ZSTD(1)),
    `_deleted` Bool COMMENT 'true: the record deletes its entity, and only the key is set' CODEC(ZSTD(1)),
    `_ordinal` UInt8 COMMENT '0: loaded from files; 1: from Kafka. Order within an entity is (_event_time, _ordinal, _partition, _offset)' CODEC(ZSTD(1)),
    `_topic` LowCardinality(String) COMMENT 'the Kafka topic, or backfill/NAME' CODEC(ZSTD(1)),
    `_partition` Int32 COMMENT 'the topic\'s partition, or the number of the file' CODEC(ZSTD(1)),
    `_offset` Int64 COMMENT 'the record\'s offset, or the row of the file' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/features/scores_rows', '{replica}')
PARTITION BY toYYYYMM(`_event_time`)
PRIMARY KEY (`monitor`, `_event_time`)
ORDER BY (`monitor`, `_event_time`, `_topic`, `_partition`, `_offset`)
TTL toDateTime(least(`_event_time`, toDateTime64('2100-01-01 00:00:00', 6, 'UTC'))) + toIntervalSecond(7776000)
COMMENT 'Storage of scores: a row may be here twice for a while. Read scores.';

CREATE TABLE IF NOT EXISTS `features`.`scores_ranges` ON CLUSTER `main`
(
    _topic LowCardinality(String),
    _partition Int32,
    _first Int64,
    _end Int64,
    _topic_id String COMMENT 'of the one row of a topic whose partition is -1: the topic that the table is filled from',
    _oldest Int64 COMMENT 'event time of the oldest row, microseconds since 1970; the largest number if there is none'
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/features/scores_ranges', '{shard}-{replica}', _end)
ORDER BY (_topic, _partition, _first)
COMMENT 'Which offsets of each partition scores has whole: from _first, below the largest _end.';

CREATE TABLE IF NOT EXISTS `features`.`scores_all` ON CLUSTER `main` AS `features`.`scores_rows`
ENGINE = Distributed(`main`, `features`, `scores_rows`, cityHash64(`monitor`));

CREATE OR REPLACE VIEW `features`.`scores` ON CLUSTER `main`
(
    `monitor` String,
    `slice` LowCardinality(String),
    `revision` Int64,
    `_event_time` DateTime64(6, 'UTC') COMMENT 'when the event happened, UTC',
    `_arrived_at` DateTime64(6, 'UTC') COMMENT 'when it arrived: the time stamp of its Kafka record',
    `_deleted` Bool COMMENT 'true: the record deletes its entity, and only the key is set',
    `_ordinal` UInt8 COMMENT '0: loaded from files; 1: from Kafka. Order within an entity is (_event_time, _ordinal, _partition, _offset)',
    `_topic` LowCardinality(String) COMMENT 'the Kafka topic, or backfill/NAME',
    `_partition` Int32 COMMENT 'the topic\'s partition, or the number of the file',
    `_offset` Int64 COMMENT 'the record\'s offset, or the row of the file'
)
AS SELECT `monitor`, `slice`, `revision`, `_event_time`, `_arrived_at`, `_deleted`, `_ordinal`, `_topic`, `_partition`, `_offset`
FROM `features`.`scores_all` FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Events of the source scores, one row a record';

CREATE OR REPLACE VIEW `features`.`scores_latest` ON CLUSTER `main`
(
    `monitor` String,
    `slice` LowCardinality(String),
    `revision` Int64,
    `_event_time` DateTime64(6, 'UTC') COMMENT 'when the event happened, UTC',
    `_arrived_at` DateTime64(6, 'UTC') COMMENT 'when it arrived: the time stamp of its Kafka record',
    `_deleted` Bool COMMENT 'true: the record deletes its entity, and only the key is set',
    `_ordinal` UInt8 COMMENT '0: loaded from files; 1: from Kafka. Order within an entity is (_event_time, _ordinal, _partition, _offset)',
    `_topic` LowCardinality(String) COMMENT 'the Kafka topic, or backfill/NAME',
    `_partition` Int32 COMMENT 'the topic\'s partition, or the number of the file',
    `_offset` Int64 COMMENT 'the record\'s offset, or the row of the file'
)
AS SELECT `monitor`, `slice`, `revision`, `_event_time`, `_arrived_at`, `_deleted`, `_ordinal`, `_topic`, `_partition`, `_offset`
FROM `features`.`scores`
ORDER BY `revision` DESC LIMIT 1 BY `_event_time`, `monitor`, `slice`
COMMENT 'The rows of scores that hold: of each the last revision.';
