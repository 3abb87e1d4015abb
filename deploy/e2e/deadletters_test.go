package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/testenv"
)

// spoil makes a record of an order that cannot be used, one way for each class.
var spoil = []struct {
	class string
	value func(r row, i int) []byte
}{
	{"malformed", func(r row, i int) []byte { return append(r.json()[:20], 0xff, byte(i)) }},
	{"missing_field", func(r row, _ int) []byte { return without(r, "channel") }},
	{"wrong_type", func(r row, _ int) []byte { return with(r, "shop", "one") }},
	{"bad_time", func(r row, _ int) []byte { return with(r, "at", int64(1)<<58) }},
	{"too_far_ahead", func(r row, _ int) []byte { return with(r, "at", time.Now().Add(time.Hour).UnixMilli()) }},
	{"null_key", func(r row, _ int) []byte { return without(r, "user") }},
	{"bad_key", func(r row, _ int) []byte { return with(r, "user", strings.Repeat("k", 5000)) }},
	{"null_value", func(row, int) []byte { return nil }},
	{"too_large", func(r row, _ int) []byte { return with(r, "comment", strings.Repeat("long ", 2000)) }},
}

func with(r row, field string, v any) []byte {
	c := maps.Clone(r)
	c[field] = v
	return c.json()
}

func without(r row, field string) []byte {
	c := maps.Clone(r)
	delete(c, field)
	return c.json()
}

// bad is a record that was sent and cannot be used.
type bad struct {
	class  string
	record *kgo.Record
	order  *event // what it would have counted as
}

func (b *bad) place() string {
	return fmt.Sprintf("%s/%d/%d", b.record.Topic, b.record.Partition, b.record.Offset)
}

// TestDeadLetters mixes 2 % of records that cannot be used among good ones. Each becomes a dead letter as it was, all
// others count. Then the definition is mended for two of the reasons and all of those are replayed, and some others.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, ordersPlane, kafka, kafka, testenv.Redis(t), orderPartitions)
	in := p.run("one")
	pr, bads := p.sendSomeBad(19_800) // 396 of them bad
	good := pr.sent()
	checkOrders(t, "every good event", in, good)
	eventually(t, "caught up", in.caughtUp)
	// Features are there before the transaction that counts them ends; dead letters are there after.
	eventually(t, "dead letters", func() error { return p.lettersAre(t, len(bads)) })
	letters := p.deadLetters(t, bads)
	p.checkLetterCommands(t, bads, letters)
	in.stop()

	// Mended: the field is no longer required, and records may be larger. Neither changes what a view computes.
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	mended := strings.NewReplacer("max_record_bytes: 8KiB", "max_record_bytes: 64KiB",
		"{name: channel, type: string, required: true}", "{name: channel, type: string}").Replace(string(text))
	p.define(mended)
	in = p.run("one")
	n := len(bads) / len(spoil)
	for class, ok := range map[string]bool{"missing_field": true, "too_large": true, "malformed": false} {
		out := p.cli("dlq", "replay", "--connections", p.connections("cli"), p.file, "--source", "orders", "--class", class)
		if want := fmt.Sprintf("Replayed %d records.\n", n); string(out) != want {
			t.Errorf("replay of %s: %q, want %q", class, out, want)
		}
		for _, b := range bads {
			if ok && b.class == class {
				good = append(good, b.order)
			}
		}
	}
	p.placeReplayed(t, bads)
	checkOrders(t, "every good and every mended event", in, good)
	eventually(t, "caught up", in.caughtUp)
	eventually(t, "what still cannot be used is a dead letter again", func() error { return p.lettersAre(t, len(bads)+n) })
	in.stop()
}

