package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

func fieldsOf(types ...feature.Type) []config.Field {
	var fields []config.Field
	for i, t := range types {
		fields = append(fields, config.Field{Name: string(rune('a' + i)), Type: t})
	}
	return fields
}

func TestRecordKeyGolden(t *testing.T) {
	f := func(want string, vals ...feature.Value) {
		t.Helper()
		got, err := AppendRecordKey(nil, vals...)
		if err != nil || string(got) != want || got == nil {
			t.Errorf("AppendRecordKey(%v) = %q, %v; want %q", vals, got, err, want)
		}
		types := make([]feature.Type, len(vals))
		for i := range vals {
			types[i] = vals[i].Type()
		}
		back, err := ParseRecordKey(got, fieldsOf(types...))
		if err != nil {
			t.Errorf("ParseRecordKey(%q): %v", got, err)
			return
		}
		for i := range vals {
			if !back[i].Equal(&vals[i]) {
				t.Errorf("ParseRecordKey(%q)[%d] = %s, want %s", got, i, back[i], vals[i])
			}
		}
	}
	s, i := feature.StringValue, feature.Int64Value
	f("AA", s("AA"))
	f("", s(""))
	f(`a "quoted" one`, s(`a "quoted" one`))
	f("1001", i(1001))
	f("-9223372036854775808", i(-9223372036854775808))
	f("1700000000000000", feature.TimestampValue(1_700_000_000_000_000))
	f("true", feature.BoolValue(true))
	f("\x00\xff", feature.BytesValue("\x00\xff"))
	f(`["JFK","LAX"]`, s("JFK"), s("LAX"))
	f(`["a\"b\\c\n\u0001é/<",12,true,"AP8="]`, s("a\"b\\c\n\x01é/<"), i(12), feature.BoolValue(true), feature.BytesValue("\x00\xff"))
	f(`["\b\t\f\r",""]`, s("\b\t\f\r"), s(""))
}

func TestRecordKeyRefusesNullAndFloat(t *testing.T) {
	if _, err := AppendRecordKey(nil, feature.Value{}); !errors.Is(err, feature.ErrNullKey) {
		t.Errorf("got %v", err)
	}
	got, err := AppendRecordKey([]byte("x"), feature.StringValue("a"), feature.Float64Value(1))
	if err == nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := AppendRecordKey(nil, feature.StringValue("\xff"), feature.StringValue("a")); err == nil {
		t.Error("invalid UTF-8 in a JSON key is not refused")
	}
}

func TestParseRecordKeyRefuses(t *testing.T) {
	f := func(key string, class Class, want string, types ...feature.Type) {
		t.Helper()
		_, err := ParseRecordKey([]byte(key), fieldsOf(types...))
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Class != class || !strings.Contains(fe.Reason, want) {
			t.Errorf("%q: got %v, want %s with %q", key, err, class, want)
		}
	}
	const i, s = feature.Int64, feature.String
	f("x", BadKey, "not a decimal number", i)
	f("", BadKey, "not a decimal number", i)
	f("+1", BadKey, `expected "1"`, i)
	f("01", BadKey, `expected "1"`, i)
	f("9223372036854775808", BadKey, "not a decimal number", i)
	f("TRUE", BadKey, "neither true nor false", feature.Bool)
	f("AA", BadKey, "not a JSON array of 2 values", s, s)
	f(`["a"]`, BadKey, "exactly 2 values", s, s)
	f(`["a","b","c"]`, BadKey, "exactly 2 values", s, s)
	f(`["a", "b"]`, BadKey, "expected a value", s, s)
	f(`["a","\u0062"]`, BadKey, "not spelled", s, s)
	f(`["a",1]`, BadKey, "belongs", s, s)
	f(`["a","1"]`, BadKey, "belongs", s, i)
	f(`["a",1.0]`, BadKey, "not a decimal", s, i)
	f(`["a",null]`, BadKey, "belongs", s, s)
	f(`["a","b"]x`, BadKey, "unexpected data", s, s)
	f(`["a","!"]`, BadKey, "no base64", s, feature.Bytes)
	if _, err := ParseRecordKey(nil, fieldsOf(s)); err == nil || err.(*FieldError).Class != NullKey {
		t.Errorf("nil key: got %v", err)
	}
}

// A key of several fields is JSON that other languages read.
func TestRecordKeyIsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, n := rapid.String().Draw(t, "a"), rapid.Int64().Draw(t, "n")
		key, err := AppendRecordKey(nil, feature.StringValue(a), feature.Int64Value(n))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			A string
			N int64
		}
		if err := json.Unmarshal(key, &[]any{&got.A, &got.N}); err != nil || got.A != a || got.N != n {
			t.Fatalf("%s: read %q %d, %v; want %q %d", key, got.A, got.N, err, a, n)
		}
	})
}

func FuzzRecordKey(f *testing.F) {
	for _, seed := range []string{`["JFK",12]`, `["a\"\\\n\u0001é",-1]`, `["a" ,1]`, `["\ud83d\ude00",0]`, `["",1e2]`, "12", ""} {
		f.Add([]byte(seed))
	}
	shapes := [][]config.Field{
		fieldsOf(feature.String), fieldsOf(feature.Int64), fieldsOf(feature.String, feature.Int64),
		fieldsOf(feature.Bytes, feature.Bool), fieldsOf(feature.Timestamp, feature.String, feature.String),
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, fields := range shapes {
			kept := bytes.Clone(key)
			vals, err := ParseRecordKey(key, fields)
			if !bytes.Equal(kept, key) {
				t.Fatal("ParseRecordKey changed the key")
			}
			if err != nil {
				continue
			}
			again, err := AppendRecordKey(nil, vals...)
			if err != nil || !bytes.Equal(again, key) {
				t.Fatalf("%q reads as %v, which is written as %q (%v)", key, vals, again, err)
			}
		}
	})
}

// The values of Kafka's own UtilsTest, in which murmur2 is a signed number.
func TestMurmur2Golden(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionEqualsTheClients(t *testing.T) {
	topic := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "key")
		n := rapid.Int32Range(1, 1000).Draw(t, "partitions")
		if key == nil {
			key = []byte{}
		}
		if got, want := Partition(key, n), topic.Partition(&kgo.Record{Key: key}, int(n)); int(got) != want {
			t.Fatalf("Partition(%q, %d) = %d, the client says %d", key, n, got, want)
		}
	})
}

func BenchmarkRecordKeyPartition(b *testing.B) {
	vals := []feature.Value{feature.StringValue("JFK"), feature.StringValue("LAX")}
	var key []byte
	b.ReportAllocs()
	for b.Loop() {
		key, _ = AppendRecordKey(key[:0], vals...)
		if Partition(key, 64) < 0 {
			b.Fatal("negative")
		}
	}
}
