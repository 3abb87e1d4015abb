package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clickhousego "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
)

// eventsTable is of the kind that most tables are.
func eventsTable(name string) *offline.Table {
	return &offline.Table{
		Name: name, Source: &config.Source{Name: "events", Topic: "events", EventID: -1}, Key: []int{0},
		Columns: []offline.Column{
			{Name: "user", Type: feature.String},
			{Name: "amount", Type: feature.Float64, Nullable: true},
			{Name: "country", Type: feature.String, Nullable: true},
			{Name: "session", Type: feature.String, Nullable: true},
			{Name: "ts", Type: feature.Int64},
		},
	}
}

func eventRows(first, end int64) (offline.Range, *offline.Batch) {
	b := &offline.Batch{}
	b.Reset(5)
	for o := first; o < end; o++ {
		b.Values = append(b.Values, feature.StringValue(fmt.Sprint("user-", o*7919%20_000)), feature.Float64Value(float64(o%500)/100),
			feature.StringValue([]string{"DE", "FR", "US"}[o%3]), feature.StringValue(fmt.Sprintf("%08x", o*2654435761)), feature.Int64Value(o))
		b.Meta = append(b.Meta, offline.Meta{Time: march + o*1000, Arrived: march, Offset: o, Topic: "events", Ordinal: 1})
	}
	return offline.Range{Topic: "events", First: first, End: end}, b
}

const benchRows = 70_000

// BenchmarkInsert compares this package's columns on ch-go, over both protocols, with column appends of clickhouse-go, of the
// same rows in memory into tables of the same form.
func BenchmarkInsert(b *testing.B) {
	native, web := testenv.ClickHouse(b)
	for name, url := range map[string]string{"ch-go": native, "http": web} {
		b.Run(name, func(b *testing.B) {
			s, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(url)}, clickhouse.Options{Logger: quiet()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			tbl := eventsTable("events_" + strings.ReplaceAll(name, "-", ""))
			if err := s.Prepare(b.Context(), tbl); err != nil {
				b.Fatal(err)
			}
			r, batch := eventRows(0, benchRows)
			for b.Loop() {
				r.First, r.End = r.End, r.End+benchRows
				if err := s.Write(b.Context(), tbl, r, batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	b.Run("clickhouse-go", func(b *testing.B) {
		s, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(native)}, clickhouse.Options{Logger: quiet()})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		if err := s.Prepare(b.Context(), eventsTable("events_other")); err != nil {
			b.Fatal(err)
		}
		opts, err := clickhousego.ParseDSN(native)
		if err != nil {
			b.Fatal(err)
		}
		conn, err := clickhousego.Open(opts)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		_, batch := eventRows(0, benchRows)
		for n := 0; b.Loop(); n++ {
			if err := insertByColumns(b, conn, batch, n); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}

func insertByColumns(b *testing.B, conn clickhousego.Conn, batch *offline.Batch, n int) error {
	ctx := clickhousego.Context(b.Context(), clickhousego.WithSettings(clickhousego.Settings{"insert_deduplication_token": fmt.Sprint(n), "async_insert": 0}))
	out, err := conn.PrepareBatch(ctx, "INSERT INTO events_other_rows")
	if err != nil {
		return err
	}
	rows := batch.Len()
	users, sessions, countries := make([]string, rows), make([]*string, rows), make([]*string, rows)
	amounts, ts := make([]*float64, rows), make([]int64, rows)
	times, arrived, topics := make([]time.Time, rows), make([]time.Time, rows), make([]string, rows)
	deleted, ordinals, partitions, offsets := make([]bool, rows), make([]uint8, rows), make([]int32, rows), make([]int64, rows)
	for i := range rows {
		v, m := batch.Row(i), batch.Meta[i]
		amount, country, session := v[1].Float64(), v[2].Str(), v[3].Str()
		users[i], amounts[i], countries[i], sessions[i], ts[i] = v[0].Str(), &amount, &country, &session, v[4].Int64()
		times[i], arrived[i], topics[i], ordinals[i], partitions[i], offsets[i] = time.UnixMicro(m.Time), time.UnixMicro(m.Arrived), m.Topic, m.Ordinal, m.Partition, m.Offset
	}
	for i, column := range []any{users, amounts, countries, sessions, ts, times, arrived, deleted, ordinals, topics, partitions, offsets} {
		if err := out.Column(i).Append(column); err != nil {
			return err
		}
	}
	return out.Send()
}

// BenchmarkScan reads a table's rows as a replay does.
func BenchmarkScan(b *testing.B) {
	native, _ := testenv.ClickHouse(b)
	s, err := clickhouse.Open(config.ClickHouse{URL: config.Secret(native)}, clickhouse.Options{Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	tbl := eventsTable("events_scan")
	if err := s.Prepare(b.Context(), tbl); err != nil {
		b.Fatal(err)
	}
	const total = 10 * benchRows
	for first := int64(0); first < total; first += benchRows {
		r, batch := eventRows(first, first+benchRows)
		if err := s.Write(b.Context(), tbl, r, batch); err != nil {
			b.Fatal(err)
		}
	}
	for _, parallel := range []int{1, 2} {
		b.Run(fmt.Sprint(parallel), func(b *testing.B) {
			for b.Loop() {
				rows := make([]int, parallel)
				if err := s.Scan(b.Context(), tbl, offline.Query{Columns: []int{0, 1, 2}, Parallel: parallel}, func(w int, batch *offline.Batch) error {
					rows[w] += batch.Len()
					return nil
				}); err != nil {
					b.Fatal(err)
				}
				sum := 0
				for _, n := range rows {
					sum += n
				}
				if sum != total {
					b.Fatalf("%d rows of %d", sum, total)
				}
			}
			b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
