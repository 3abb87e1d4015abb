package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const letterTopic = "freshet.flights.dlq.departures"

func header(rec *kgo.Record, key string) string {
	for _, h := range slices.Backward(rec.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestDeadLetterKeepsTheRecord(t *testing.T) {
	if got := DeadLetterTopic(testPlane(), "departures"); got != letterTopic {
		t.Errorf("topic %s", got)
	}
	rec := &kgo.Record{
		Topic: "flights.departures", Partition: 2, Offset: 1234, Timestamp: time.UnixMilli(1_700_000_000_123),
		Key: []byte("AA\xff"), Value: []byte("{broken\x00"),
		// A record may carry headers of an earlier dead letter, and its own beside.
		Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("1")}, {Key: headerClass, Value: []byte("bad_time")}, {Key: "trace", Value: nil}},
	}
	now := time.Date(2024, 3, 1, 12, 0, 0, 5, time.UTC)
	dead := DeadLetter(letterTopic, "departures", rec, &FieldError{Class: WrongType, Field: "flight", Reason: "expected int64"}, now)
	if dead.Topic != letterTopic || string(dead.Key) != "AA\xff" || string(dead.Value) != "{broken\x00" || !dead.Timestamp.Equal(now) {
		t.Errorf("got %+v", dead)
	}
	var got []string
	for _, h := range dead.Headers {
		got = append(got, h.Key+"="+string(h.Value))
	}
	want := []string{
		"trace=1", "freshet.class=bad_time", "trace=",
		"freshet.source=departures", "freshet.topic=flights.departures", "freshet.partition=2", "freshet.offset=1234", "freshet.timestamp=1700000000123",
		"freshet.class=wrong_type", "freshet.reason=flight: expected int64", "freshet.time=2024-03-01T12:00:00.000000005Z",
	}
	if !slices.Equal(got, want) {
		t.Errorf("headers\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(rec.Headers) != 3 {
		t.Error("the original's headers were changed")
	}
	dead.Partition, dead.Offset = 1, 7
	l, err := ParseLetter(dead)
	if err != nil {
		t.Fatal(err)
	}
	o := l.Original
	if l.At.String() != letterTopic+"/1/7" || l.Origin.String() != "flights.departures/2/1234" || l.Class != WrongType ||
		l.Source != "departures" || l.Reason != "flight: expected int64" || !l.Time.Equal(now) ||
		string(o.Key) != "AA\xff" || string(o.Value) != "{broken\x00" || len(o.Headers) != 3 || !o.Timestamp.Equal(rec.Timestamp) {
		t.Errorf("got %+v, original %+v", l, o)
	}
}

func TestDeadLetterOfNulls(t *testing.T) {
	dead := DeadLetter("dlq", "s", &kgo.Record{Topic: "t"}, &FieldError{Class: NullValue, Reason: "r"}, time.Now())
	if dead.Key != nil || dead.Value != nil {
		t.Error("null became something else")
	}
}

// TestDeadLetterOfAHugeRecordIsCut: what is kept fits into a topic of dead letters, and says what it was.
func TestDeadLetterOfAHugeRecordIsCut(t *testing.T) {
	huge := make([]byte, MaxLetterBytes)
	for name, c := range map[string]struct {
		rec       kgo.Record
		key, left int
		sizes     string
	}{
		"value":   {kgo.Record{Key: []byte("k"), Value: huge}, 1, keptValueBytes, "key=1 value=16777216 headers=0"},
		"key":     {kgo.Record{Key: huge, Value: []byte("v")}, keptKeyBytes, 1, "key=16777216 value=1 headers=0"},
		"headers": {kgo.Record{Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: huge}}}, 0, 1, "key=0 value=1 headers=16777227"},
		"whole":   {kgo.Record{Value: huge[:wholeBytes]}, 0, wholeBytes, ""},
	} {
		dead := DeadLetter("dlq", "s", &c.rec, &FieldError{Class: TooLarge, Reason: "r"}, time.Now())
		if len(dead.Key) != c.key || len(dead.Value) != c.left || header(dead, headerCut) != c.sizes {
			t.Errorf("%s: kept %d of the key, %d of the value, %q", name, len(dead.Key), len(dead.Value), header(dead, headerCut))
		}
		l, err := ParseLetter(dead)
		if err != nil || l.Cut != c.sizes || l.Class != TooLarge || len(l.Original.Headers) != 0 {
			t.Errorf("%s: read as %q %s, %v", name, l.Cut, l.Class, err)
		}
	}
}

