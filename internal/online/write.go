package online

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/feature"
)

// Write is one entity's view to be stored. Its bytes must not change while Client.Write runs.
type Write struct {
	Key                  []byte // see AppendKey
	HeadField, TailField string // see Fields
	Head                 []byte
	// Tail is as feature.Layout.AppendTail makes it; it is stored in a field for its first part and one for each page.
	// It is nil to leave the stored tail as it is, which then must be the one that Head names.
	Tail []byte
	// Expire is how long the hash lives after a write; 0 for ever. The hash is shared by all views of the entity, so
	// this is a value of the entity: the longest of its views' Layout.KeepFor, or 0 if one of them is 0. The guard sets
	// it on a new hash, and later only when under half of it remains; 0 removes an expiry. An existing hash without
	// an expiry keeps none, whatever is passed.
	Expire time.Duration
}

// Outcome is what became of a Write.
type Outcome uint8

// The outcomes. The zero value is Failed, so that what was never tried is not taken for done.
const (
	// Failed: the write may or may not have happened; the error of Client.Write tells why. It may be repeated.
	Failed Outcome = iota
	// Accepted: this version, or the same one before, is stored.
	Accepted
	// Refused: a newer version is stored.
	Refused
	// NeedTail: nothing was written, for the stored tail is not the head's; send both.
	NeedTail

	outcomes = int(NeedTail) + 1
)

// String names the outcome as the metrics do.
func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Refused:
		return "refused"
	case NeedTail:
		return "need_tail"
	default:
		return "failed"
	}
}

// The guard's letters.
func outcomeOf(letter byte) (Outcome, error) {
	switch letter {
	case 'A':
		return Accepted, nil
	case 'R':
		return Refused, nil
	case 'T':
		return NeedTail, nil
	case 'W':
		return Failed, errWrongType
	default:
		return Failed, fmt.Errorf("the guard answered %q", letter)
	}
}

var errWrongType = errors.New("the key of an entity holds something else than a hash")

// Bounds of a script call, which blocks the server, and of a pipeline, which both sides hold in memory. 32 entities are
// about 160 µs; more gain nothing.
const (
	callEntities     = 32
	callBytes        = 256 << 10
	pipelineEntities = 2048
	pipelineBytes    = 4 << 20
)

// Write stores a batch under the guard and says of each write what became of it; out must be as long as batch. Writes of
// the same entity and view are done in order. The error joins what went wrong after everything was tried: a node that
// is down fails its own writes only.
func (c *Client) Write(ctx context.Context, batch []Write, out []Outcome) error {
	if len(batch) == 0 {
		return nil
	}
	began := time.Now()
	err := c.write(ctx, batch, out)
	c.metrics.writeSeconds.Observe(time.Since(began).Seconds())
	var n [outcomes]int
	for _, o := range out[:len(batch)] {
		n[o]++
	}
	for o, count := range n {
		if count > 0 {
			c.metrics.writes[o].Add(float64(count))
		}
	}
	return err
}

func (c *Client) write(ctx context.Context, batch []Write, out []Outcome) error {
	out = out[:len(batch)]
	clear(out)
	s := c.scratch.Get().(*batchScratch)
	defer func() {
		s.reset()
		c.scratch.Put(s)
	}()
	s.group(batch)
	if c.opts.Embedded {
		c.writeEmbedded(ctx, s, batch, out)
	} else {
		c.writeGuarded(ctx, s, batch, out)
	}
	return s.errs.join("write to redis", len(batch))
}

// batchScratch is the memory of one Write, reused by later ones.
type batchScratch struct {
	groups  []group
	used    int      // of groups; the others keep their memory
	strings []string // what pipelined arguments point to: keys, heads and tails without copying
	calls   []call
	pending struct{ entities, bytes int }
	errs    distinct
}

// group is the writes of a batch that share fields and expiry, by index.
type group struct {
	headField, tailField string
	expire               time.Duration
	members              []int32
	pageFields           []string // by place, as far as they were needed
}

// pageField returns the name of a page's field.
func (g *group) pageField(place int) *string {
	for n := len(g.pageFields); n <= place; n++ {
		g.pageFields = append(g.pageFields, PageField(g.tailField, n))
	}
	return &g.pageFields[place]
}

// call is one run of the script over members of a group.
type call struct {
	cmd     *redis.StringCmd
	args    []any
	members []int32
}

func (s *batchScratch) reset() {
	clear(s.strings)
	clear(s.calls)
	s.strings, s.calls, s.used, s.errs = s.strings[:0], s.calls[:0], 0, distinct{}
}

// group sorts the valid writes of a batch into groups; the others fail.
func (s *batchScratch) group(batch []Write) {
	last := -1
	for i := range batch {
		w := &batch[i]
		if err := w.check(); err != nil {
			s.errs.add(err, 1)
			continue
		}
		if last < 0 || !s.groups[last].holds(w) {
			last = s.find(w)
		}
		s.groups[last].members = append(s.groups[last].members, int32(i))
	}
}

func (g *group) holds(w *Write) bool {
	return g.headField == w.HeadField && g.tailField == w.TailField && g.expire == w.Expire
}

