// Package online is the Redis store of features: connecting, naming, the version guard, the canaries that notice loss,
// and fetching. What the blobs mean beyond their versions, when to publish, and how features are read from blobs are
// not its business.
//
// # Names
//
// One hash an entity, "{project:entity:key}" (see AppendKey), so that a cluster keeps an entity in one slot. A view's
// fields are "<view>@<fingerprint>:h" for the head, ":t" for the first part of the tail (see Fields), and ":t0", ":t1"
// and so on for its pages (see PageField), of which an entity may have none. Canaries are hashes "freshet:canary:{<tag>}:<name>".
//
// # The guard
//
// Redis is a view of the state, written by workers that may be late, fenced out, or replaying. Every write therefore
// runs in a script that compares versions. For one entity and view, with the head H and perhaps the tail T of the write:
//
//	G1  A stored head with a greater version refuses the write. An equal one does not: equal versions are equal bytes.
//	G2  A write of both stores both, the tail in its parts, in one HSET.
//	G3  A write of H alone is accepted if the stored head names the same tail version as H. Otherwise nothing is
//	    written and the answer is NeedTail: the caller sends the tail too.
//	G4  An H whose tail version is zero has no tail: it is accepted without one, and a stored tail is deleted. An accepted
//	    write whose tail has pages in other places than the stored head says deletes all of those first.
//	G5  An accepted write may raise the hash's expiry and never lowers it (see Write.Expire).
//
// Invariant: a stored tail has exactly the version that the stored head names, first part and pages alike, and there is
// none if that is zero. It holds of an absent entity; G2 keeps it because Write checks that H names T and says where its
// pages are, so that what T does not overwrite G4 deletes; G3 because neither side of the equation changes; G4 by
// deletion; and Redis expires and evicts hashes whole, never fields. That is why G3 looks at the head alone: reading
// kilobytes of tail to find the same 24 bytes would halve the rate. What another program does to the hash is outside the
// invariant; readers detect a head, a first part and pages that do not match, and the next tail mends them. One HMGET
// reads a hash as of one moment, so no reader comes between the parts of a write.
//
// Versions are compared as six big-endian 32-bit numbers, which a Lua number holds exactly. Lua's own string order is
// strcoll's: it depends on the server's locale, and must not be used.
//
// On one server (or behind Sentinel) a script call takes a few dozen entities, which is three times as fast as one and
// still blocks the server for a fraction of a millisecond only. In a cluster a call is one entity's. Calls are
// pipelined, in a cluster to all nodes at once.
//
// miniredis runs Lua slowly. With Options.Embedded the same rules are applied by this process between a read and a
// transaction, under a lock: the same outcomes, as long as one Client writes.
//
// # Canaries
//
// Redis acknowledges before it replicates or stores, so a failover or a restart may lose acknowledged writes without
// a word. Each task keeps on each node one small hash, its canary: (version, identity). A node's identity is its
// replication id and run id: it changes whenever a server restarts, is promoted, or is filled from another.
//
// What a canary (v, id) says: every write of this task to this node up to version v was acknowledged, all of them since
// the node had identity id. The trust rules, which the code cites:
//
//	C1  A node is trusted if its canary is there, is not lower than what this task must have published there, and was
//	    written under the identity that the node has now; and if that is the identity that this process saw last.
//	    A task that has published nothing needs no canary; its first look plants one.
//	C2  Otherwise it is lost: whatever the task published there may be gone. It stays lost, and its canary is not
//	    advanced, until the caller has published everything again and vouches for it. A restart in the middle finds
//	    the old canary, and begins again.
//	C3  The identity in a canary is the one seen before the writes that the canary vouches for, never one read after
//	    them: a node that failed over in between would be trusted for what its predecessor acknowledged.
//	C4  A node that cannot be asked gets no verdict; its state stays what it was.
//	C5  If slots have moved since the last look and some node is lost, every node is: the lost entities may have moved
//	    in between.
//	C6  A canary is advanced only where it still is, under the same identity, in one step with looking: on a server
//	    that was emptied a moment ago it must not appear again. If it is gone the node is lost.
//	C7  Canaries obey the guard. One that is refused tells that a newer worker owns the task.
//
//	                Check: C1 fails;
//	          Advance: the canary is gone
//	┌─────────┐ ─────────────────────> ┌──────┐
//	│ trusted │                        │ lost │ <─┐
//	└─────────┘ <───────────────────── └──────┘ ──┘ Check: reported again
//	  │     ↑    Vouch, if the identity
//	  └─────┘     is the reported one
//	  Advance
//
// A canary in a cluster must live on the node it speaks for: its tag is the least number whose slot the node owns, and
// is chosen anew when that slot moves away (the canary is then missing, which costs one needless republish).
package online
