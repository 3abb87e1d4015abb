package ingest

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/feature"
)

var recordTime = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

const goodEvent = `{"carrier":"AA","dep_delay":3.5,"departed_at":"2024-03-01T12:00:01Z"}`

func TestReaderReads(t *testing.T) {
	src := departures()
	r, err := NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]feature.Value, len(src.Schema))
	rec := &kgo.Record{Value: []byte(`{"more":1,` + goodEvent[1:]), Timestamp: recordTime}
	at, unknown, ferr := r.Read(rec, row)
	if ferr != nil || at != recordTime.Add(time.Second).UnixMicro() || unknown != 1 || row[0].Str() != "AA" {
		t.Fatalf("got %d, %d, %v, %s", at, unknown, ferr, row[0])
	}
	if key, err := r.AppendRecordKey(nil, row); err != nil || string(key) != "AA" {
		t.Errorf("record key %q, %v", key, err)
	}
	want, _ := feature.AppendKey([]byte("x"), feature.StringValue("AA"))
	if key, err := r.AppendEntityKey([]byte("x"), row, src.Key); err != nil || string(key) != string(want) {
		t.Errorf("entity key %q, %v; want %q", key, err, want)
	}
	if n := testing.AllocsPerRun(100, func() { r.Read(rec, row) }); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
}

func TestReaderRefuses(t *testing.T) {
	src := departures()
	src.Key = []int{0, 2}
	src.MaxRecordBytes = 5000
	r, err := NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]feature.Value, len(src.Schema))
	f := func(rec kgo.Record, class Class, field, reason string) {
		t.Helper()
		if rec.Timestamp.IsZero() {
			rec.Timestamp = recordTime
		}
		_, _, err := r.Read(&rec, row)
		if err == nil || err.Class != class || err.Field != field || !strings.Contains(err.Reason, reason) {
			t.Errorf("%.80s: got %v, want %s in field %q with %q", rec.Value, err, class, field, reason)
		}
	}
	value := func(v string) kgo.Record { return kgo.Record{Value: []byte(v)} }
	f(kgo.Record{}, NullValue, "", "takes no tombstones")
	f(kgo.Record{Key: []byte("x")}, NullValue, "", "takes no tombstones")
	f(value(""), Malformed, "", "expected an object")
	f(value(strings.Repeat(" ", 5001)), TooLarge, "", "5001 bytes; the source takes at most 5000")
	f(kgo.Record{Key: make([]byte, 4990), Value: []byte(goodEvent)}, TooLarge, "", "at most 5000")
	f(value(goodEvent), NullKey, "flight", "absent or null")
	f(value(`{"carrier":"AA","flight":null,"departed_at":"2024-03-01T12:00:01Z"}`), NullKey, "flight", "absent or null")
	f(value(`{"carrier":"AA","flight":1}`), MissingField, "departed_at", "required")
	f(value(`{"carrier":"AA","flight":1,"departed_at":"2024-03-01T12:00:01"}`), BadTime, "departed_at", "no zone")
	f(value(`{"carrier":"AA","flight":1,"departed_at":"2024-03-01T12:05:00.000001Z"}`), TooFarAhead, "departed_at", "5m0.000001s ahead")
	f(kgo.Record{Value: []byte(goodEvent), Timestamp: time.UnixMilli(-1)}, BadTime, "", "no Kafka timestamp")
}

func TestReaderKeys(t *testing.T) {
	src := departures()
	r, _ := NewReader(src)
	row := make([]feature.Value, len(src.Schema))
	if _, err := r.AppendEntityKey(nil, row, []int{0}); err == nil || err.Class != NullKey || err.Field != "carrier" {
		t.Errorf("null join key: got %v", err)
	}
	if _, err := r.AppendRecordKey(nil, row); err == nil || err.Class != NullKey || err.Field != "carrier" {
		t.Errorf("null key: got %v", err)
	}
	row[0] = feature.StringValue(strings.Repeat("x", 5000))
	if got, err := r.AppendEntityKey([]byte("kept"), row, []int{0}); err == nil || err.Class != BadKey || string(got) != "kept" {
		t.Errorf("long join key: got %q, %v", got, err)
	}
	if _, err := r.AppendRecordKey(nil, row); err == nil || err.Class != BadKey {
		t.Errorf("long key: got %v", err)
	}
	row[0] = feature.StringValue(strings.Repeat("x", 3000))
	if _, err := r.AppendEntityKey(nil, row, []int{0, 0}); err == nil || err.Class != BadKey {
		t.Errorf("two join keys that are too long together: got %v", err)
	}
	src.Key = []int{1}
	if _, err := NewReader(src); err == nil || !strings.Contains(err.Error(), "key field dep_delay: a float64 is no key") {
		t.Errorf("float key: got %v", err)
	}
}

