package processors

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
)

// featureLog writes the log of one view in one task: for each event that the view accepts, its entity's features as of the
// event, as they are when it is processed. The record goes with the transaction that counts the event, and only there: an
// event that the view has counted already, which its own offset in the meta record tells, is not logged again. A late event
// has its row, and changes no row before it.
type featureLog struct {
	topic  string
	names  [][]byte // of the fields of the log's schema, as JSON, each with what stands before it
	keys   []int    // of the join keys in the source's schema
	reader feature.Reader
	want   []int
	row    []feature.Value // of the log's schema: join keys, features, the event time
	text   []byte
}

// newFeatureLog returns nil for a view that keeps no log.
func newFeatureLog(p *config.Plane, v *config.View) *featureLog {
	if !p.KeepsLog(v) {
		return nil
	}
	src := p.FeatureLog(v)
	l := &featureLog{topic: src.Topic, keys: v.KeyFields, row: make([]feature.Value, len(src.Schema))}
	for i, f := range src.Schema {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		l.names = append(l.names, ingest.AppendJSONName([]byte{before}, f.Name))
	}
	for i := range v.Features {
		l.want = append(l.want, i)
	}
	return l
}

// append puts the record of an event that has just been applied to e into the task's memory.
func (l *featureLog) append(t *task, v *viewState, e *entry, at *feature.Order) error {
	for i, f := range l.keys {
		l.row[i] = t.row[f]
	}
	features := l.row[len(l.keys) : len(l.row)-1]
	l.reader.ReadEntity(v.layout, &e.Entity, at.Time, l.want, features)
	l.row[len(l.row)-1] = feature.TimestampValue(at.Time)

	var err error
	if l.text, err = ingest.AppendRecordKey(l.text[:0], l.row[:len(l.keys)]...); err != nil {
		return fmt.Errorf("key of the log: %w", err)
	}
	key := len(l.text)
	l.text = l.encode(l.text)
	if len(l.text) > config.MaxFeatureLogBytes {
		for i := range features {
			if typ := features[i].Type(); typ.IsList() || typ == feature.String || typ == feature.Bytes {
				features[i] = feature.Value{}
			}
		}
		t.counts.tooLong++
		l.text = l.encode(l.text[:key])
	}
	t.logged.add(t.in.logMemory, l.topic, t.partition, l.text, key)
	return nil
}

func (l *featureLog) encode(dst []byte) []byte {
	for i := range l.row {
		dst = ingest.AppendJSON(append(dst, l.names[i]...), &l.row[i])
	}
	return append(dst, '}')
}

// A logChunk is memory for some records of logs, used again when Kafka has all of them. Records and bytes do not move.
type logChunk struct {
	recs    []kgo.Record
	bytes   []byte
	left    atomic.Int32 // records without an outcome, and one while the chunk is filled
	failed  atomic.Bool  // the client may still hold it
	home    chan *logChunk
	txn     *txnRecords
	promise func(*kgo.Record, error)
}

const (
	logChunkBytes   = 256 << 10
	logChunkRecords = 1024
	// logChunksKept bounds the idle memory of one input.
	logChunksKept = 64
)

func (c *logChunk) produced(r *kgo.Record, err error) {
	if err != nil {
		c.failed.Store(true)
	}
	txn := c.txn // for another one, once the chunk is home
	c.done()
	txn.produced(r, err)
}

func (c *logChunk) done() {
	if c.left.Add(-1) > 0 || c.failed.Load() || cap(c.bytes) > logChunkBytes {
		return
	}
	select {
	case c.home <- c:
	default:
	}
}

// loggedRows are the records of logs that a task's batch has made, and the chunk that is being filled.
type loggedRows struct {
	open  *logChunk
	out   []loggedRow
	bytes int // of out
}

type loggedRow struct {
	rec   *kgo.Record
	chunk *logChunk
}

// add makes a record whose key is text[:key] and whose value is the rest; text is copied.
func (g *loggedRows) add(home chan *logChunk, topic string, partition int32, text []byte, key int) {
	c := g.open
	if c == nil || len(c.recs) == cap(c.recs) || cap(c.bytes)-len(c.bytes) < len(text) {
		if c != nil {
			c.done()
		}
		c = takeChunk(home, len(text))
		g.open = c
	}
	start := len(c.bytes)
	c.bytes = append(c.bytes, text...)
	b := c.bytes[start:len(c.bytes):len(c.bytes)]
	c.recs = append(c.recs, kgo.Record{Topic: topic, Partition: partition, Key: b[:key:key], Value: b[key:]})
	c.left.Add(1)
	g.out = append(g.out, loggedRow{&c.recs[len(c.recs)-1], c})
	g.bytes += len(b)
}

// takeChunk returns an empty chunk with room for n bytes.
func takeChunk(home chan *logChunk, n int) *logChunk {
	var c *logChunk
	select {
	case c = <-home:
	default:
	}
	if c == nil || n > cap(c.bytes) {
		c = &logChunk{recs: make([]kgo.Record, 0, logChunkRecords), bytes: make([]byte, 0, max(n, logChunkBytes)), home: home}
		c.promise = c.produced
	}
	clear(c.recs)
	c.recs, c.bytes = c.recs[:0], c.bytes[:0]
	c.left.Store(1)
	return c
}

// drop forgets records that no transaction was given.
func (g *loggedRows) drop() {
	for _, r := range g.out {
		r.chunk.done()
	}
	g.sent()
}

// sent forgets what has been taken up.
func (g *loggedRows) sent() {
	clear(g.out)
	g.out, g.bytes = g.out[:0], 0
}

// produceLogged sends what a task has logged, in the open transaction. A stop commits it too: ctx does not end.
func (m *materializer) produceLogged(ctx context.Context, t *task) {
	if len(t.logged.out) == 0 {
		return
	}
	for _, r := range t.logged.out {
		r.chunk.txn = m.txn
		m.txn.produceThen(ctx, m.sess, r.rec, r.chunk.promise)
	}
	m.met.logged.WithLabelValues(t.in.source.Name).Add(float64(len(t.logged.out)))
	t.logged.sent()
}
