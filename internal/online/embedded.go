package online

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshet-io/freshet/internal/feature"
)

// embeddedChunk bounds the writes between a read and its transaction.
const embeddedChunk = 512

// writeEmbedded applies the guard's rules in this process.
func (c *Client) writeEmbedded(ctx context.Context, s *batchScratch, batch []Write, out []Outcome) {
	c.embedded.Lock()
	defer c.embedded.Unlock()
	inChunk := make(map[string]struct{}, embeddedChunk)
	for i := range s.groups[:s.used] {
		for rest := s.groups[i].members; len(rest) > 0; {
			clear(inChunk)
			n := 0
			for n < len(rest) && n < embeddedChunk {
				key := batch[rest[n]].Key
				if _, again := inChunk[string(key)]; again {
					break // it must see what the earlier write stored
				}
				inChunk[string(key)] = struct{}{}
				n++
			}
			c.embeddedWrites(ctx, s, batch, rest[:n], out)
			rest = rest[n:]
		}
	}
}

// stored is what a write meets.
type stored struct {
	head *redis.StringCmd
	left *redis.DurationCmd
}

// embeddedWrites stores members, whose keys differ.
func (c *Client) embeddedWrites(ctx context.Context, s *batchScratch, batch []Write, members []int32, out []Outcome) {
	found := make([]stored, len(members))
	read := c.redis.Pipeline()
	for i, m := range members {
		w := &batch[m]
		found[i] = stored{head: read.HGet(ctx, string(w.Key), w.HeadField), left: read.PTTL(ctx, string(w.Key))}
	}
	_, _ = read.Exec(ctx) // each command has its own error
	write := c.redis.TxPipeline()
	for i, m := range members {
		head, err := found[i].head.Bytes()
		if err == redis.Nil { // absent is no failure
			err = nil
		}
		if err = errors.Join(err, found[i].left.Err()); err != nil {
			s.errs.add(wrongType(err), 1)
			continue
		}
		v := judge(head, &batch[m])
		if v.outcome == Accepted {
			putEmbedded(ctx, write, &batch[m], v, found[i].left.Val())
		}
		out[m] = v.outcome
	}
	if write.Len() == 0 {
		return
	}
	if _, err := write.Exec(ctx); err != nil {
		n := 0
		for _, m := range members {
			if out[m] == Accepted {
				out[m] = Failed
				n++
			}
		}
		s.errs.add(err, n)
	}
}

// putEmbedded queues an accepted write. left is PTTL's answer: -2 without a key, -1 without an expiry.
func putEmbedded(ctx context.Context, tx redis.Pipeliner, w *Write, v verdict, left time.Duration) {
	key := string(w.Key)
	for place := range v.dropPages {
		tx.HDel(ctx, key, PageField(w.TailField, place))
	}
	fields := []any{w.HeadField, w.Head}
	if w.Tail != nil {
		first, pages, _ := feature.TailParts(w.Tail)
		fields = append(fields, w.TailField, first)
		for len(pages) > 0 {
			place, page, rest, _ := feature.NextPage(pages)
			fields, pages = append(fields, PageField(w.TailField, place), page), rest
		}
	}
	tx.HSet(ctx, key, fields...)
	if v.dropTail {
		tx.HDel(ctx, key, w.TailField)
	}
	expire := time.Duration(millis(w.Expire)) * time.Millisecond
	switch {
	case expire == 0 && left >= 0:
		tx.Persist(ctx, key)
	case expire > 0 && raise(left != -2, left, expire):
		tx.PExpire(ctx, key, expire)
	}
}

func wrongType(err error) error {
	if err != nil && strings.Contains(err.Error(), "WRONGTYPE") {
		return errWrongType
	}
	return err
}