// A key that is too long in the one spelling or the other makes no use of the record: it must not reach a view.
func TestReaderRefusesLongKeys(t *testing.T) {
	src := departures()
	src.Key = []int{0, 2}
	src.MaxRecordBytes = 1 << 20
	r, err := NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]feature.Value, len(src.Schema))
	for _, tc := range []struct {
		carrier string
		ok      bool
	}{
		{strings.Repeat("x", 600), true},
		{strings.Repeat("x", 4000), true},
		{strings.Repeat("x", 4100), false},
		{strings.Repeat(`\u0001`, 600), true},
		{strings.Repeat(`\u0001`, 700), false}, // six bytes each in the record key
	} {
		value := `{"carrier":"` + tc.carrier + `","flight":1,"departed_at":"2024-03-01T12:00:00Z"}`
		_, _, err := r.Read(&kgo.Record{Value: []byte(value), Timestamp: recordTime}, row)
		if tc.ok != (err == nil) || err != nil && err.Class != BadKey {
			t.Errorf("carrier of %d bytes: got %v", len(tc.carrier), err)
		}
	}
}

func TestReaderTombstones(t *testing.T) {
	src := departures()
	src.Tombstones = true
	src.Key = []int{2, 0}
	r, _ := NewReader(src)
	row := make([]feature.Value, len(src.Schema))
	for i := range row {
		row[i] = feature.StringValue("left over")
	}
	rec := &kgo.Record{Key: []byte(`[12,"AA"]`), Timestamp: recordTime}
	at, _, err := r.Read(rec, row)
	if err != nil || at != recordTime.UnixMicro() || !r.Tombstone(rec) {
		t.Fatalf("got %d, %v", at, err)
	}
	for i := range row {
		want := map[int]string{0: `"AA"`, 2: "12"}[i]
		if want == "" {
			want = "null"
		}
		if row[i].String() != want {
			t.Errorf("%s = %s, want %s", src.Schema[i].Name, row[i], want)
		}
	}
	if _, _, err := r.Read(&kgo.Record{Timestamp: recordTime}, row); err == nil || err.Class != NullKey {
		t.Errorf("without a key: got %v", err)
	}
	if _, _, err := r.Read(&kgo.Record{Key: []byte(`["AA",12]`), Timestamp: recordTime}, row); err == nil || err.Class != BadKey {
		t.Errorf("with a wrong key: got %v", err)
	}
	if _, _, err := r.Read(&kgo.Record{Key: []byte(`[12,"AA"]`), Timestamp: time.UnixMilli(-1)}, row); err == nil || err.Class != BadTime {
		t.Errorf("without a timestamp: got %v", err)
	}
	if r.Tombstone(&kgo.Record{Value: []byte{}}) {
		t.Error("an empty value is no tombstone")
	}
}

func TestClassesAreDistinctLabels(t *testing.T) {
	seen := map[Class]bool{resultAccepted: true, resultNotAcknowledged: true}
	for _, c := range Classes() {
		if seen[c] || strings.Trim(string(c), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("class %q is used twice or is no label", c)
		}
		seen[c] = true
	}
}

// The producers' page names every class, header and metric result there is.
func TestTheProducersPageIsComplete(t *testing.T) {
	page, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{headerReplayed, GatewayPath, resultAccepted, resultNotAcknowledged}
	for _, c := range Classes() {
		want = append(want, "| `"+string(c)+"` |")
	}
	for i, h := range letterHeaders {
		if i > 0 { // the first is written whole, of the others what differs
			h = strings.TrimPrefix(h, "freshet")
		}
		want = append(want, "`"+h+"`")
	}
	for _, w := range want {
		if !strings.Contains(string(page), w) {
			t.Errorf("docs/events.md does not mention %s", w)
		}
	}
}
