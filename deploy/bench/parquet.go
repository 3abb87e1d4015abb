package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
)

// ParquetOptions say what is written, and where.
type ParquetOptions struct {
	Rows   int    // all together, in batches of parquetBatch
	Dir    string // where a folder is made and removed again
	Logger *slog.Logger
	Out    io.Writer // progress, for people
}

// ParquetResult compares a store's writing of ranges, each sorted, whole and synced, with parquet-go's own writing of the same
// rows from structs to files that are synced too: batch by batch in turn, so that both see the same machine.
type ParquetResult struct {
	Bare     Rate    `json:"bare_write"`
	Store    Rate    `json:"store"`
	Ratio    float64 `json:"ratio"`     // rows a second of the store over the bare writer's
	CPURatio float64 `json:"cpu_ratio"` // the same by processor time, which a busy machine changes less
}

const parquetBatch = 100_000

// paymentRow is a row of the benchmark as a struct. Its encodings are those that the store chooses.
type paymentRow struct {
	User      string   `parquet:"user,dict"`
	Merchant  string   `parquet:"merchant,dict"`
	Amount    float64  `parquet:"amount"`
	Items     int64    `parquet:"items,dict"`
	Score     *float64 `parquet:"score,optional"`
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

func paymentTable() *offline.Table {
	return &offline.Table{
		Name: "events_payments", Source: &config.Source{Name: "payments", Topic: "payments"}, Key: []int{0},
		Columns: []offline.Column{
			{Name: "user", Type: feature.String},
			{Name: "merchant", Type: feature.String},
			{Name: "amount", Type: feature.Float64},
			{Name: "items", Type: feature.Int64},
			{Name: "score", Type: feature.Float64, Nullable: true},
			{Name: "online", Type: feature.Bool},
			{Name: "device", Type: feature.String},
		},
	}
}

// payments makes the rows of a range, in both forms.
func payments(first, n int) (*offline.Batch, []paymentRow) {
	rnd := rand.New(rand.NewPCG(7, uint64(first)))
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	b := &offline.Batch{Width: 7}
	rows := make([]paymentRow, n)
	for i := range rows {
		at := begin + int64(first+i)*100 + rnd.Int64N(5000)
		r := paymentRow{
			User: fmt.Sprintf("user-%06d", rnd.IntN(100_000)), Merchant: fmt.Sprintf("merchant-%04d", rnd.IntN(2000)),
			Amount: float64(rnd.IntN(1e6)) / 100, Items: rnd.Int64N(20), Online: rnd.IntN(2) == 0, Device: fmt.Sprintf("device-%02d", rnd.IntN(40)),
			EventTime: at, ArrivedAt: at + 1000, Ordinal: 1, Topic: "payments", Offset: int64(first + i),
		}
		var score feature.Value
		if rnd.IntN(3) > 0 {
			f := rnd.Float64()
			r.Score, score = &f, feature.Float64Value(f)
		}
		rows[i] = r
		b.Values = append(b.Values, feature.StringValue(r.User), feature.StringValue(r.Merchant), feature.Float64Value(r.Amount), feature.Int64Value(r.Items),
			score, feature.BoolValue(r.Online), feature.StringValue(r.Device))
		b.Meta = append(b.Meta, offline.Meta{Time: at, Arrived: at + 1000, Ordinal: 1, Topic: "payments", Offset: r.Offset})
	}
	return b, rows
}

// Parquet measures the Parquet store.
func Parquet(ctx context.Context, o ParquetOptions) (res ParquetResult, err error) {
	dir, err := os.MkdirTemp(o.Dir, "bench-parquet-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := parquet.Open(ctx, config.Secret("file://"+filepath.Join(dir, "store")), parquet.Options{Logger: o.Logger})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	fmt.Fprintf(o.Out, "%d rows in batches of %d; load %s\n", o.Rows, parquetBatch, Load())
	table := paymentTable()
	bare := pq.NewGenericWriter[paymentRow](io.Discard, pq.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		pq.BloomFilters(pq.SplitBlockFilter(10, "user")), pq.PageBufferSize(256<<10))
	for first := -parquetBatch; first < o.Rows; first += parquetBatch { // the first batch warms up
		batch, rows := payments(max(first, 0), parquetBatch)
		r := offline.Range{Topic: "payments", First: int64(max(first, 0)), End: int64(max(first, 0) + parquetBatch)}
		m := startMeter()
		if err := store.Write(ctx, table, r, batch); err != nil {
			return res, err
		}
		stored := m.rate(parquetBatch)
		m = startMeter()
		if err := bareFile(bare, filepath.Join(dir, "bare.parquet"), rows); err != nil {
			return res, err
		}
		if first >= 0 {
			res.Store, res.Bare = res.Store.plus(stored), res.Bare.plus(m.rate(parquetBatch))
		}
	}
	res.Ratio, res.CPURatio = res.Store.PerSecond/res.Bare.PerSecond, res.Store.PerCPUSecond/res.Bare.PerCPUSecond
	return res, nil
}

func bareFile(w *pq.GenericWriter[paymentRow], name string, rows []paymentRow) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w.Reset(f)
	_, err = w.Write(rows)
	return errors.Join(err, w.Close(), f.Sync(), f.Close())
}

// plus returns both passes as one.
func (r Rate) plus(o Rate) Rate {
	sum := Rate{Events: r.Events + o.Events, Seconds: r.Seconds + o.Seconds, CPUSeconds: r.CPUSeconds + o.CPUSeconds, MaxRSSBytes: max(r.MaxRSSBytes, o.MaxRSSBytes)}
	sum.PerSecond, sum.PerCPUSecond = float64(sum.Events)/sum.Seconds, float64(sum.Events)/sum.CPUSeconds
	return sum
}
