package notify

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenRecords are one of each, as they were written by the first version. Readers of later versions must read them.
func goldenRecords(t testing.TB) []Record {
	t.Helper()
	box, err := newOutbox([]*Channel{{name: "hook", kind: webhookKind, target: "0123456789abcdef"}}, func() float64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	m := message("ep_1", alert.FiringType)
	event, err := m.Event()
	if err != nil {
		t.Fatal(err)
	}
	box.add(m, event, "hook", now)
	for _, d := range box.due(now) {
		box.finish(d, Outcome{Result: Failed, Throttled: true, Err: os.ErrDeadlineExceeded}, now.Add(time.Second))
	}
	return box.changes()
}

func TestRecordsAreAsTheyWere(t *testing.T) {
	for _, r := range goldenRecords(t) {
		name := filepath.Join("testdata", "record_"+map[bool]string{true: "delivery", false: "endpoint"}[r.Key[0] == 'd']+"_v1.json")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, append(r.Value, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(want), r.Value) {
			t.Errorf("%s is written as\n%s\nnot as %s:\n%s", r.Key, r.Value, name, want)
		}
		if _, _, err := decodeRecord(Record{r.Key, want}); err != nil {
			t.Error(err)
		}
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	for key, value := range map[string]string{
		"endpoint/x":   `{"version":2,"channel":"x"}`,
		"endpoint/y":   `{"version":1,"channel":"x"}`,
		"endpoint/z":   `{"version":1,"channel":"z","more":1}`,
		"endpoint/w":   `{"version":1,"channel":"w"}{}`,
		"delivery/x/m": `{"version":1,"channel":"x","message":"m","stage":"waiting","type":"io.freshet.alert.firing","since":"2026-01-01T00:00:00Z"}`,
		"delivery/x/n": `{"version":1,"channel":"x","message":"n","stage":"lost","type":"io.freshet.alert.firing","since":"2026-01-01T00:00:00Z"}`,
	} {
		if d, e, err := decodeRecord(Record{key, []byte(value)}); err == nil {
			t.Errorf("%s: %v %v", value, d, e)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range goldenRecords(f) {
		f.Add(r.Key, r.Value)
	}
	f.Add("endpoint/x", []byte(`{"version":1,"channel":"x","failures":9}`))
	f.Add("delivery/x/m", []byte(`{"version":1,"channel":"x","message":"m","episode":"e","type":"io.freshet.alert.firing","stage":"delivered","since":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		d, e, err := decodeRecord(Record{key, value})
		if err != nil {
			return
		}
		var again Record
		if d != nil {
			again = encodeRecord(d.key(), d)
		} else {
			again = encodeRecord(endpointKey(e.Channel), e)
		}
		if again.Key != key || again.Value == nil {
			t.Fatalf("key %q came back as %q", key, again.Key)
		}
		if _, _, err := decodeRecord(again); err != nil {
			t.Fatalf("%s: %v", again.Value, err)
		}
		box, err := newOutbox([]*Channel{{name: "hook", kind: webhookKind}}, func() float64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := box.load([]Record{{key, value}}, now); err != nil {
			t.Fatal(err)
		}
		for _, d := range box.due(now) {
			box.finish(d, Outcome{Result: Failed}, now)
		}
		box.sweep(now)
		box.next(now)
		box.changes()
	})
}
