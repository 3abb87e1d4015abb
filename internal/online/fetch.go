package online

import (
	"context"
	"fmt"
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

// Fetch reads the fields of every entity: one HMGET an entity, pipelined to each node. out must be as long as reqs;
// out[i] is reused if its capacity allows, and then holds one element a field, nil for a field that is not there. The
// bytes belong to the caller and must not be changed. Where an entity could not be fetched out[i] is nil, and the error,
// which joins what went wrong after everything was tried, is not.
func (c *Client) Fetch(ctx context.Context, reqs []FetchRequest, out [][][]byte) error {
	if len(reqs) == 0 {
		return nil
	}
	began := time.Now()
	out = out[:len(reqs)]
	var errs distinct
	for from := 0; from < len(reqs); from += fetchEntities {
		to := min(from+fetchEntities, len(reqs))
		c.fetch(ctx, reqs[from:to], out[from:to], &errs)
	}
	c.metrics.fetchSeconds.Observe(time.Since(began).Seconds())
	c.metrics.fetchEntities.Add(float64(len(reqs)))
	if errs.failed > 0 {
		c.metrics.fetchFailed.Add(float64(errs.failed))
	}
	return errs.join("fetch from redis", len(reqs))
}

func (c *Client) fetch(ctx context.Context, reqs []FetchRequest, out [][][]byte, errs *distinct) {
	size := 0
	for i := range reqs {
		size += 2 + len(reqs[i].Fields)
	}
	args := make([]any, 0, size) // of all commands: each has a slice of it
	cmds := make([]*redis.StringSliceCmd, len(reqs))
	pipe := c.redis.Pipeline()
	for i := range reqs {
		r := &reqs[i]
		if len(r.Fields) == 0 {
			continue // HMGET takes at least one
		}
		from := len(args)
		args = append(args, "hmget", &r.Key)
		for f := range r.Fields {
			args = append(args, &r.Fields[f])
		}
		cmds[i] = redis.NewStringSliceCmd(ctx, args[from:len(args):len(args)]...)
		_ = pipe.Process(ctx, cmds[i]) // only queues
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
