package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// Try sends a firing and a resolved message of a made-up episode through a channel, once each, so that people see it
// works. It returns why not.
func Try(ctx context.Context, c *Channel, origin string, now time.Time) error {
	unique := make([]byte, 8)
	_, _ = rand.Read(unique) // never fails
	at := now.UnixMicro()
	episode := "ep_try" + hex.EncodeToString(unique)
	for _, step := range []struct {
		kind           alert.Type
		suffix, status string
	}{{alert.FiringType, "-firing", "firing"}, {alert.ResolvedType, "-resolved", "resolved"}} {
		m := alert.Message{ID: episode + step.suffix, Type: step.kind, Origin: origin, At: at, Data: alert.Data{
			Episode: episode, Status: step.status, Monitor: "test", Class: alert.Values,
			Summary:   fmt.Sprintf("test of channel %s: nothing is wrong (%s)", c.name, step.status),
			StartedAt: alert.Stamp(at), Features: []alert.Feature{},
		}}
		if step.kind == alert.ResolvedType {
			m.ResolvedAt = alert.Stamp(at)
		}
		out := c.Send(ctx, &m, now)
		if out.Result != Delivered {
			return fmt.Errorf("channel %q: the %s message was not delivered: %w", c.name, step.status, out.Err)
		}
		if c.kind.spacing > 0 && step.kind == alert.FiringType {
			select {
			case <-time.After(c.kind.spacing):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