func (s *batchScratch) find(w *Write) int {
	for i := range s.groups[:s.used] {
		if s.groups[i].holds(w) {
			return i
		}
	}
	if s.used == len(s.groups) {
		s.groups = append(s.groups, group{})
	}
	g := &s.groups[s.used]
	if g.tailField != w.TailField {
		g.pageFields = nil
	}
	g.headField, g.tailField, g.expire, g.members = w.HeadField, w.TailField, w.Expire, g.members[:0]
	s.used++
	return s.used - 1
}

// writeGuarded sends every group through the script.
func (c *Client) writeGuarded(ctx context.Context, s *batchScratch, batch []Write, out []Outcome) {
	most := callEntities
	if c.cluster != nil {
		most = 1 // the keys of a call must share a slot
	}
	for i := range s.groups[:s.used] {
		g := &s.groups[i]
		for rest := g.members; len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && n < most && (n == 0 || size < callBytes) {
				w := &batch[rest[n]]
				size += len(w.Key) + len(w.Head) + len(w.Tail)
				n++
			}
			s.addCall(g, batch, rest[:n])
			s.pending.entities += n
			s.pending.bytes += size
			rest = rest[n:]
			if s.pending.entities >= pipelineEntities || s.pending.bytes >= pipelineBytes {
				c.runCalls(ctx, s, out)
			}
		}
	}
	c.runCalls(ctx, s, out)
}

// addCall appends the script call for members. Arguments are pointers to strings that share the writes' memory, so that
// neither copying nor boxing costs an allocation for each.
func (s *batchScratch) addCall(g *group, batch []Write, members []int32) {
	args := make([]any, 0, 6+4*len(members))
	args = append(args, "evalsha", guardHash, len(members))
	for _, m := range members {
		args = append(args, s.view(batch[m].Key))
	}
	args = append(args, &g.headField, &g.tailField, strconv.FormatInt(millis(g.expire), 10))
	for _, m := range members {
		args = s.appendBlobs(append(args, s.view(batch[m].Head)), g, batch[m].Tail)
	}
	s.calls = append(s.calls, call{args: args, members: members})
}

// appendBlobs appends the parts of a checked tail, as the script expects them.
func (s *batchScratch) appendBlobs(args []any, g *group, tail []byte) []any {
	if tail == nil {
		return append(args, s.view(nil))
	}
	first, pages, _ := feature.TailParts(tail)
	args = append(args, s.view(first), 0)
	for n := len(args) - 1; len(pages) > 0; {
		place, page, rest, _ := feature.NextPage(pages)
		args = append(args, g.pageField(place), s.view(page))
		args[n], pages = (len(args)-n)/2, rest
	}
	return args
}

// view returns a pointer to a string with b's memory. When strings grows, earlier pointers keep the array they point to.
func (s *batchScratch) view(b []byte) *string {
	s.strings = append(s.strings, unsafe.String(unsafe.SliceData(b), len(b)))
	return &s.strings[len(s.strings)-1]
}

// guardHash names the script to a server that has it.
var guardHash = func() string {
	sum := sha1.Sum([]byte(guardScript))
	return hex.EncodeToString(sum[:])
}()

// runCalls sends the pending calls in one pipeline, those whose server does not know the script once more with it, and
// records the outcomes.
func (c *Client) runCalls(ctx context.Context, s *batchScratch, out []Outcome) {
	if len(s.calls) == 0 {
		return
	}
	execErr := c.pipeline(ctx, s.calls)
	unknown := 0
	for _, call := range s.calls {
		if redis.HasErrorPrefix(call.cmd.Err(), "NOSCRIPT") {
			call.args[0], call.args[1], call.cmd = "eval", guardScript, nil
			s.calls[unknown] = call
			unknown++
			continue
		}
		s.record(call, execErr, out)
	}
	if unknown > 0 {
		execErr = c.pipeline(ctx, s.calls[:unknown])
		for _, call := range s.calls[:unknown] {
			s.record(call, execErr, out)
		}
	}
	clear(s.calls)
	s.calls, s.strings = s.calls[:0], s.strings[:0]
	s.pending.entities, s.pending.bytes = 0, 0
}

func (c *Client) pipeline(ctx context.Context, calls []call) error {
	pipe := c.redis.Pipeline()
	for i := range calls {
		calls[i].cmd = redis.NewStringCmd(ctx, calls[i].args...)
		_ = pipe.Process(ctx, calls[i].cmd) // only queues
	}
	_, err := pipe.Exec(ctx)
	return err
}

// record reads a call's reply. execErr is the pipeline's error, for a command that was not reached.
func (s *batchScratch) record(call call, execErr error, out []Outcome) {
	letters, err := call.cmd.Result()
	if err == nil && len(letters) != len(call.members) {
		if err = execErr; err == nil {
			err = fmt.Errorf("the guard answered %d of %d writes", len(letters), len(call.members))
		}
	}
	if err != nil {
		s.errs.add(err, len(call.members))
		return
	}
	for i, m := range call.members {
		if out[m], err = outcomeOf(letters[i]); err != nil {
			s.errs.add(err, 1)
		}
	}
}
