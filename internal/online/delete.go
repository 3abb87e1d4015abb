package online

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Delete deletes the hashes of entities, with all that their views have there.
func (c *Client) Delete(ctx context.Context, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	pipe := c.redis.Pipeline()
	for _, k := range keys {
		pipe.Del(ctx, string(k))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("delete from redis: %w", err)
	}
	return nil
}

// DeleteView deletes a view's head, and its tail with its pages, from the hashes of entities. Nobody may write the view
// meanwhile: which pages there are is read from the head first.
func (c *Client) DeleteView(ctx context.Context, keys [][]byte, headField, tailField string) error {
	if len(keys) == 0 {
		return nil
	}
	heads := make([]*redis.StringCmd, len(keys))
	read := c.redis.Pipeline()
	for i, k := range keys {
		heads[i] = read.HGet(ctx, string(k), headField)
	}
	if _, err := read.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("delete from redis: read heads: %w", err)
	}
	del := c.redis.Pipeline()
	for i, k := range keys {
		fields := []string{headField, tailField}
		head, err := heads[i].Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("delete from redis: read the head of %s: %w", k, err)
		}
		if knownHead(head) {
			for place := range placesOf(head) {
				fields = append(fields, PageField(tailField, place))
			}
		}
		del.HDel(ctx, string(k), fields...)
	}
	if _, err := del.Exec(ctx); err != nil {
		return fmt.Errorf("delete from redis: %w", err)
	}
	return nil
}