func TestParseLetterRefuses(t *testing.T) {
	good := DeadLetter("dlq", "s", &kgo.Record{Topic: "t"}, &FieldError{Class: Malformed, Reason: "r"}, time.Now()).Headers
	change := func(i int, key, value string) []kgo.RecordHeader {
		hs := slices.Clone(good)
		hs[i] = kgo.RecordHeader{Key: key, Value: []byte(value)}
		return hs
	}
	for name, hs := range map[string][]kgo.RecordHeader{
		"none": nil, "few": good[1:], "other name": change(1, "topic", "t"), "partition": change(2, headerPartition, "x"),
		"offset": change(3, headerOffset, ""), "timestamp": change(4, headerTimestamp, "now"), "time": change(7, headerTime, "now"),
	} {
		if _, err := ParseLetter(&kgo.Record{Topic: "dlq", Offset: 3, Headers: hs}); err == nil || !strings.Contains(err.Error(), "dlq/0/3") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCoordinates(t *testing.T) {
	c, err := ParseCoordinates("a.b/3/45")
	if err != nil || c != (Coordinates{"a.b", 3, 45}) || c.String() != "a.b/3/45" {
		t.Errorf("got %v, %v", c, err)
	}
	for _, s := range []string{"", "a", "a/1", "a/1/x", "a/-1/1", "a/1/-1", "/1/1", "a/99999999999/1"} {
		if c, err := ParseCoordinates(s); err == nil {
			t.Errorf("%q reads as %v", s, c)
		}
	}
}

// letters puts five dead letters in the topic, the third inside an aborted transaction.
func letters(t *testing.T, seeds []string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.TransactionalID("materializer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := testContext(t)
	for i, class := range []Class{Malformed, WrongType, NullKey, WrongType, TooFarAhead} {
		rec := &kgo.Record{
			Topic: "flights.departures", Partition: int32(i % 3), Offset: int64(100 + i), Timestamp: recordTime.Add(time.Duration(i) * time.Second),
			Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "value %d", i), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte{byte(i)}}},
		}
		dead := DeadLetter(letterTopic, "departures", rec, &FieldError{Class: class, Field: "f", Reason: fmt.Sprintf("reason %d", i)}, recordTime.Add(time.Duration(i)*time.Hour))
		dead.Partition = int32(i % 2)
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, dead).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(i != 2)); err != nil {
			t.Fatal(err)
		}
	}
}

func reasons(t *testing.T, ctx context.Context, cl *kgo.Client, f Filter) string {
	t.Helper()
	var got []string
	for l, err := range List(ctx, cl, letterTopic, f) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Reason[len("f: reason "):])
	}
	slices.Sort(got)
	return strings.Join(got, " ")
}

func TestListSelects(t *testing.T) {
	c := startKafka(t, letterTopic)
	letters(t, c.ListenAddrs())
	cl := newClient(t, c, DeadLetterOptions()...)
	ctx := testContext(t)
	f := func(f Filter, want string) {
		t.Helper()
		if got := reasons(t, ctx, cl, f); got != want {
			t.Errorf("%+v: letters %q, want %q", f, got, want)
		}
	}
	f(Filter{}, "0 1 3 4") // 2 was aborted
	f(Filter{Classes: []Class{WrongType}}, "1 3")
	f(Filter{Classes: []Class{WrongType, Malformed}}, "0 1 3")
	f(Filter{Classes: []Class{NullKey}}, "")
	f(Filter{Since: recordTime.Add(time.Hour)}, "1 3 4")
	f(Filter{Until: recordTime.Add(time.Hour)}, "0")
	f(Filter{Since: recordTime.Add(time.Hour), Until: recordTime.Add(4 * time.Hour), Classes: []Class{WrongType}}, "1 3")
	f(Filter{Origin: &Coordinates{"flights.departures", 1, 104}}, "4")
	f(Filter{Origin: &Coordinates{"flights.departures", 1, 105}}, "")
	f(Filter{Contains: "reason 3"}, "3")
	if n := len(strings.Fields(reasons(t, ctx, cl, Filter{Limit: 2}))); n != 2 {
		t.Errorf("%d letters with a limit of 2", n)
	}
	var sum Summary
	for l, err := range List(ctx, cl, letterTopic, Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(&l)
	}
	if sum.Total != 4 || sum.Classes[WrongType] != 2 || !sum.First.Equal(recordTime) || !sum.Last.Equal(recordTime.Add(4*time.Hour)) {
		t.Errorf("summary %+v", sum)
	}
}

func TestShow(t *testing.T) {
	c := startKafka(t, letterTopic)
	letters(t, c.ListenAddrs())
	cl := newClient(t, c, DeadLetterOptions()...)
	ctx := testContext(t)
	l, err := Show(ctx, cl, Coordinates{letterTopic, 1, 0})
	if err != nil || l.Reason != "f: reason 1" || string(l.Original.Value) != "value 1" {
		t.Errorf("got %+v, %v", l, err)
	}
	// Offset 1 is a transaction's end, the second place behind the end, the third in no partition.
	for _, at := range []Coordinates{{letterTopic, 1, 1}, {letterTopic, 1, 99}, {letterTopic, 77, 0}} {
		if l, err := Show(ctx, cl, at); !errors.Is(err, ErrNoLetter) {
			t.Errorf("%s: got %+v, %v", at, l, err)
		}
	}
	if _, err := Show(ctx, cl, Coordinates{"nothing", 0, 0}); err == nil || !strings.Contains(err.Error(), "there is no topic nothing") {
		t.Errorf("got %v", err)
	}
	plain := newClient(t, c)
	if _, err := Show(ctx, plain, Coordinates{letterTopic, 1, 0}); err == nil || !strings.Contains(err.Error(), "DeadLetterOptions") {
		t.Errorf("a client that reads uncommitted records is not refused: %v", err)
	}
}

