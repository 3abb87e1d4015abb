package serving

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
)

func TestAppendFloatIsAlwaysAFloat(t *testing.T) {
	f := func(in float64, want string) {
		t.Helper()
		if got := string(appendFloat(nil, in)); got != want {
			t.Errorf("%v: got %s, want %s", in, got, want)
		}
	}
	f(1, "1.0")
	f(0, "0.0")
	f(math.Copysign(0, -1), "-0.0")
	f(-12.5, "-12.5")
	f(1e20, "100000000000000000000.0")
	f(1e21, "1e+21")
	f(1e-7, "1e-07")
	f(0.1, "0.1")
	f(math.MaxFloat64, "1.7976931348623157e+308")
	f(math.SmallestNonzeroFloat64, "5e-324")
}

func TestAppendFloatReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return
		}
		var back float64
		if err := json.Unmarshal(appendFloat(nil, f), &back); err != nil || math.Float64bits(back) != math.Float64bits(f) {
			t.Fatalf("%v became %s", f, appendFloat(nil, f))
		}
	})
}

func TestAppendTime(t *testing.T) {
	f := func(us int64, want string) {
		t.Helper()
		if got := string(appendTime(nil, us)); got != want {
			t.Errorf("%d: got %s, want %s", us, got, want)
		}
	}
	f(0, "1970-01-01T00:00:00Z")
	f(1_772_366_400_000_000, "2026-03-01T12:00:00Z")
	f(1_772_366_400_120_000, "2026-03-01T12:00:00.120Z")
	f(1_772_366_400_120_001, "2026-03-01T12:00:00.120001Z")
	f(1_772_366_400_000_001, "2026-03-01T12:00:00.000001Z")
	f(-1, "1969-12-31T23:59:59.999999Z")
	f(math.MinInt64, "0001-01-01T00:00:00Z")
	f(math.MaxInt64, "9999-12-31T23:59:59.999999Z")
}

func TestAppendTimeEqualsTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(minStamp, maxStamp).Draw(t, "us")
		layout := "2006-01-02T15:04:05.000000Z"
		switch {
		case us%1_000_000 == 0:
			layout = "2006-01-02T15:04:05Z"
		case us%1000 == 0:
			layout = "2006-01-02T15:04:05.000Z"
		}
		if got, want := string(appendTime(nil, us)), time.UnixMicro(us).UTC().Format(layout); got != want {
			t.Fatalf("%d: got %s, want %s", us, got, want)
		}
	})
}

func TestAppendStringReadsBack(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(appendString(nil, in)); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	f("", `""`)
	f("a\"b\\c\n\r\t\x01\x7f", `"a\"b\\c\n\r\t\u0001`+"\x7f"+`"`)
	f("é<\u2028>", `"é<`+"\u2028"+`>"`)
	f("a\xffb\xc3", "\"a\ufffdb\ufffd\"")
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		var back string
		if err := json.Unmarshal(appendString(nil, s), &back); err != nil || back != s {
			t.Fatalf("%q became %s", s, appendString(nil, s))
		}
	})
}

func TestAppendValueOfLists(t *testing.T) {
	f := func(v feature.Value, want string) {
		t.Helper()
		if got := string(appendValue(nil, &v)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(feature.ListValue(feature.Float64, []feature.Value{feature.Float64Value(1), feature.Float64Value(2.5)}), "[1.0,2.5]")
	f(feature.ListValue(feature.Int64, []feature.Value{feature.Int64Value(1)}), "[1]")
	f(feature.ListValue(feature.Bytes, []feature.Value{feature.BytesValue("\x00")}), `["AA=="]`)
	f(feature.ListValue(feature.Timestamp, []feature.Value{feature.TimestampValue(-1)}), `[-1]`)
	f(feature.ListValue(feature.Int64, nil), "null")
	f(feature.ListValue(feature.Float64, []feature.Value{feature.Float64Value(math.Inf(1))}), "null")
}
