package ingest

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

func TestParseTime(t *testing.T) {
	f := func(s string, want int64) {
		t.Helper()
		if got, problem := ParseTime(s, nil); problem != "" || got != want {
			t.Errorf("ParseTime(%q) = %d, %q; want %d", s, got, problem, want)
		}
	}
	f("1970-01-01T00:00:00Z", 0)
	f("1970-01-01t00:00:00z", 0)
	f("1970-01-01T00:00:00.000001Z", 1)
	f("1970-01-01T00:00:00.0000019999999999Z", 1)
	f("1969-12-31T23:59:59.9999999Z", -1) // floored, not cut towards zero
	f("1969-12-31T23:59:59.0000001Z", -1_000_000)
	f("2024-02-29T12:00:00+02:00", 1709200800_000_000)
	f("2024-02-29T12:00:00.5-00:30", 1709209800_500_000)
	f("0001-01-01T00:00:00Z", minMicros)
	f("9999-12-31T23:59:59.999999999Z", maxMicros)
	f("0000-12-31T23:00:00-01:00", minMicros)

	bad := func(s, problem string) {
		t.Helper()
		if got, p := ParseTime(s, nil); !strings.Contains(p, problem) || problem == "" {
			t.Errorf("ParseTime(%q) = %d, %q; want a problem with %q", s, got, p, problem)
		}
	}
	bad("", "not an RFC 3339")
	bad("2024-01-01", "not an RFC 3339")
	bad("2024-01-01 00:00:00Z", "not an RFC 3339")
	bad("2024-1-01T00:00:00Zx", "not an RFC 3339")
	bad("2024-01-01T00:00:00.Z", "not an RFC 3339")
	bad("+024-01-01T00:00:00Z", "not an RFC 3339")
	bad("2024-01-01T00:00:00", "has no zone")
	bad("2024-01-01T00:00:00.123", "has no zone")
	bad("2024-01-01T00:00:00+0200", "neither Z nor an offset")
	bad("2024-01-01T00:00:00+24:00", "neither Z nor an offset")
	bad("2024-01-01T00:00:00+02:60", "neither Z nor an offset")
	bad("2024-01-01T00:00:00ZZ", "neither Z nor an offset")
	bad("2024-01-01T00:00:00 CET", "neither Z nor an offset")
	bad("2023-02-29T00:00:00Z", "does not exist")
	bad("1900-02-29T00:00:00Z", "does not exist")
	bad("2024-04-31T00:00:00Z", "does not exist")
	bad("2024-13-01T00:00:00Z", "does not exist")
	bad("2024-01-00T00:00:00Z", "does not exist")
	bad("2024-01-01T24:00:00Z", "does not exist")
	bad("2016-12-31T23:59:60Z", "does not exist")
	bad("0000-12-31T23:59:59Z", "0001 to 9999")
	bad("9999-12-31T23:59:59-00:01", "0001 to 9999")
	bad("0000-01-01T00:00:00Z", "0001 to 9999")
}

func TestParseTimeEqualsPackageTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(minMicros, maxMicros).Draw(t, "micros")
		zone := time.FixedZone("", rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone")*60)
		at := time.UnixMicro(us).In(zone)
		if at.Year() < 1 || at.Year() > 9999 { // written with another number of digits
			return
		}
		if got, problem := ParseTime(at.Format(time.RFC3339Nano), nil); problem != "" || got != us {
			t.Fatalf("ParseTime(%s) = %d, %q; want %d", at.Format(time.RFC3339Nano), got, problem, us)
		}
	})
}

func TestParseTimeInAZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(s, want string) {
		t.Helper()
		got, problem := ParseTime(s, berlin)
		if problem == "" {
			problem = time.UnixMicro(got).UTC().Format(time.RFC3339Nano)
		}
		if problem != want {
			t.Errorf("ParseTime(%q) in Berlin is %q, want %q", s, problem, want)
		}
	}
	f("2024-01-15T12:00:00", "2024-01-15T11:00:00Z")
	f("2024-07-15T12:00:00.0000019", "2024-07-15T10:00:00.000001Z")
	f("2024-07-15T12:00:00Z", "2024-07-15T12:00:00Z") // its own zone goes first
	f("2024-07-15T12:00:00-01:00", "2024-07-15T13:00:00Z")
	f("2024-03-31T01:59:59", "2024-03-31T00:59:59Z")
	f("2024-03-31T02:30:00", "does not exist in Europe/Berlin, where clocks skip it")
	f("2024-03-31T03:00:00", "2024-03-31T01:00:00Z")
	f("2024-10-27T01:59:59", "2024-10-26T23:59:59Z")
	f("2024-10-27T02:30:00", "2024-10-27T00:30:00Z") // shown twice: the first
	f("2024-10-27T03:00:00", "2024-10-27T02:00:00Z")
	f("2024-07-15T12:00:00.", "is not an RFC 3339 time, as 2026-01-31T17:04:05.678Z")

	src := departures()
	src.EventTime.Zone = berlin
	src.Schema[3].Type = feature.Timestamp // as text, the zone holds for it too, and for no other field
	d := newTestDecoder(t, src)
	row := make([]feature.Value, len(src.Schema))
	if _, err := d.Decode([]byte(`{"carrier":"AA","departed_at":"2024-01-15T12:00:00"}`), row); err != nil || row[3].String() != "2024-01-15T11:00:00Z" {
		t.Errorf("got %s, %v", row[3], err)
	}
	if _, err := d.Decode([]byte(`{"carrier":"AA","departed_at":0,"seen_at":"2024-01-15T12:00:00"}`), row); err == nil || !strings.Contains(err.Error(), "has no zone") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"2024-02-29T12:00:00.123456789+02:00", "1969-12-31T23:59:59.9999999Z", "2024-01-01t00:00:00z", "2024-01-01T00:00:00",
		"2024-01-01T00:00:00,5Z", "2024-01-01T00:00:00.5+24:00", "2023-02-29T00:00:00Z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, problem := ParseTime(s, nil)
		want, ok := oracleTime(s)
		if ok != (problem == "") || ok && got != want {
			t.Fatalf("ParseTime(%q) = %d, %q; want %d, %v", s, got, problem, want, ok)
		}
	})
}

