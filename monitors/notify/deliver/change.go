package deliver

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/notify/kafkastore"
)

// Change takes the state of deliveries over from the process that delivers, if there is one, and calls fn with a dispatcher
// that sends nothing: fn may Enable and Replay. The process finds that out within seconds, and goes on with what has
// changed. An attempt that it had under way may be made again, under the same id.
//
// Channels that cannot send are not known to the dispatcher, and what waits for them would be given up: so all that the
// plane has must be complete.
func Change(ctx context.Context, client []kgo.Opt, p *config.Plane, fn func(*notify.Dispatcher) error) error {
	var channels []*notify.Channel
	for _, c := range p.Channels {
		made, err := NewChannel(c)
		if err != nil {
			return err
		}
		channels = append(channels, made)
	}
	store, err := kafkastore.Open(ctx, client, p)
	if err != nil {
		return err
	}
	defer store.Close()
	d, err := notify.New(ctx, notify.Options{Channels: channels, Store: store, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	if err := fn(d); err != nil {
		return fmt.Errorf("change deliveries: %w", err)
	}
	return nil
}
