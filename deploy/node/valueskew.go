package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/valueskew"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/served"
	"github.com/freshet-io/freshet/offline/sink"
	"github.com/freshet-io/freshet/processors"
)

// lastComparisonWithin is how long a comparison may take to stop.
const lastComparisonWithin = 10 * time.Second

// comparesValues reports whether a monitor compares served values.
func comparesValues(p *config.Plane) *config.Monitor {
	for _, m := range p.Monitors {
		if m.ValueSkew != nil {
			return m
		}
	}
	return nil
}

// servedValues is the history that served values are compared with: ClickHouse, where there is one.
type servedValues struct {
	node   *node
	name   string // of the store, as its sink has it
	store  replay.Scanner
	close  func() error
	client *kgo.Client
}

// addValueSkew compares served values, if some monitor asks for it. It comes after the monitors, which create its topics.
func (n *node) addValueSkew(ctx context.Context) error {
	if comparesValues(n.Plane) == nil {
		return nil
	}
	h := &servedValues{node: n}
	if err := h.open(ctx); err != nil {
		return fmt.Errorf("value skew: %w", err)
	}
	v := processors.NewValueSkew(processors.ValueSkewOptions{Plane: n.Plane, Client: n.kafka, Compare: h.compare, Logger: n.Logger, Registerer: n.registry})
	n.group.Add("value skew", lastComparisonWithin, func(ctx context.Context, ready func()) error {
		var err error
		if h.client, err = kgo.NewClient(n.kafka...); err != nil {
			return errors.Join(fmt.Errorf("connect to kafka: %w", err), h.close())
		}
		defer h.client.Close()
		n.health.Set("value skew", func(context.Context) error { return v.Ready() })
		ready()
		return errors.Join(v.Run(ctx), h.close())
	})
	return nil
}

func (h *servedValues) open(ctx context.Context) error {
	conn := h.node.Plane.Connections
	if conn.ClickHouse != nil {
		s, err := clickhouse.Open(*conn.ClickHouse, clickhouse.Options{Logger: h.node.Logger})
		if err != nil {
			return err
		}
		h.name, h.store, h.close = "clickhouse", s, s.Close
		return nil
	}
	s, err := parquet.Open(ctx, conn.Parquet.URL, parquet.Options{Logger: h.node.Logger})
	if err != nil {
		return err
	}
	h.name, h.store, h.close = "parquet", s, s.Close
	return nil
}

// committed returns for each partition the offset below which the store has every record.
func (h *servedValues) committed(ctx context.Context, t *offline.Table) (map[int32]int64, error) {
	return sink.Committed(ctx, kadm.NewClient(h.client), h.node.Plane, h.name, t)
}

// caughtUpWithin is how long a comparison waits for the store before it is tried again later.
const caughtUpWithin = time.Minute

// compare waits until the store has what the topics have now, and compares.
func (h *servedValues) compare(ctx context.Context, m *config.Monitor, start, end int64) (*valueskew.Result, error) {
	waiting, cancel := context.WithTimeout(ctx, caughtUpWithin)
	defer cancel()
	for _, t := range served.Tables(m.Model) {
		if err := h.await(waiting, t); err != nil {
			return nil, fmt.Errorf("table %s of %s: %w", t.Name, h.name, err)
		}
	}
	return served.Compare(ctx, served.Options{Plane: h.node.Plane, Store: h.store}, m, start, end)
}

// await returns when the store has every record that the table's topic has now.
func (h *servedValues) await(ctx context.Context, t *offline.Table) error {
	ends, err := kafka.Committed(ctx, h.client, t.Source.Topic, time.Time{})
	if err != nil {
		return err
	}
	for {
		have, err := h.committed(ctx, t)
		if err != nil {
			return err
		}
		behind := int64(0)
		for p, s := range ends {
			from := max(s.From, have[p])
			if from >= s.To {
				continue
			}
			// What ends transactions has offsets and no records: nothing would ever be written of it.
			empty, err := kafka.EmptyBetween(ctx, h.client, t.Source.Topic, p, from, s.To)
			if err != nil {
				return err
			}
			if !empty {
				behind += s.To - from
			}
		}
		if behind == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it lacks about %d records of topic %s", behind, t.Source.Topic)
		case <-time.After(time.Second):
		}
	}
}
