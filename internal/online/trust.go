package online

import (
	"bytes"

	"github.com/freshet-io/freshet/internal/feature"
)

// trust is what one task believes about the nodes: the rules C1 to C5 of the package comment, without I/O.
type trust struct {
	nodes     map[string]*belief // by Node.Addr
	partition uint64             // of the slots at the last look; meaningless while nodes is empty
}

// belief is the state of one node.
type belief struct {
	node     Node            // as last seen
	lost     bool            // C2: reported, and not vouched for since
	vouched  feature.Version // what its canary must say at least, as far as this process knows
	planted  bool            // a canary is known to have been there
	answered bool            // node.ID is known; false for a node that has not answered since it appeared
	late     bool            // writes may have gone there before it was first judged
}

// look takes in a round of sights and returns the lost nodes. want is what a canary must say on a node that is seen for
// the first time.
func (t *trust) look(sights []sight, partition uint64, want feature.Version) []Node {
	moved := len(t.nodes) > 0 && partition != t.partition
	before := t.nodes
	t.nodes, t.partition = make(map[string]*belief, len(sights)), partition
	anyLost := false
	for _, s := range sights {
		b := before[s.node.Addr]
		if b == nil {
			b = &belief{vouched: most(before, want), late: len(before) > 0}
		}
		t.nodes[s.node.Addr] = b
		if s.asked {
			b.see(s)
		} else { // C4: but its place may have changed
			id := b.node.ID
			b.node = s.node
			b.node.ID, b.late = id, true
		}
		anyLost = anyLost || b.lost
	}
	var lost []Node
	for _, s := range sights {
		b := t.nodes[s.node.Addr]
		if moved && anyLost { // C5
			b.lost = true
		}
		if b.lost && s.asked {
			lost = append(lost, b.node)
		}
	}
	return lost
}

// most is the greatest version that any of nodes is known to have, at least want.
func most(nodes map[string]*belief, want feature.Version) feature.Version {
	for _, b := range nodes {
		if lower(want, b.vouched) {
			want = b.vouched
		}
	}
	return want
}

// see applies C1 to a node that has answered.
func (b *belief) see(s sight) {
	switch {
	case b.answered && b.node.ID != s.node.ID:
		b.lost = true
	case !s.canary.found:
		b.lost = b.lost || b.planted || b.late && !b.answered || b.vouched != feature.Version{}
	case lower(s.canary.version, b.vouched), s.canary.id != s.node.ID:
		b.lost = true
	case !b.lost:
		b.vouched, b.planted = s.canary.version, true
	}
	b.node, b.answered = s.node, true
}

// trusted returns the nodes with a canary that may be advanced, or those where one is to be planted, with the identities
// of rule C3.
func (t *trust) trusted(planted bool) []Node {
	var nodes []Node
	for _, b := range t.nodes {
		if b.answered && !b.lost && b.planted == planted {
			nodes = append(nodes, b.node)
		}
	}
	return nodes
}

// gone takes in that a node's canary could not be advanced because it is not there any more.
func (t *trust) gone(n Node) {
	if b := t.nodes[n.Addr]; b != nil {
		b.lost = true
	}
}

// mayVouch says whether what was published to a node since it was reported with that identity is still there.
func (t *trust) mayVouch(n Node) bool {
	b := t.nodes[n.Addr]
	return b != nil && b.answered && b.node.ID == n.ID
}

// vouch records a canary that has been written.
func (t *trust) vouch(n Node, v feature.Version) {
	b := t.nodes[n.Addr]
	b.lost, b.planted = false, true
	if lower(b.vouched, v) {
		b.vouched = v
	}
}

func lower(a, b feature.Version) bool { return bytes.Compare(a[:], b[:]) < 0 }
