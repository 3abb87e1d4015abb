package online

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/feature"
)

// A canary is laid out as a head with a tail, so that the guard takes it for one:
//
//	0      1         25               49        53
//	┌──────┬─────────┬────────────────┬─────────┬──────────┐
//	│ 0xCA │ version │ identity, hash │ 0 pages │ identity │
//	└──────┴─────────┴────────────────┴─────────┴──────────┘
//
// To plant it, head and tail are written. To advance it the head alone is: by rule G3 the guard accepts that only where
// the canary still is, under the same identity. Reading it first would leave a moment in which the server may be emptied
// and the new canary hide it.
const (
	canaryField  = "v"
	canaryTail   = "v:t"
	canaryFormat = 0xca
)

// canary is what a task said on a node. The zero value is no canary.
type canary struct {
	found   bool
	version feature.Version
	id      string // see Node.ID
}

// canaryWrite is the write that plants or advances a canary.
func canaryWrite(n Node, name string, v feature.Version, plant bool) Write {
	sum := sha256.Sum256([]byte(n.ID))
	sum[0] |= 1 // zero would say that there is no tail
	mark := feature.Version(sum[:versionSize])
	head := append([]byte{canaryFormat}, v[:]...)
	head = append(append(head, mark[:]...), make([]byte, headPrefix-pagesAt)...)
	head = append(head, n.ID...)
	w := Write{Key: canaryKey(n.tag, name), HeadField: canaryField, TailField: canaryTail, Head: head}
	if plant {
		w.Tail = append([]byte{canaryFormat}, mark[:]...)
		w.Tail = binary.LittleEndian.AppendUint32(w.Tail, uint32(len(w.Tail)+4)) // a first part of no more than this
	}
	return w
}

// parseCanary takes what is no canary for none: it is lost, then, and written anew.
func parseCanary(b []byte) canary {
	if len(b) < headPrefix || b[0] != canaryFormat {
		return canary{}
	}
	return canary{found: true, version: feature.Version(versionOf(b)), id: string(b[headPrefix:])}
}

// ErrNewerWriter is returned when a canary is refused: another worker has published newer versions of the same task.
var ErrNewerWriter = errors.New("redis holds a newer canary: another worker owns this task")

// SetCanary plants a canary: it records on a node that every write of the task called name up to v has been acknowledged, all of them since
// the node had the identity n.ID. The identity must have been read before those writes were sent.
func (c *Client) SetCanary(ctx context.Context, n Node, name string, v feature.Version) error {
	return c.setCanaries(ctx, []Node{n}, name, v, true)[0]
}

// errCanaryGone is why a canary cannot be advanced: it is not there, or was planted under another identity.
var errCanaryGone = errors.New("the canary is gone: the server has lost data")

// setCanaries plants or advances a canary on each node and returns an error or nil for each.
func (c *Client) setCanaries(ctx context.Context, nodes []Node, name string, v feature.Version, plant bool) []error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	batch, out := make([]Write, len(nodes)), make([]Outcome, len(nodes))
	for i, n := range nodes {
		batch[i] = canaryWrite(n, name, v, plant)
	}
	errs := make([]error, len(nodes))
	err := c.write(ctx, batch, out)
	for i := range out {
		switch out[i] {
		case Accepted:
		case Refused:
			errs[i] = fmt.Errorf("set canary %s on redis at %s: %w", name, nodes[i].Addr, ErrNewerWriter)
		case NeedTail:
			errs[i] = fmt.Errorf("advance canary %s on redis at %s: %w", name, nodes[i].Addr, errCanaryGone)
		default:
			errs[i] = fmt.Errorf("set canary %s on redis at %s: %w", name, nodes[i].Addr, err)
		}
	}
	return errs
}

// Canary reads the canary called name on a node: its version and the identity it was written under. It is not ok if there
// is none.
func (c *Client) Canary(ctx context.Context, n Node, name string) (v feature.Version, id string, ok bool, err error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	b, err := n.client.HGet(ctx, string(canaryKey(n.tag, name)), canaryField).Bytes()
	if err != nil && err != redis.Nil {
		return v, "", false, fmt.Errorf("canary %s on redis at %s: %w", name, n.Addr, err)
	}
	got := parseCanary(b)
	return got.version, got.id, got.found, nil
}
