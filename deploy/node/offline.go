package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/sink"
)

// lastRangesWithin is how long the sinks may take for the ranges that they are writing when they are stopped.
const lastRangesWithin = 30 * time.Second

// offlineStore is a store that has a sink.
type offlineStore interface {
	sink.Store
	Close() error
}

// addOffline runs a sink for each offline store. Either goes at its own pace. The start waits for neither: a store that is
// away is waited for, and readiness tells.
func (n *node) addOffline(ctx context.Context) error {
	budget, metrics := sink.NewBudget(n.Plane.Offline.Memory), sink.NewMetrics(n.registry)
	judges := true // the first sink puts aside what no processor does
	add := func(name string, store offlineStore) error {
		s, err := sink.New(sink.Options{
			Plane: n.Plane, Client: n.kafka, Name: name, Store: store, Tables: offline.Tables(n.Plane), DeadLetters: judges,
			AcceptGap: n.AcceptGap, Budget: budget, Metrics: metrics, Logger: n.Logger,
		})
		if err != nil {
			return errors.Join(err, store.Close())
		}
		judges = false
		n.group.Add("offline "+name, lastRangesWithin, func(ctx context.Context, ready func()) error {
			if err := n.ensureUnread(ctx); err != nil {
				return errors.Join(err, store.Close())
			}
			n.health.Set("offline "+name, func(context.Context) error { return s.Ready() })
			ready()
			return errors.Join(s.Run(ctx), store.Close())
		})
		return nil
	}
	if c := n.Plane.Connections.ClickHouse; c != nil {
		store, err := clickhouse.Open(*c, clickhouse.Options{Logger: n.Logger})
		if err != nil {
			return err
		}
		if err := add("clickhouse", store); err != nil {
			return err
		}
	}
	if c := n.Plane.Connections.Parquet; c != nil {
		store, err := parquet.Open(ctx, c.URL, parquet.Options{Logger: n.Logger})
		if err != nil {
			return err
		}
		return add("parquet", store)
	}
	return nil
}

// ensureUnread creates what the processors create of the sources and inferences that they read, for those that they do not:
// their topics, if that was asked for, and those of their dead letters.
func (n *node) ensureUnread(ctx context.Context) error {
	cl, err := kgo.NewClient(n.kafka...)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, t := range offline.Tables(n.Plane) {
		s := t.Source
		if n.Plane.Reads(s) || !slices.Contains(n.Plane.Intakes(), s) {
			continue
		}
		topic, err := kafka.DescribeTopic(ctx, adm, s.Topic)
		if errors.Is(err, kafka.ErrNoTopic) && n.CreateSources > 0 {
			topic.Partitions = n.CreateSources
			err = kafka.EnsureTopics(ctx, adm, *n.Plane.Connections.Kafka, []kafka.TopicSpec{{Name: s.Topic, Partitions: n.CreateSources}})
		}
		if errors.Is(err, kafka.ErrNoTopic) {
			n.Logger.Warn("a source's topic does not exist yet; restart when it does", "source", s.Name, "topic", s.Topic)
			continue
		}
		if err == nil {
			err = kafka.EnsureTopics(ctx, adm, *n.Plane.Connections.Kafka, []kafka.TopicSpec{unreadLetters(n.Plane, s, topic.Partitions)})
		}
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	return nil
}

// unreadLetters is a topic of dead letters as the processors would create it: a view that is added later finds it right.
func unreadLetters(p *config.Plane, s *config.Source, partitions int32) kafka.TopicSpec {
	const month = 30 * 24 * time.Hour
	return kafka.TopicSpec{Name: ingest.DeadLetterTopic(p, s.Name), Partitions: partitions, Config: map[string]string{
		"cleanup.policy": "delete", "retention.ms": strconv.FormatInt(month.Milliseconds(), 10),
		"message.timestamp.type": "LogAppendTime", "max.message.bytes": strconv.Itoa(16 << 20),
	}}
}
