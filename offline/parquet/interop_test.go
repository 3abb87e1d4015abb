package parquet_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/sink"
)

// What the store is to the rest of the room.
var (
	_ sink.Store     = (*parquet.Store)(nil)
	_ replay.Scanner = (*parquet.Store)(nil)
)

// pythonPackages are what the interoperation tests install, once, into the user's cache folder.
const pythonPackages = "pyarrow==21.0.0 polars==1.33.1"

// python returns an interpreter that has the packages.
func python(t *testing.T) string {
	t.Helper()
	path, err := pythonWith(t, strings.Fields(pythonPackages))
	if err != nil {
		if os.Getenv("FRESHET_REQUIRE_SERVICES") == "1" {
			t.Fatalf("python with %s is required: %v", pythonPackages, err)
		}
		t.Skipf("needs python3 with %s: %v", pythonPackages, err)
	}
	return path
}

func pythonWith(t *testing.T, packages []string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "freshet", "python-"+strings.NewReplacer("==", "-", " ", "_").Replace(strings.Join(packages, " ")))
	bin := filepath.Join(folder, "bin", "python3")
	ready := filepath.Join(folder, "ready")
	if _, err := os.Stat(ready); err == nil {
		return bin, nil
	}
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", folder},
		append([]string{bin, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, packages...),
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return bin, os.WriteFile(ready, nil, 0o644)
}

// interopTable has a column of every type.
func interopTable() *offline.Table {
	return &offline.Table{
		Name: "events_orders", Source: &config.Source{Name: "orders", Topic: "orders"}, Key: []int{0},
		Columns: []offline.Column{
			{Name: "user", Type: feature.String},
			{Name: "amount", Type: feature.Float64, Nullable: true},
			{Name: "items", Type: feature.Int64},
			{Name: "paid", Type: feature.Bool, Nullable: true},
			{Name: "raw", Type: feature.Bytes, Nullable: true},
			{Name: "seen", Type: feature.Timestamp, Nullable: true},
			{Name: "tags", Type: feature.ListOf(feature.String), Nullable: true},
			{Name: "scores", Type: feature.ListOf(feature.Float64)},
		},
	}
}

var interopTime = time.Date(2026, 3, 1, 23, 59, 59, 999_999_000, time.UTC)

