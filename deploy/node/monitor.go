package node

import (
	"context"

	"github.com/freshet-io/freshet/processors"
)

// addMonitors runs the profiler and the evaluator. Like the processors they are ready when they have caught up, and the
// start does not wait for that.
func (n *node) addMonitors() {
	n.group.Add("monitors", lastCommitWithin, func(ctx context.Context, ready func()) error {
		m, err := processors.NewMonitors(ctx, processors.MonitorOptions{
			Plane: n.Plane, Kafka: *n.Plane.Connections.Kafka, Client: n.kafka, Logger: n.Logger, Registerer: n.registry,
			CreateSources: n.CreateSources > 0, SourcePartitions: n.CreateSources, AcceptGap: n.AcceptGap,
		})
		if err != nil {
			return err
		}
		n.health.Set("monitors", func(context.Context) error { return m.Ready() })
		ready()
		return m.Run(ctx)
	})
}
