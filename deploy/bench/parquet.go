package bench

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// eventRow is a row of the benchmark's source as a struct. Its encodings are those that the store chooses.
type eventRow struct {
	User      string   `parquet:"user_id,dict"`
	Amount    *float64 `parquet:"amount,optional"`
	Country   *string  `parquet:"country,optional,dict"`
	Channel   *string  `parquet:"channel,optional,dict"`
	Session   *string  `parquet:"session,optional,dict"`
	TS        int64    `parquet:"ts,dict"`
	EventTime int64    `parquet:"_event_time,delta,timestamp(microsecond)"`
	ArrivedAt int64    `parquet:"_arrived_at,delta,timestamp(microsecond)"`
	Deleted   bool     `parquet:"_deleted"`
	Ordinal   int32    `parquet:"_ordinal,dict"`
	Topic     string   `parquet:"_topic,dict"`
	Partition int32    `parquet:"_partition,dict"`
	Offset    int64    `parquet:"_offset,delta"`
}

// eventRows returns a batch as structs that share no memory with it.
func eventRows(b *offline.Batch) []eventRow {
	text := func(v *feature.Value) *string {
		if v.IsNull() {
			return nil
		}
		s := string([]byte(v.Str()))
		return &s
	}
	rows := make([]eventRow, b.Len())
	for i := range rows {
		v, m := b.Row(i), &b.Meta[i]
		rows[i] = eventRow{
			User: string([]byte(v[0].Str())), Country: text(&v[2]), Channel: text(&v[3]), Session: text(&v[4]), TS: v[5].Int64(),
			EventTime: m.Time, ArrivedAt: m.Arrived, Deleted: m.Deleted, Ordinal: int32(m.Ordinal), Topic: m.Topic, Partition: m.Partition, Offset: m.Offset,
		}
		if !v[1].IsNull() {
			amount := v[1].Float64()
			rows[i].Amount = &amount
		}
	}
	return rows
}

// bareParquet writes batches with parquet-go alone: each to a file, from structs in memory, synced.
type bareParquet struct {
	dir string
	w   *pq.GenericWriter[eventRow]
}

func newBareParquet(dir string) *bareParquet {
	return &bareParquet{dir: dir, w: pq.NewGenericWriter[eventRow](io.Discard, pq.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		pq.BloomFilters(pq.SplitBlockFilter(10, "user_id")), pq.PageBufferSize(256<<10))}
}

func (p *bareParquet) write(rows []eventRow) error {
	f, err := os.Create(filepath.Join(p.dir, "bare.parquet"))
	if err != nil {
		return err
	}
	p.w.Reset(f)
	_, err = p.w.Write(rows)
	return errors.Join(err, p.w.Close(), f.Sync(), f.Close())
}
