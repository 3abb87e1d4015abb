package clickhouse

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
	"golang.org/x/sync/errgroup"

	"github.com/freshet-io/freshet/offline"
)

// Scan implements tables.
func (s *database) Scan(ctx context.Context, t *offline.Table, q offline.Query, fn func(worker int, b *offline.Batch) error) error {
	have, err := s.load(ctx, t) // another process may have made a column nullable since this one wrote
	if err != nil {
		return err
	}
	ranges, err := s.cut(ctx, t, &q)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for worker, r := range ranges {
		g.Go(func() error {
			return s.scan(ctx, t, have, &q, r, func(b *offline.Batch) error { return fn(worker, b) })
		})
	}
	return g.Wait()
}

// times is a range of event times; to is not in it, except that the last range has no end.
type times struct {
	from, to int64
	endless  bool
}

func (s *database) scan(ctx context.Context, t *offline.Table, have []dbColumn, q *offline.Query, r times, fn func(b *offline.Batch) error) error {
	blk := &block{}
	for _, c := range q.Columns {
		if err := blk.add(t, &t.Columns[c], have); err != nil {
			return err
		}
	}
	blk.addMeta()
	result := make(proto.Results, len(blk.input))
	for i, c := range blk.input {
		result[i] = proto.ResultColumn{Name: c.Name, Data: c.Data.(proto.ColResult)}
	}
	n := s.names(t)
	where, params := conditions(t, q, r)
	var batch offline.Batch
	err := s.server.do(ctx, &query{
		sql:    "SELECT " + identifiers(blk.names()) + " FROM " + n.qualified(n.all) + where,
		params: params, result: result,
		block: func() error {
			blk.drain(&batch)
			return fn(&batch)
		},
	})
	if err != nil {
		return fmt.Errorf("clickhouse: scan %s: %w", t.Name, err)
	}
	return nil
}

// conditions writes what the rows must satisfy; values are parameters.
func conditions(t *offline.Table, q *offline.Query, r times) (where string, params []param) {
	var terms []string
	if r.from != math.MinInt64 {
		terms = append(terms, identifier(offline.EventTime)+" >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')")
		params = append(params, intParam("from", r.from))
	}
	if !r.endless {
		terms = append(terms, identifier(offline.EventTime)+" < fromUnixTimestamp64Micro({to:Int64}, 'UTC')")
		params = append(params, intParam("to", r.to))
	}
	if q.Below != nil {
		topic := identifier(offline.Topic) + " != {topic:String}"
		params = append(params, stringParam("topic", t.Source.Topic))
		if len(q.Below) > 0 {
			partitions := make([]int32, 0, len(q.Below))
			for p := range q.Below {
				partitions = append(partitions, p)
			}
			slices.Sort(partitions)
			offsets := make([]int64, len(partitions))
			for i, p := range partitions {
				offsets[i] = q.Below[p]
			}
			topic = "(" + topic + " OR " + identifier(offline.Offset) + " < transform(" + identifier(offline.Partition) +
				", {partitions:Array(Int32)}, {offsets:Array(Int64)}, toInt64(0)))"
			params = append(params, intsParam("partitions", partitions), intsParam("offsets", offsets))
		}
		terms = append(terms, topic)
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), params
}

// cut divides the query's time among its readers by quantiles of the rows' times, which need not be exact: wherever the
// cuts are, each row is in one piece.
func (s *database) cut(ctx context.Context, t *offline.Table, q *offline.Query) ([]times, error) {
	whole := times{from: math.MinInt64, endless: true}
	if q.Bounded() {
		whole = times{from: q.From, to: q.To}
	}
	if q.Parallel <= 1 {
		return []times{whole}, nil
	}
	where, params := conditions(t, &offline.Query{}, whole)
	levels := make([]string, q.Parallel-1)
	for i := range levels {
		levels[i] = fmt.Sprintf("%g", float64(i+1)/float64(q.Parallel))
	}
	n := s.names(t)
	var cuts []int64
	at := new(proto.ColInt64).Array()
	err := s.server.do(ctx, &query{
		sql: "SELECT arrayMap(x -> toInt64(x), quantiles(" + strings.Join(levels, ", ") + ")(toUnixTimestamp64Micro(" + identifier(offline.EventTime) +
			"))) FROM " + n.qualified(n.all) + where + " HAVING count() > 0",
		params: params, result: proto.Results{{Data: at}},
		block: func() error {
			cuts = at.Row(0)
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: divide %s: %w", t.Name, err)
	}
	var out []times
	for _, c := range slices.Compact(cuts) {
		if c > whole.from && (whole.endless || c < whole.to) {
			out = append(out, times{from: whole.from, to: c})
			whole.from = c
		}
	}
	return append(out, whole), nil
}
