package node

import (
	"context"
	"time"

	"github.com/freshet-io/freshet/monitors/notify/deliver"
)

// lastAttemptsWithin is how long notifications may take to keep what became of the last attempts and to leave their group.
const lastAttemptsWithin = 45 * time.Second

// addNotifier runs the delivery of alerts. It comes after the monitors, which create its topics. A channel that lacks a
// secret is an error before anything starts.
func (n *node) addNotifier() error {
	r, err := deliver.New(deliver.Options{Plane: n.Plane, Client: n.kafka, Logger: n.Logger, Registerer: n.registry})
	if err != nil {
		return err
	}
	n.group.Add("notifier", lastAttemptsWithin, func(ctx context.Context, ready func()) error {
		n.health.Set("notifier", func(context.Context) error { return r.Ready() })
		ready()
		return r.Run(ctx)
	})
	return nil
}
