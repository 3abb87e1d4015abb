package online

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
)

// seen is a node that answered with a canary.
func seen(addr, id string, v uint64, canaryID string) sight {
	return sight{node: Node{Addr: addr, ID: id}, asked: true, canary: canary{found: true, version: version(v), id: canaryID}}
}

// bare is a node that answered without one, mute one that did not answer.
func bare(addr, id string) sight { return sight{node: Node{Addr: addr, ID: id}, asked: true} }
func mute(addr string) sight     { return sight{node: Node{Addr: addr}} }

// round is one look and the addresses it must find lost.
type round struct {
	sights    []sight
	partition uint64
	lost      []string
	vouch     uint64 // afterwards the caller vouches for the lost nodes at this version
	advance   uint64 // afterwards it advances the trusted ones
}

func TestTrust(t *testing.T) {
	for name, tt := range map[string]struct {
		want   feature.Version
		rounds []round
	}{
		"new plane": {zero, []round{
			{sights: []sight{bare("a", "1")}, advance: 5},
			{sights: []sight{seen("a", "1", 5, "1")}},
		}},
		"restart of the task, all there": {version(5), []round{
			{sights: []sight{seen("a", "1", 7, "1")}},
			{sights: []sight{seen("a", "1", 7, "1")}},
		}},
		"restart of the task, canary behind": {version(5), []round{
			{sights: []sight{seen("a", "1", 4, "1")}, lost: []string{"a"}},
			{sights: []sight{seen("a", "1", 4, "1")}, lost: []string{"a"}, vouch: 6},
			{sights: []sight{seen("a", "1", 6, "1")}},
		}},
		"restart of the task, failover meanwhile": {version(5), []round{
			{sights: []sight{seen("a", "2", 9, "1")}, lost: []string{"a"}, vouch: 9},
			{sights: []sight{seen("a", "2", 9, "2")}},
		}},
		"emptied": {zero, []round{
			{sights: []sight{bare("a", "1")}, advance: 5},
			{sights: []sight{bare("a", "1")}, lost: []string{"a"}},
		}},
		"rolled back": {zero, []round{
			{sights: []sight{bare("a", "1")}, advance: 5},
			{sights: []sight{seen("a", "1", 4, "1")}, lost: []string{"a"}},
		}},
		"failed over before the first canary": {zero, []round{
			{sights: []sight{bare("a", "1")}},
			{sights: []sight{bare("a", "2")}, lost: []string{"a"}, vouch: 1},
			{sights: []sight{seen("a", "2", 1, "2")}},
		}},
		"failed over to another address before the first canary": {zero, []round{
			{sights: []sight{bare("a", "1")}},
			{sights: []sight{bare("b", "2")}, lost: []string{"b"}},
		}},
		"failed over to another address": {zero, []round{
			{sights: []sight{bare("a", "1"), bare("c", "3")}, advance: 5},
			{sights: []sight{seen("b", "2", 5, "1"), seen("c", "3", 5, "3")}, lost: []string{"b"}},
		}},
		"a newer worker's canary": {zero, []round{
			{sights: []sight{bare("a", "1")}, advance: 5},
			{sights: []sight{seen("a", "1", 50, "1")}},
		}},
		"silence is no verdict": {zero, []round{
			{sights: []sight{bare("a", "1")}, advance: 5},
			{sights: []sight{mute("a")}},
			{sights: []sight{seen("a", "1", 5, "1")}},
			{sights: []sight{mute("a")}},
			{sights: []sight{seen("a", "2", 5, "1")}, lost: []string{"a"}},
		}},
		"silent from the start": {zero, []round{
			{sights: []sight{mute("a"), bare("b", "2")}, advance: 5},
			{sights: []sight{bare("a", "1"), seen("b", "2", 5, "2")}, lost: []string{"a"}},
		}},
		"lost stays lost through silence": {version(5), []round{
			{sights: []sight{bare("a", "1")}, lost: []string{"a"}},
			{sights: []sight{mute("a")}},
			{sights: []sight{seen("a", "1", 9, "1")}, lost: []string{"a"}},
		}},
		"slots moved, all there": {zero, []round{
			{sights: []sight{bare("a", "1"), bare("b", "2")}, partition: 1, advance: 5},
			{sights: []sight{seen("a", "1", 5, "1"), seen("b", "2", 5, "2")}, partition: 2},
		}},
		"slots moved and one lost": {zero, []round{
			{sights: []sight{bare("a", "1"), bare("b", "2")}, partition: 1, advance: 5},
			{sights: []sight{seen("a", "7", 5, "1"), seen("b", "2", 5, "2")}, partition: 2, lost: []string{"a", "b"}},
		}},
		"slots moved while one was silent": {zero, []round{
			{sights: []sight{bare("a", "1"), bare("b", "2"), bare("c", "3")}, partition: 1, advance: 5},
			{sights: []sight{seen("a", "7", 5, "1"), mute("b"), seen("c", "3", 5, "3")}, partition: 2, lost: []string{"a", "c"}},
			{sights: []sight{seen("a", "7", 5, "1"), seen("b", "2", 5, "2"), seen("c", "3", 5, "3")}, partition: 2, lost: []string{"a", "b", "c"}},
		}},
		"a node joined": {zero, []round{
			{sights: []sight{bare("a", "1")}, partition: 1, advance: 5},
			{sights: []sight{seen("a", "1", 5, "1"), bare("b", "2")}, partition: 2, lost: []string{"a", "b"}, vouch: 6},
			{sights: []sight{seen("a", "1", 6, "1"), seen("b", "2", 6, "2")}, partition: 2},
		}},
		"a node with an old canary came back": {zero, []round{
			{sights: []sight{bare("a", "1")}, advance: 5},
			{sights: []sight{seen("a", "1", 5, "1"), seen("b", "2", 4, "2")}, lost: []string{"b"}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var tr trust
			for i, r := range tt.rounds {
				lost := tr.look(r.sights, r.partition, tt.want)
				var got []string
				for _, n := range lost {
					got = append(got, n.Addr)
				}
				if !slices.Equal(got, r.lost) {
					t.Fatalf("round %d: lost %v, want %v", i, got, r.lost)
				}
				if r.advance > 0 {
					for _, n := range append(tr.trusted(true), tr.trusted(false)...) {
						tr.vouch(n, version(r.advance))
					}
				}
				for _, n := range lost {
					if r.vouch > 0 {
						if !tr.mayVouch(n) {
							t.Fatalf("round %d: %s may not be vouched for", i, n.Addr)
						}
						tr.vouch(n, version(r.vouch))
					}
				}
			}
		})
	}
}

func TestTrustRefusesAStaleVouch(t *testing.T) {
	var tr trust
	lost := tr.look([]sight{bare("a", "1")}, 0, version(5))
	tr.look([]sight{bare("a", "2")}, 0, version(5)) // it failed over during the republish
	if tr.mayVouch(lost[0]) {
		t.Error("what was published to the predecessor was vouched for")
	}
	if tr.mayVouch(Node{Addr: "b", ID: "1"}) {
		t.Error("an unknown node was vouched for")
	}
}

// server is a model of one master with a replica that may lag, and of what a task published to it.
type server struct {
	id          int
	data, saved map[string]uint64 // saved is what survives a failover
	mark, kept  canary            // the canary, and the one that survives
}

// TestTrustNeverMissesALoss plays random histories of writes, canaries, replication, failovers and restarts of the task
// against a server, and lets the task republish what it is told. Whenever the task trusts the server after a look, the
// server has everything that was acknowledged.
func TestTrustNeverMissesALoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := server{id: 1, data: map[string]uint64{}, saved: map[string]uint64{}}
		truth := map[string]uint64{}
		var tr trust
		var lost []Node
		offset, committed, began := uint64(0), uint64(0), false
		look := func() {
			id := string(rune('0' + s.id))
			lost = tr.look([]sight{{node: Node{Addr: "a", ID: id}, asked: true, canary: s.mark}}, 0, version(committed))
			began = true
			for _, n := range tr.trusted(false) {
				s.mark = canary{found: true, version: version(committed), id: n.ID}
				tr.vouch(n, version(committed))
			}
			if len(lost) > 0 {
				return
			}
			for k, v := range truth {
				if s.data[k] < v {
					t.Fatalf("trusted, but %s is at %d of %d", k, s.data[k], v)
				}
			}
		}
		set := func(n Node) { s.mark = canary{found: true, version: version(offset), id: n.ID} }
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				if !began {
					t.Skip("a task looks before it publishes")
				}
				offset++
				k := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "entity")
				truth[k], s.data[k] = offset, offset
			},
			"advance": func(t *rapid.T) {
				if offset == 0 {
					t.Skip("nothing published")
				}
				for _, n := range tr.trusted(true) {
					if !s.mark.found || s.mark.id != n.ID {
						tr.gone(n)
						continue
					}
					set(n)
					tr.vouch(n, version(offset))
				}
				committed = offset
			},
			"replicate": func(*rapid.T) {
				s.saved, s.kept = map[string]uint64{}, s.mark
				for k, v := range s.data {
					s.saved[k] = v
				}
			},
			"failover": func(*rapid.T) {
				s.id++
				s.data, s.mark = map[string]uint64{}, s.kept
				for k, v := range s.saved {
					s.data[k] = v
				}
			},
			"empty": func(*rapid.T) {
				s.data, s.mark = map[string]uint64{}, canary{}
			},
			"restart": func(*rapid.T) {
				tr, lost, began = trust{}, nil, false
				for k, v := range truth { // what was not committed is processed and published again
					if v > committed {
						delete(truth, k)
					}
				}
				look()
			},
			"look": func(*rapid.T) { look() },
			"republish": func(*rapid.T) {
				for k, v := range truth {
					s.data[k] = v
				}
				for _, n := range lost {
					if tr.mayVouch(n) {
						set(n)
						tr.vouch(n, version(offset))
						committed = offset
					}
				}
				lost = nil
			},
		})
	})
}
