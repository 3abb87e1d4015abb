package node

import (
	"context"
	"time"

	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/processors"
)

// lastCommitWithin is how long the processors may take for their last transaction.
const lastCommitWithin = 30 * time.Second

// addProcessors runs the processors. The start does not wait until they have caught up, which may take long after a
// restore and depends on other processes of the group; readiness does.
func (n *node) addProcessors() {
	n.group.Add("processors", lastCommitWithin, func(ctx context.Context, ready func()) error {
		rt, err := processors.New(ctx, processors.Options{
			Plane: n.Plane, Kafka: *n.Plane.Connections.Kafka, Client: n.kafka, Online: n.store, Loss: online.NewLoss(n.store), Marks: n.store,
			Logger: n.Logger, Registerer: n.registry,
			CreateSources: n.CreateSources > 0, SourcePartitions: n.CreateSources, AcceptGap: n.AcceptGap,
		})
		if err != nil {
			return err
		}
		n.health.Set("processors", func(context.Context) error { return rt.Ready() })
		ready()
		return rt.Run(ctx)
	})
}
