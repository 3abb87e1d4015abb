package bench

import (
	"log/slog"
	"testing"
)

func TestParquetMeasuresBothWriters(t *testing.T) {
	res, err := Parquet(t.Context(), ParquetOptions{Rows: 2 * parquetBatch, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("store %.0f rows/s, bare %.0f rows/s, ratio %.2f, by processor time %.2f", res.Store.PerSecond, res.Bare.PerSecond, res.Ratio, res.CPURatio)
	if res.Store.Events != 2*parquetBatch || res.Bare.Events != 2*parquetBatch || res.Ratio <= 0 || res.CPURatio <= 0 {
		t.Errorf("%+v", res)
	}
}