func TestReplay(t *testing.T) {
	c := startKafka(t, letterTopic, "flights.departures")
	letters(t, c.ListenAddrs())
	cl := newClient(t, c, DeadLetterOptions()...)
	ctx := testContext(t)
	if _, err := Replay(ctx, cl, letterTopic, Filter{}, false); err == nil || !strings.Contains(err.Error(), "no selection") {
		t.Errorf("a replay of everything without asking: %v", err)
	}
	report, err := Replay(ctx, cl, letterTopic, Filter{Classes: []Class{WrongType}}, false)
	if err != nil || report.Replayed.Total != 2 || report.Replayed.Classes[WrongType] != 2 {
		t.Fatalf("got %+v, %v", report, err)
	}
	recs := consume(t, c, "flights.departures", 2)
	slices.SortFunc(recs, func(a, b *kgo.Record) int { return strings.Compare(string(a.Key), string(b.Key)) })
	for k, i := range []int{1, 3} {
		rec := recs[k]
		if string(rec.Key) != fmt.Sprint("key ", i) || string(rec.Value) != fmt.Sprint("value ", i) || rec.Partition != int32(i%3) ||
			!rec.Timestamp.Equal(recordTime.Add(time.Duration(i)*time.Second)) {
			t.Errorf("letter %d came back as %s %s in partition %d of %s", i, rec.Key, rec.Value, rec.Partition, rec.Timestamp)
		}
		if len(rec.Headers) != 2 || rec.Headers[0].Key != "trace" || rec.Headers[0].Value[0] != byte(i) ||
			header(rec, headerReplayed) != fmt.Sprintf("%s/1/%d", letterTopic, 2*k) {
			t.Errorf("letter %d came back with headers %q", i, rec.Headers)
		}
	}
	// A dead letter of a replayed record is a dead letter like others, and the next replay adds its header.
	recs[0].Offset = 5
	again := DeadLetter(letterTopic, "departures", recs[0], &FieldError{Class: NullKey, Reason: "again"}, recordTime)
	again.Partition = 2
	if err := cl.ProduceSync(ctx, again).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if report, err = Replay(ctx, cl, letterTopic, Filter{Classes: []Class{NullKey}}, false); err != nil || report.Replayed.Total != 1 {
		t.Fatalf("got %+v, %v", report, err)
	}
	for _, rec := range consume(t, c, "flights.departures", 3) {
		if header(rec, headerReplayed) == letterTopic+"/2/0" && len(rec.Headers) == 3 {
			return
		}
	}
	t.Error("the second replay's record is not there")
}

// TestReplayLeavesWhatWasCut: the beginning of a record is not the record.
func TestReplayLeavesWhatWasCut(t *testing.T) {
	c := startKafka(t, letterTopic, "flights.departures")
	cl := newClient(t, c, append(DeadLetterOptions(), kgo.ProducerBatchMaxBytes(MaxLetterBytes))...)
	for i, v := range [][]byte{make([]byte, MaxLetterBytes), []byte("small")} {
		rec := &kgo.Record{Topic: "flights.departures", Offset: int64(i), Value: v}
		if err := cl.ProduceSync(t.Context(), DeadLetter(letterTopic, "departures", rec, &FieldError{Class: TooLarge, Reason: "r"}, recordTime)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Replay(testContext(t), cl, letterTopic, Filter{}, true)
	if err == nil || !strings.Contains(err.Error(), letterTopic+"/0/0: only the beginning of the record was kept (key=0 value=16777216 headers=0)") ||
		report.Replayed.Total != 1 || len(report.Failed) != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
	if recs := consume(t, c, "flights.departures", 1); string(recs[0].Value) != "small" {
		t.Errorf("%d bytes came back", len(recs[0].Value))
	}
}

func TestReplayToAMissingTopicFails(t *testing.T) {
	c := startKafka(t, letterTopic)
	letters(t, c.ListenAddrs())
	cl := newClient(t, c, append(DeadLetterOptions(), kgo.UnknownTopicRetries(0), kgo.RecordDeliveryTimeout(2*time.Second))...)
	report, err := Replay(testContext(t), cl, letterTopic, Filter{}, true)
	if err == nil || report.Replayed.Total != 0 || len(report.Failed) != 4 || !strings.Contains(err.Error(), "4 of 4 records not acknowledged") {
		t.Errorf("got %+v, %v", report, err)
	}
}