// sendSomeBad sends n records, 2 % of which cannot be used, every kind equally often.
func (p *plane) sendSomeBad(n int) (*producer, []*bad) {
	pr, o := p.producer(orderPartitions), newOrders(5)
	var bads []*bad
	for i := range n {
		value, e := o.next()
		user := e.row["user"].(string)
		if i%50 != 49 {
			pr.send(user, value, e)
			continue
		}
		kind := spoil[len(bads)%len(spoil)]
		r := &kgo.Record{
			Topic: p.topic, Key: []byte(user), Value: kind.value(e.row, i), Partition: ingest.Partition([]byte(user), orderPartitions),
			Headers: []kgo.RecordHeader{{Key: "trace", Value: fmt.Append(nil, i)}},
		}
		pr.produce(r, nil)
		bads = append(bads, &bad{kind.class, r, e})
	}
	return pr, bads
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// lettersAre compares the number of dead letters.
func (p *plane) lettersAre(t *testing.T, want int) error {
	t.Helper()
	if n := len(p.records(t, p.prefix+"dlq.orders")); n != want {
		return fmt.Errorf("%d dead letters, want %d", n, want)
	}
	return nil
}

// deadLetters holds the dead letters to what was sent, one for each, and returns them by their record's place.
func (p *plane) deadLetters(t *testing.T, bads []*bad) map[string]*kgo.Record {
	t.Helper()
	found := map[string]*kgo.Record{}
	for _, l := range p.records(t, p.prefix+"dlq.orders") {
		place := fmt.Sprintf("%s/%s/%s", header(l, "freshet.topic"), header(l, "freshet.partition"), header(l, "freshet.offset"))
		if found[place] != nil {
			t.Errorf("%s is a dead letter twice", place)
		}
		found[place] = l
	}
	if len(found) != len(bads) {
		t.Errorf("%d dead letters, want %d", len(found), len(bads))
	}
	for _, b := range bads {
		l := found[b.place()]
		switch {
		case l == nil:
			t.Errorf("%s record %s is no dead letter", b.class, b.place())
		case header(l, "freshet.class") != b.class || header(l, "freshet.reason") == "":
			t.Errorf("%s record %s is %s: %s", b.class, b.place(), header(l, "freshet.class"), header(l, "freshet.reason"))
		case !bytes.Equal(l.Value, b.record.Value) || (l.Value == nil) != (b.record.Value == nil) || !bytes.Equal(l.Key, b.record.Key) ||
			header(l, "trace") != header(b.record, "trace"):
			t.Errorf("%s record %s has changed: %q %q %v", b.class, b.place(), l.Key, l.Value, l.Headers)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return found
}

// checkLetterCommands holds `dlq list` and `dlq show` to the dead letters.
func (p *plane) checkLetterCommands(t *testing.T, bads []*bad, letters map[string]*kgo.Record) {
	t.Helper()
	var counts []struct {
		Source, Class string
		Count         int
	}
	decode(t, p.cli("dlq", "list", "--connections", p.connections("cli"), p.file, "--summary", "--output", "json"), &counts)
	total := 0
	for _, c := range counts {
		if total += c.Count; c.Source != "orders" || c.Count != len(bads)/len(spoil) {
			t.Errorf("the summary says %+v, want %d", c, len(bads)/len(spoil))
		}
	}
	if total != len(bads) {
		t.Errorf("the summary counts %d dead letters, want %d", total, len(bads))
	}
	for _, b := range bads[:len(spoil)] {
		var listed []struct{ At, Class, Reason, Origin string }
		decode(t, p.cli("dlq", "list", "--connections", p.connections("cli"), p.file, "--origin", b.place(), "--output", "json"), &listed)
		l := letters[b.place()]
		if len(listed) != 1 || listed[0].Class != b.class || listed[0].Origin != b.place() || listed[0].Reason != header(l, "freshet.reason") {
			t.Errorf("the list says %+v of %s record %s", listed, b.class, b.place())
			continue
		}
		var shown struct {
			Value       string
			ValueBase64 string `json:"value_base64"`
			Key         string
		}
		decode(t, p.cli("dlq", "show", "--connections", p.connections("cli"), p.file, "--at", listed[0].At, "--output", "json"), &shown)
		value := []byte(shown.Value)
		if shown.ValueBase64 != "" {
			var err error
			if value, err = base64.StdEncoding.DecodeString(shown.ValueBase64); err != nil {
				t.Error(err)
			}
		}
		if !bytes.Equal(value, b.record.Value) || shown.Key != string(b.record.Key) {
			t.Errorf("%s record %s is shown as %q %q, want %q %q", b.class, b.place(), shown.Key, value, b.record.Key, b.record.Value)
		}
	}
}

func decode(t *testing.T, text []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// placeReplayed gives the orders of replayed records the places that these got.
func (p *plane) placeReplayed(t *testing.T, bads []*bad) {
	t.Helper()
	byTrace := map[string]*bad{}
	for _, b := range bads {
		byTrace[header(b.record, "trace")] = b
	}
	for _, r := range p.records(t, p.topic) {
		if header(r, "freshet.replayed") == "" {
			continue
		}
		b := byTrace[header(r, "trace")]
		if b == nil || r.Partition != b.record.Partition || !bytes.Equal(r.Value, b.record.Value) || !bytes.Equal(r.Key, b.record.Key) {
			t.Errorf("replayed record %d/%d is none that was sent", r.Partition, r.Offset)
			continue
		}
		b.order.partition, b.order.offset = r.Partition, r.Offset
	}
}
