package online

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet/config"
)

// A view's state may be built anew under the same definition, or a changed one: then it is under another generation, and
// under other fields (config.Fingerprint.State). Readers learn which generation is whole from a hash of the project:
//
//	freshet:generations:{project}   fields "<view>@<fingerprint>:<generation>", without content
//
// A generation is marked when all of it has been written, never before; of several the highest holds. So a mark that comes
// late, from a process that has not heard of the newest, changes nothing. Generation 0 has no mark.

func generationsKey(project string) string {
	return string(append(appendEscaped([]byte("freshet:generations:{"), project), '}'))
}

// MarkGenerations says that states are whole. Marks that are there stay.
func (c *Client) MarkGenerations(ctx context.Context, project string, of map[string]map[config.Fingerprint]uint32) error {
	var fields []any
	for view, states := range of {
		for fp, generation := range states {
			if generation > 0 {
				fields = append(fields, view+"@"+fp.String()+":"+strconv.FormatUint(uint64(generation), 10), "")
			}
		}
	}
	if len(fields) == 0 {
		return nil
	}
	if err := c.redis.HSet(ctx, generationsKey(project), fields...).Err(); err != nil {
		return fmt.Errorf("mark generations in redis: %w", err)
	}
	return nil
}

// Generations returns the newest whole generation of each view's definitions; what is not in it has generation 0.
func (c *Client) Generations(ctx context.Context, project string) (map[string]uint32, error) {
	fields, err := c.redis.HKeys(ctx, generationsKey(project)).Result()
	if err != nil {
		return nil, fmt.Errorf("read generations from redis: %w", err)
	}
	of := make(map[string]uint32, len(fields))
	for _, f := range fields {
		i := strings.LastIndexByte(f, ':')
		if i < 0 {
			continue
		}
		if n, err := strconv.ParseUint(f[i+1:], 10, 32); err == nil {
			of[f[:i]] = max(of[f[:i]], uint32(n))
		}
	}
	return of, nil
}

// GenerationOf looks a view's generation up in what Generations returned.
func GenerationOf(generations map[string]uint32, v *config.View) uint32 {
	return generations[v.Name+"@"+v.Fingerprint.String()]
}