// interopFolder writes three rows on two days and returns the store's folder.
func interopFolder(t *testing.T, compact bool) string {
	t.Helper()
	dir := t.TempDir()
	s, err := parquet.Open(t.Context(), config.Secret("file://"+dir), parquet.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	at := interopTime.UnixMicro()
	null := feature.Value{}
	str := feature.StringValue
	b := &offline.Batch{Width: 8, Values: []feature.Value{
		str("zoë"), feature.Float64Value(1.5), feature.Int64Value(1 << 60), feature.BoolValue(true), feature.BytesValue("\x00\xff"), feature.TimestampValue(at),
		feature.ListValue(feature.String, []feature.Value{str("a"), str("b")}), feature.ListValue(feature.Float64, []feature.Value{feature.Float64Value(0.25)}),
		str("max"), null, feature.Int64Value(-2), null, null, null, null, feature.ListValue(feature.Float64, nil),
		str("max"), feature.Float64Value(-0.5), feature.Int64Value(3), feature.BoolValue(false), feature.BytesValue(""), feature.TimestampValue(0),
		feature.ListValue(feature.String, nil), feature.ListValue(feature.Float64, nil),
	}}
	for i := range int64(3) {
		b.Meta = append(b.Meta, offline.Meta{Time: at + i, Arrived: at + i + 5, Offset: 10 + i, Topic: "orders", Partition: 4, Ordinal: 1, Deleted: i == 1})
	}
	table := interopTable()
	cuts := []int{0, 2, 3}
	for i := range 2 {
		part := &offline.Batch{Width: 8, Values: b.Values[cuts[i]*8 : cuts[i+1]*8], Meta: b.Meta[cuts[i]:cuts[i+1]]}
		r := offline.Range{Topic: "orders", Partition: 4, First: int64(10 + cuts[i]), End: int64(10 + cuts[i+1])}
		if err := s.Write(t.Context(), table, r, part); err != nil {
			t.Fatal(err)
		}
	}
	if compact {
		if done, err := s.Compact(t.Context(), table.Name, parquet.CompactOptions{}); err != nil || done.Merged != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	return dir
}

const pythonScript = `
import sys, json, glob
import pyarrow.dataset as ds, pyarrow.parquet as pq, polars as pl
folder = sys.argv[1] + "/events_orders"
t = ds.dataset(folder, format="parquet", partitioning="hive").to_table().sort_by("_offset")
p = pl.scan_parquet(folder + "/dt=*/*.parquet", hive_partitioning=True).sort("_offset").collect()
def rows(r):
    return json.loads(json.dumps(r, default=lambda v: v.hex() if isinstance(v, bytes) else v.isoformat()))
f = pq.ParquetFile(sorted(glob.glob(folder + "/dt=*/*.parquet"))[0])
stats = f.metadata.row_group(0).column(f.schema_arrow.get_field_index("user")).statistics
print(json.dumps({
    "arrow_types": {n: str(t.schema.field(n).type) for n in t.schema.names},
    "nullable": {n: f.schema_arrow.field(n).nullable for n in f.schema_arrow.names},
    "arrow": rows(t.to_pylist()),
    "polars_types": {n: str(d) for n, d in p.schema.items()},
    "polars": rows(p.to_dicts()),
    "compression": f.metadata.row_group(0).column(0).compression,
    "statistics": [stats.min, stats.max],
}))
`

func TestPyArrowAndPolarsReadTheFiles(t *testing.T) {
	bin := python(t)
	for _, compact := range []bool{false, true} {
		dir := interopFolder(t, compact)
		cmd := exec.CommandContext(t.Context(), bin, "-c", pythonScript, dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v", err)
		}
		var got struct {
			ArrowTypes  map[string]string `json:"arrow_types"`
			PolarsTypes map[string]string `json:"polars_types"`
			Nullable    map[string]bool
			Arrow       []map[string]any
			Polars      []map[string]any
			Compression string
			Statistics  []string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		wantArrow := map[string]string{
			"user": "string", "amount": "double", "items": "int64", "paid": "bool", "raw": "binary", "seen": "timestamp[us, tz=UTC]",
			"tags": "list<element: string not null>", "scores": "list<element: double not null>",
			"_event_time": "timestamp[us, tz=UTC]", "_arrived_at": "timestamp[us, tz=UTC]", "_deleted": "bool", "_ordinal": "int32", "_topic": "string",
			"_partition": "int32", "_offset": "int64", "dt": "string",
		}
		wantPolars := map[string]string{
			"user": "String", "amount": "Float64", "items": "Int64", "paid": "Boolean", "raw": "Binary", "seen": "Datetime(time_unit='us', time_zone='UTC')",
			"tags": "List(String)", "scores": "List(Float64)", "_event_time": "Datetime(time_unit='us', time_zone='UTC')", "_offset": "Int64", "dt": "Date",
		}
		for name, want := range wantArrow {
			if got.ArrowTypes[name] != want {
				t.Errorf("pyarrow reads %s as %s, want %s", name, got.ArrowTypes[name], want)
			}
		}
		for name, want := range wantPolars {
			if got.PolarsTypes[name] != want {
				t.Errorf("polars reads %s as %s, want %s", name, got.PolarsTypes[name], want)
			}
		}
		if got.Nullable["user"] || !got.Nullable["amount"] || got.Nullable["_event_time"] {
			t.Errorf("nullable: %v", got.Nullable)
		}
		if got.Compression != "ZSTD" || fmt.Sprint(got.Statistics) != "[zoë zoë]" {
			t.Errorf("compression %s, statistics %v", got.Compression, got.Statistics)
		}
		for reader, rows := range map[string][]map[string]any{"pyarrow": got.Arrow, "polars": got.Polars} {
			checkInterop(t, reader, rows)
		}
	}
}

// checkInterop holds rows as JSON has them to what interopFolder wrote.
func checkInterop(t *testing.T, reader string, rows []map[string]any) {
	t.Helper()
	if len(rows) != 3 {
		t.Fatalf("%s reads %d rows", reader, len(rows))
	}
	want := []map[string]string{
		{
			"user": "zoë", "amount": "1.5", "items": "1.152921504606847e+18", "paid": "true", "raw": "00ff", "seen": "2026-03-01T23:59:59.999999+00:00",
			"tags": "[a b]", "scores": "[0.25]", "_event_time": "2026-03-01T23:59:59.999999+00:00", "_arrived_at": "2026-03-02T00:00:00.000004+00:00",
			"_deleted": "false", "_ordinal": "1", "_topic": "orders", "_partition": "4", "_offset": "10", "dt": "2026-03-01",
		},
		{"user": "max", "amount": "<nil>", "items": "-2", "paid": "<nil>", "raw": "<nil>", "seen": "<nil>", "tags": "<nil>", "scores": "[]", "_deleted": "true", "_event_time": "2026-03-02T00:00:00+00:00"},
		{"user": "max", "amount": "-0.5", "paid": "false", "raw": "", "seen": "1970-01-01T00:00:00+00:00", "tags": "[]", "dt": "2026-03-02"},
	}
	for i := range want {
		for name, text := range want[i] {
			if got := fmt.Sprint(rows[i][name]); got != text {
				t.Errorf("%s: row %d has %s = %s, want %s", reader, i, name, got, text)
			}
		}
	}
}

// TestClickHouseReadsTheFiles reads them through the server's own Parquet reader.
func TestClickHouseReadsTheFiles(t *testing.T) {
	_, web := testenv.ClickHouse(t)
	dir := interopFolder(t, false)
	for _, compact := range []bool{false, true} {
		if compact {
			dir = interopFolder(t, true)
		}
		askClickHouseFiles(t, web, dir)
	}
}
