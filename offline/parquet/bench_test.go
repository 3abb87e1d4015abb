package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// benchRow is a row of benchTable, as a program that writes Parquet by itself has it. Its encodings are those that a store
// chooses.
type benchRow struct {
	User      string   `parquet:"user,dict"`
	Merchant  string   `parquet:"merchant,dict"`
	Amount    float64  `parquet:"amount"`
	Items     int64    `parquet:"items,dict"`
	Score     *float64 `parquet:"score,optional"`
	Channel   *string  `parquet:"channel,optional,dict"`
	Online    bool     `parquet:"online"`
	Device    string   `parquet:"device,dict"`
	EventTime int64    `parquet:"_event_time,delta,timestamp(microsecond)"`
	ArrivedAt int64    `parquet:"_arrived_at,delta,timestamp(microsecond)"`
	Deleted   bool     `parquet:"_deleted"`
	Ordinal   int32    `parquet:"_ordinal,dict"`
	Topic     string   `parquet:"_topic,dict"`
	Partition int32    `parquet:"_partition,dict"`
	Offset    int64    `parquet:"_offset,delta"`
}

func benchTable() *offline.Table {
	return &offline.Table{
		Name: "events_payments", Source: &config.Source{Name: "payments", Topic: "payments"}, Key: []int{0},
		Columns: []offline.Column{
			{Name: "user", Type: feature.String},
			{Name: "merchant", Type: feature.String},
			{Name: "amount", Type: feature.Float64},
			{Name: "items", Type: feature.Int64},
			{Name: "score", Type: feature.Float64, Nullable: true},
			{Name: "channel", Type: feature.String, Nullable: true},
			{Name: "online", Type: feature.Bool},
			{Name: "device", Type: feature.String},
		},
	}
}

// benchRows makes rows of one day, a little out of order, as they come from a topic.
func benchRows(first, n int) (*offline.Batch, []benchRow) {
	rnd := rand.New(rand.NewPCG(7, uint64(first)))
	b := &offline.Batch{Width: 8}
	rows := make([]benchRow, n)
	channels := []string{"web", "app", "pos"}
	for i := range rows {
		r := &rows[i]
		at := testTime + int64(first+i)*100 + rnd.Int64N(50_000)
		*r = benchRow{
			User: fmt.Sprintf("user-%06d", rnd.IntN(100_000)), Merchant: fmt.Sprintf("merchant-%04d", rnd.IntN(2000)), Amount: float64(rnd.IntN(1e6)) / 100,
			Items: rnd.Int64N(20), Online: rnd.IntN(2) == 0, Device: fmt.Sprintf("device-%02d", rnd.IntN(40)),
			EventTime: at, ArrivedAt: at + 1000, Ordinal: 1, Topic: "payments", Offset: int64(first + i),
		}
		var score, channel feature.Value
		if rnd.IntN(3) > 0 {
			f := rnd.Float64()
			r.Score, score = &f, feature.Float64Value(f)
		}
		if rnd.IntN(5) > 0 {
			c := &channels[rnd.IntN(3)]
			r.Channel, channel = c, feature.StringValue(*c)
		}
		b.Values = append(b.Values, feature.StringValue(r.User), feature.StringValue(r.Merchant), feature.Float64Value(r.Amount), feature.Int64Value(r.Items),
			score, channel, feature.BoolValue(r.Online), feature.StringValue(r.Device))
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at + 1000, Ordinal: 1, Topic: "payments", Offset: r.Offset})
	}
	return b, rows
}

const benchBatch = 100_000

// BenchmarkWrite is a store's writing of a batch: its sorting, a file and the two syncs that make it durable.
func BenchmarkWrite(b *testing.B) {
	batch, _ := benchRows(0, benchBatch)
	table := benchTable()
	s := openDisk(b, b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Write(b.Context(), table, offline.Range{Topic: "payments", End: benchBatch}, batch); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b, benchBatch)
}

// BenchmarkBareWrite is parquet-go's own writing of the same rows, from structs to a file that is synced too.
func BenchmarkBareWrite(b *testing.B) {
	name := b.TempDir() + "/bare.parquet"
	bareWrite(b, func(w *pq.GenericWriter[benchRow], rows []benchRow) error {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		w.Reset(f)
		_, err = w.Write(rows)
		return errors.Join(err, w.Close(), f.Sync(), f.Close())
	})
}

// BenchmarkEncode is BenchmarkWrite to memory.
func BenchmarkEncode(b *testing.B) {
	batch, _ := benchRows(0, benchBatch)
	table := benchTable()
	s := openDisk(b, b.TempDir())
	var out bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		days, rows := byDay(batch)
		if err := s.writeRows(&out, &outFile{table: table.Name, layout: layoutOf(table), days: days}, batch, rows[0]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out.Len())/benchBatch, "bytes/row")
	reportRows(b, benchBatch)
}

// BenchmarkBareEncode is BenchmarkBareWrite to memory.
func BenchmarkBareEncode(b *testing.B) {
	var out bytes.Buffer
	bareWrite(b, func(w *pq.GenericWriter[benchRow], rows []benchRow) error {
		out.Reset()
		w.Reset(&out)
		_, err := w.Write(rows)
		return errors.Join(err, w.Close())
	})
	b.ReportMetric(float64(out.Len())/benchBatch, "bytes/row")
}

func bareWrite(b *testing.B, write func(*pq.GenericWriter[benchRow], []benchRow) error) {
	_, rows := benchRows(0, benchBatch)
	w := pq.NewGenericWriter[benchRow](io.Discard, pq.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		pq.BloomFilters(pq.SplitBlockFilter(bloomBits, "user")), pq.PageBufferSize(pageBytes))
	b.ReportAllocs()
	for b.Loop() {
		if err := write(w, rows); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b, benchBatch)
}

func reportRows(b *testing.B, rows int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkScan reads six of the columns of a million rows in ten files, on as many cores as there are.
func BenchmarkScan(b *testing.B) {
	const files = 10
	table := benchTable()
	s, err := Open(b.Context(), config.Secret("file://"+b.TempDir()), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for i := range files {
		batch, _ := benchRows(i*benchBatch, benchBatch)
		mustWrite(b, s, table, offline.Range{Topic: "payments", First: int64(i) * benchBatch, End: int64(i+1) * benchBatch}, batch)
	}
	for _, parallel := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", parallel), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				counts := make([]struct {
					rows int
					_    [64]byte
				}, parallel)
				err := s.Scan(b.Context(), table, offline.Query{Columns: []int{0, 1, 2, 3, 4, 5}, Parallel: parallel}, func(w int, batch *offline.Batch) error {
					counts[w].rows += batch.Len()
					return nil
				})
				total := 0
				for _, c := range counts {
					total += c.rows
				}
				if err != nil || total != files*benchBatch {
					b.Fatalf("%d rows, %v", total, err)
				}
			}
			reportRows(b, files*benchBatch)
		})
	}
}
