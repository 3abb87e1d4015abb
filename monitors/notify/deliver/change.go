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
// What waits for a channel that a dispatcher does not know is given up. So all channels of the plane must be complete, and a
// state that has messages waiting for others is refused: this plane is not the one that runs.
func Change(ctx context.Context, client []kgo.Opt, p *config.Plane, fn func(*notify.Dispatcher) error) error {
	var channels []*notify.Channel
	known := map[string]bool{}
	for _, c := range p.Channels {
		made, err := NewChannel(c)
		if err != nil {
			return err
		}
		defer made.Close()
		channels, known[c.Name] = append(channels, made), true
	}
	if err := checkKnown(ctx, client, p, known); err != nil { // before anything is taken from anybody
		return err
	}
	store, err := kafkastore.Open(ctx, client, p)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := checkKnown(ctx, client, p, known); err != nil {
		return err
	}
	d, err := notify.New(ctx, notify.Options{Channels: channels, Store: store, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	return fn(d)
}

// checkKnown refuses a plane that lacks a channel for which messages wait.
func checkKnown(ctx context.Context, client []kgo.Opt, p *config.Plane, known map[string]bool) error {
	state, err := kafkastore.Read(ctx, client, p)
	if err != nil {
		return err
	}
	deliveries, _, err := notify.Inspect(state.Records)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if !known[d.Channel] && (d.Stage == "waiting" || d.Stage == "resending") {
			return fmt.Errorf("message %s waits for channel %q, which the definition does not have: use the definition that runs", d.Message, d.Channel)
		}
	}
	return nil
}