func TestEventTime(t *testing.T) {
	const kafka = int64(1_700_000_000_000_000)
	f := func(typ feature.Type, format config.TimeFormat, v feature.Value, want int64, class Class) {
		t.Helper()
		src := &config.Source{
			Name: "s", Schema: []config.Field{{Name: "at", Type: typ}}, AllowedSkew: 5 * time.Minute,
			EventTime: config.EventTime{Format: format},
		}
		if err := checkEventTime(src); err != nil {
			t.Fatal(err)
		}
		got, err := EventTime(src, []feature.Value{v}, kafka)
		switch {
		case class == "" && (err != nil || got != want):
			t.Errorf("%s %s: got %d, %v; want %d", v, format, got, err, want)
		case class != "" && (err == nil || err.(*FieldError).Class != class || err.(*FieldError).Field != "at"):
			t.Errorf("%s %s: got %d, %v; want class %s", v, format, got, err, class)
		}
	}
	i, fl, s, ts := feature.Int64Value, feature.Float64Value, feature.StringValue, feature.TimestampValue
	f(feature.Int64, config.UnixSecond, i(1_700_000_000), kafka, "")
	f(feature.Int64, config.UnixSecond, i(-1), -1_000_000, "")
	f(feature.Int64, config.UnixMilli, i(1_700_000_000_001), kafka+1000, "")
	f(feature.Int64, config.UnixMicro, i(kafka+1), kafka+1, "")
	f(feature.Int64, config.UnixSecond, i(253402300800), 0, BadTime)
	f(feature.Int64, config.UnixSecond, i(math.MaxInt64), 0, BadTime)
	f(feature.Int64, config.UnixSecond, i(math.MinInt64), 0, BadTime)
	f(feature.Int64, config.UnixMicro, i(minMicros), minMicros, "")
	f(feature.Int64, config.UnixMicro, i(minMicros-1), 0, BadTime)
	f(feature.Float64, config.UnixSecond, fl(1_700_000_000.123456), kafka+123456, "")
	f(feature.Float64, config.UnixSecond, fl(1_600_000_000.000001), 1_600_000_000_000_001, "")
	f(feature.Float64, config.UnixSecond, fl(-0.0000015), -2, "")
	f(feature.Float64, config.UnixSecond, fl(-1.5), -1_500_000, "")
	f(feature.Float64, config.UnixSecond, fl(1e-300), 0, "")
	f(feature.Float64, config.UnixSecond, fl(-1e-300), -1, "")
	f(feature.Float64, config.UnixMilli, fl(1_700_000_000_000.5), kafka+500, "")
	f(feature.Float64, config.UnixMicro, fl(1_700_000_000_000_000.75), kafka, "")
	f(feature.Float64, config.UnixMicro, fl(-0.25), -1, "")
	f(feature.Float64, config.UnixSecond, fl(math.NaN()), 0, BadTime)
	f(feature.Float64, config.UnixSecond, fl(math.Inf(1)), 0, BadTime)
	f(feature.Float64, config.UnixSecond, fl(math.Inf(-1)), 0, BadTime)
	f(feature.Float64, config.UnixSecond, fl(1e300), 0, BadTime)
	f(feature.Float64, config.UnixSecond, fl(253402300800), 0, BadTime)
	f(feature.String, config.RFC3339, s("2023-11-14T22:13:20.0000015Z"), kafka+1, "")
	f(feature.String, config.RFC3339, s("2023-11-14T22:13:20"), 0, BadTime)
	f(feature.String, config.RFC3339, s("yesterday"), 0, BadTime)
	f(feature.Timestamp, "", ts(kafka-1), kafka-1, "")
	f(feature.Timestamp, "", ts(maxMicros+1), 0, BadTime)
	f(feature.Timestamp, "", feature.Value{}, 0, MissingField)
	// The skew: exactly as far ahead as allowed passes; how far behind does not matter.
	f(feature.Timestamp, "", ts(kafka+300_000_000), kafka+300_000_000, "")
	f(feature.Timestamp, "", ts(kafka+300_000_001), 0, TooFarAhead)
	f(feature.Timestamp, "", ts(maxMicros), 0, TooFarAhead)
	f(feature.Timestamp, "", ts(minMicros), minMicros, "")
}

func TestEventTimeFromTheRecord(t *testing.T) {
	src := &config.Source{Name: "s", EventTime: config.EventTime{Field: -1}}
	if at, err := EventTime(src, nil, 42); err != nil || at != 42 {
		t.Errorf("got %d, %v", at, err)
	}
	for _, kafka := range []int64{-1000, maxMicros + 1} {
		if _, err := EventTime(src, nil, kafka); err == nil || err.(*FieldError).Class != BadTime {
			t.Errorf("timestamp %d: got %v, want bad_time", kafka, err)
		}
	}
	if _, err := EventTime(departures(), make([]feature.Value, 7), -1000); err == nil || err.(*FieldError).Class != BadTime {
		t.Errorf("without a Kafka timestamp the skew cannot be judged: got %v", err)
	}
}

func TestEventTimeFormatsMustFitTheField(t *testing.T) {
	f := func(typ feature.Type, format config.TimeFormat, want string) {
		t.Helper()
		src := departures()
		src.Schema[3].Type, src.EventTime.Format = typ, format
		if _, err := NewReader(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: got %v, want %q", typ, format, err, want)
		}
	}
	f(feature.String, config.UnixMilli, "departed_at is a string, whose format must be rfc3339")
	f(feature.Int64, config.RFC3339, "departed_at is a number, whose format must be unix_s, unix_ms or unix_us")
	f(feature.Float64, "", "departed_at is a number")
	f(feature.Bool, config.RFC3339, "cannot be of type bool")
}
