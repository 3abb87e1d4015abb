package parquet

import (
	"testing"

	"github.com/freshet-io/freshet/offline"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	table := testTable()
	s := openDisk(t, t.TempDir())
	var want []row
	for _, r := range []offline.Range{orders(0, 0, 3000), orders(0, 3000, 3500), orders(3, 70, 900), {Topic: "backfill/2019 é", Partition: 2, First: 0, End: 400}} {
		b := rowsOf(r, 3)
		mustWrite(t, s, table, r, b)
		want = append(want, rowsIn(b)...)
	}
	want = sortedRows(want)
	for _, parallel := range []int{0, 1, 3} {
		same(t, scanAll(t, s, table, offline.Query{Columns: allColumns(table), Parallel: parallel}), want)
	}
}
