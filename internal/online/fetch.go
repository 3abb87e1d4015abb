package online

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// FetchRequest asks for fields of one entity's hash.
type FetchRequest struct {
	Key    string
	Fields []string
}

// fetchEntities bounds a pipeline of lookups; a longer list is fetched in several, one after another.
const fetchEntities = 1000

// Fetch is FetchInto with memory of its own: the bytes belong to the caller.
func (c *Client) Fetch(ctx context.Context, reqs []FetchRequest, out [][][]byte) error {
	return c.FetchInto(ctx, reqs, out, new(Memory))
}

// FetchInto reads the fields of every entity: one HMGET an entity, pipelined to each node. out must be as long as reqs;
// out[i] is reused if its capacity allows, and then holds one element a field, nil for a field that is not there. The
// bytes are in mem or fresh, must not be changed, and are valid until mem is used again. Where an entity could not be
// fetched out[i] is nil, and the error, which joins what went wrong after everything was tried, is not.
func (c *Client) FetchInto(ctx context.Context, reqs []FetchRequest, out [][][]byte, mem *Memory) error {
	if len(reqs) == 0 {
		return nil
	}
	began := time.Now()
	out = out[:len(reqs)]
	mem.chunks = mem.chunks[:0]
	var errs distinct
	for from := 0; from < len(reqs); from += fetchEntities {
		to := min(from+fetchEntities, len(reqs))
		c.fetch(ctx, reqs[from:to], out[from:to], mem, &errs)
	}
	c.metrics.fetchSeconds.Observe(time.Since(began).Seconds())
	c.metrics.fetchEntities.Add(float64(len(reqs)))
	if errs.failed > 0 {
		c.metrics.fetchFailed.Add(float64(errs.failed))
	}
	return errs.join("fetch from redis", len(reqs))
}

// fetch reads the replies as they come into mem, and where that does not give an entity's fields asks for it again in
// the client's own way, which knows redirections, dead connections and errors. A cluster's pipelines run side by side
// and have no memory to share.
func (c *Client) fetch(ctx context.Context, reqs []FetchRequest, out [][][]byte, mem *Memory, errs *distinct) {
	from := 0
	if c.cluster == nil {
		var err error
		if from, err = c.fetchRaw(ctx, reqs, out, mem); from == len(reqs) {
			return
		}
		if timedOut(err) || ctx.Err() != nil { // there is no time to ask again
			for i := from; i < len(reqs); i++ {
				out[i] = nil
			}
			errs.add(errors.Join(ctx.Err(), err), len(reqs)-from)
			return
		}
	}
	c.fetchParsed(ctx, reqs[from:], out[from:], errs)
}

func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// fetchRaw reads the replies into mem. It returns how many entities, from the first on, it read without a hitch.
func (c *Client) fetchRaw(ctx context.Context, reqs []FetchRequest, out [][][]byte, mem *Memory) (int, error) {
	mem.begin(reqs)
	pipe := c.redis.Pipeline()
	for i := range reqs {
		if args := mem.command(&reqs[i]); args != nil {
			_ = pipe.Process(ctx, redis.NewRawWriteToCmd(ctx, mem, args...)) // only queues
		}
	}
	if pipe.Len() > 0 {
		if _, err := pipe.Exec(ctx); err != nil && len(mem.buf) == 0 {
			return 0, err
		}
	}
	replies := mem.end()
	for i := range reqs {
		out[i] = out[i][:0]
		if len(reqs[i].Fields) == 0 {
			continue // HMGET takes at least one
		}
		var ok bool
		if out[i], replies, ok = appendReply(out[i], replies, len(reqs[i].Fields)); !ok {
			return i, nil
		}
	}
	if len(replies) > 0 {
		return 0, errors.New("more replies than commands") // which is whose cannot be told
	}
	return len(reqs), nil
}

// fetchParsed reads replies as strings.
func (c *Client) fetchParsed(ctx context.Context, reqs []FetchRequest, out [][][]byte, errs *distinct) {
	var mem Memory
	mem.begin(reqs)
	cmds := make([]*redis.StringSliceCmd, len(reqs))
	pipe := c.redis.Pipeline()
	for i := range reqs {
		if args := mem.command(&reqs[i]); args != nil {
			cmds[i] = redis.NewStringSliceCmd(ctx, args...)
			_ = pipe.Process(ctx, cmds[i]) // only queues
		}
	}
	var execErr error
	if pipe.Len() > 0 {
		_, execErr = pipe.Exec(ctx)
	}
	for i, cmd := range cmds {
		if cmd == nil {
			out[i] = out[i][:0]
			continue
		}
		values, err := cmd.Result()
		if err == nil && len(values) != len(reqs[i].Fields) {
			if err = execErr; err == nil {
				err = fmt.Errorf("HMGET of %d fields answered %d", len(reqs[i].Fields), len(values))
			}
		}
		if err != nil {
			errs.add(wrongType(err), 1)
			out[i] = nil
			continue
		}
		out[i] = appendBytes(out[i][:0], values)
	}
}

// appendBytes appends the memory of fresh strings that nobody else holds. The client reads an absent field as ""; no
// blob is empty.
func appendBytes(dst [][]byte, values []string) [][]byte {
	for _, v := range values {
		var b []byte
		if v != "" {
			b = unsafe.Slice(unsafe.StringData(v), len(v))
		}
		dst = append(dst, b)
	}
	return dst
}
