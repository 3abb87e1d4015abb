package online

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Node is a server that takes writes: the one server, Sentinel's current master, or a master of the cluster that owns
// slots.
type Node struct {
	// ID is the node's identity: its replication id and run id, which change when it restarts, is promoted, or is filled
	// from another. Empty where the server does not tell.
	ID string
	// Addr names the node's place: its address, or behind Sentinel the name of the master. It outlives the identity.
	Addr string

	owned  *slotSet // nil: every key
	tag    string   // of its canaries
	client *redis.Client
}

// Owns says whether an entity's hash lived on the node when it was looked at.
func (n Node) Owns(key []byte) bool { return n.owned == nil || n.owned.has(slotOf(key)) }

// slotSet is a set of a cluster's slots.
type slotSet [slots / 64]uint64

func (s *slotSet) has(slot int) bool { return s[slot>>6]>>(slot&63)&1 == 1 }
func (s *slotSet) add(slot int)      { s[slot>>6] |= 1 << (slot & 63) }

// tag returns the least number whose slot is in the set. The decimals cover all slots soon: see the test.
func (s *slotSet) tag() string {
	for i := range 1 << 20 {
		if t := strconv.Itoa(i); s.has(slotOf(t)) {
			return t
		}
	}
	return ""
}

// Nodes returns the nodes and their identities, in the order of their addresses. Nodes that do not answer are left out
// and are in the error.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	nodes, err := c.places(ctx)
	if err != nil {
		return nil, err
	}
	views, err := c.look(ctx, nodes, "")
	nodes = nodes[:0]
	for _, v := range views {
		if v.asked {
			nodes = append(nodes, v.node)
		}
	}
	return nodes, err
}

// places returns the nodes without their identities.
func (c *Client) places(ctx context.Context) ([]Node, error) {
	if c.cluster == nil {
		return []Node{{Addr: c.addr, tag: "0", client: c.redis.(*redis.Client)}}, nil
	}
	//lint:ignore SA1019 CLUSTER SHARDS, its successor, does not exist before Redis 7.0 and not in its kin.
	ranges, err := c.cluster.ClusterSlots(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("slots of the redis cluster: %w", err)
	}
	byClient := map[*redis.Client]*slotSet{}
	for _, r := range ranges {
		if r.Start < 0 || r.End >= slots || r.Start > r.End {
			return nil, fmt.Errorf("slots of the redis cluster: a range from %d to %d", r.Start, r.End)
		}
		// The client knows how an announced address is reached from here.
		node, err := c.cluster.MasterForKey(ctx, "{"+keyInSlot(r.Start)+"}")
		if err != nil {
			return nil, fmt.Errorf("owner of slot %d of the redis cluster: %w", r.Start, err)
		}
		set := byClient[node]
		if set == nil {
			set = new(slotSet)
			byClient[node] = set
		}
		for slot := r.Start; slot <= r.End; slot++ {
			set.add(slot)
		}
	}
	nodes := make([]Node, 0, len(byClient))
	for client, set := range byClient {
		nodes = append(nodes, Node{Addr: client.Options().Addr, owned: set, tag: set.tag(), client: client})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Addr, b.Addr) })
	return nodes, nil
}

// keyInSlot returns a name that hashes to a slot.
func keyInSlot(slot int) string {
	var one slotSet
	one.add(slot)
	return one.tag()
}

// partition tells one division of slots from another, whoever owns the parts: a failover keeps it.
func partition(nodes []Node) uint64 {
	sums := make([]uint64, 0, len(nodes))
	for _, n := range nodes {
		h := fnv.New64a()
		if n.owned != nil {
			for _, word := range n.owned {
				_, _ = h.Write([]byte{
					byte(word >> 56), byte(word >> 48), byte(word >> 40), byte(word >> 32),
					byte(word >> 24), byte(word >> 16), byte(word >> 8), byte(word),
				})
			}
		}
		sums = append(sums, h.Sum64())
	}
	slices.Sort(sums)
	all := fnv.New64a()
	for _, s := range sums {
		_, _ = all.Write(strconv.AppendUint(nil, s, 16))
		_, _ = all.Write([]byte{' '})
	}
	return all.Sum64()
}

// sight is a node as it was found.
type sight struct {
	node   Node
	asked  bool // it answered; otherwise only node's place is known
	canary canary
}

// look asks all nodes at once for their identities, and for the canary called name unless that is empty. There is a
// sight for each node; the error joins why nodes did not answer.
func (c *Client) look(ctx context.Context, nodes []Node, name string) ([]sight, error) {
	sights := make([]sight, len(nodes))
	errs := make([]error, len(nodes))
	done := make(chan struct{})
	for i := range nodes {
		go func() {
			defer func() { done <- struct{}{} }()
			sights[i], errs[i] = c.lookAt(ctx, nodes[i], name)
		}()
	}
	for range nodes {
		<-done
	}
	return sights, errors.Join(errs...)
}

func (c *Client) lookAt(ctx context.Context, node Node, name string) (sight, error) {
	s := sight{node: node}
	pipe := node.client.Pipeline()
	var server, replication, field *redis.StringCmd
	if !c.opts.Embedded {
		server, replication = pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")
	}
	if name != "" {
		field = pipe.HGet(ctx, string(canaryKey(node.tag, name)), canaryField)
	}
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	if !c.opts.Embedded {
		var err error
		if s.node.ID, err = identity(server, replication); err != nil {
			return s, fmt.Errorf("identity of redis at %s: %w", node.Addr, err)
		}
	}
	if field != nil {
		b, err := field.Bytes()
		if err != nil && err != redis.Nil {
			return s, fmt.Errorf("canary on redis at %s: %w", node.Addr, err)
		}
		s.canary = parseCanary(b)
	}
	s.asked = true
	return s, nil
}

// identity reads what INFO tells. A server that forbids or does not know INFO has no identity, which is no error.
func identity(server, replication *redis.StringCmd) (string, error) {
	for _, cmd := range []*redis.StringCmd{server, replication} {
		err := cmd.Err()
		if redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "ERR") {
			return "", nil
		}
		if err != nil {
			return "", err
		}
	}
	if role := infoField(replication.Val(), "role"); role == "slave" {
		return "", errors.New("it is a replica")
	}
	return infoField(replication.Val(), "master_replid") + "/" + infoField(server.Val(), "run_id"), nil
}

func infoField(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if field, value, ok := strings.Cut(line, ":"); ok && field == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
