package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/kafka"
)

// runName starts the names of everything that one run makes in Kafka.
func runName() string { return "bench-" + strconv.FormatInt(time.Now().UnixMilli(), 36) }

// sourceTopic creates a run's topic of events. drop deletes it and every topic whose name begins with its name.
func sourceTopic(ctx context.Context, opts []kgo.Opt, topic string, partitions int32) (drop func() error, err error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		cl.Close()
		return nil, fmt.Errorf("create topic %s: %w", topic, err)
	}
	// Another broker, or the same one's metadata, may not know of it at once.
	for patience := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err = kafka.DescribeTopic(ctx, adm, topic); err == nil {
			break
		}
		if !errors.Is(err, kafka.ErrNoTopic) || time.Now().After(patience) {
			cl.Close()
			return nil, err
		}
	}
	return func() error {
		defer cl.Close()
		return dropTopics(context.WithoutCancel(ctx), adm, topic)
	}, nil
}

func dropTopics(ctx context.Context, adm *kadm.Client, prefix string) error {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var names []string
	for _, n := range topics.Names() {
		if strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	dropped, err := adm.DeleteTopics(ctx, names...)
	return errors.Join(err, dropped.Error())
}
