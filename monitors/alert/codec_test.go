package alert_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/monitors/alert"
)

var update = flag.Bool("update", false, "write the golden files and the example of docs/alerts.md")

// story is a state with something of everything in it, and its messages.
func story(t testing.TB) (alert.State, []alert.Message) {
	t.Helper()
	state := alert.New("delays")
	var sent []alert.Message
	for n := int64(1); n <= 4; n++ {
		end := epoch.UnixMicro() + n*60*minute
		e := alert.Evaluation{
			Monitor: "delays", Model: "delay", Origin: "/freshet/flights", Lane: "windows", For: 2, Window: alert.Window{Start: end - 60*minute, End: end}, At: end + minute,
			Verdicts: []alert.Verdict{
				{
					Series: alert.Series{Kind: alert.Skew, Column: "distance", Slice: "carrier=AA"}, Group: "flights", Sources: []string{"flights"},
					Effect: .42, Threshold: .1, Lower: .08, Significant: true, Enough: true,
					Evidence: alert.Evidence{
						Method: "jensen_shannon", Score: .4312, P: 2.5e-12, Current: alert.Sample{N: 5210, NEff: 1274.5}, Reference: alert.Sample{N: 32729, NEff: 32729},
						Movers:  []alert.Mover{{Bin: "[1089, 1389)", Reference: .112, Current: .004}, {Bin: "overflow", Reference: 0, Current: .391}, {Bin: "[733, 1089)", Reference: .171, Current: .048}},
						Against: "baseline flights-2013 (delay v1)", Query: "freshet monitor scores delays --kind skew --column distance --slice carrier=AA --windows 1 --until 2026-03-01T14:00:00Z",
					},
				},
				{Series: alert.Series{Kind: alert.Drift, Column: "dep_delay"}, Sources: []string{"flights"}, Effect: .06, Threshold: .1, Lower: .05, Significant: true, Enough: n < 3},
				{Series: alert.Series{Kind: alert.Performance}, Effect: math.Inf(1), Threshold: .2, Significant: true, Enough: true, Evidence: alert.Evidence{P: alert.Number(math.NaN())}},
			},
		}
		next, result, err := state.Evaluate(e)
		if err != nil {
			t.Fatal(err)
		}
		state, sent = next, append(sent, result.Messages...)
	}
	state, err := state.SetSilence(alert.Silence{
		ID: "s1", Matchers: []alert.Matcher{{Field: "column", Op: "=~", Value: "dist.*"}}, Start: epoch.UnixMicro(), End: epoch.UnixMicro() + 1e12, Author: "ann", Comment: "known",
	})
	if err != nil {
		t.Fatal(err)
	}
	return state, sent
}

// Readers of later versions must read what the first one wrote.
func TestStateIsEncodedAsItWas(t *testing.T) {
	state, _ := story(t)
	text, err := state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "state_v1.json"), text)
	comesBack(t, text)
}

func comesBack(t *testing.T, text []byte) {
	t.Helper()
	back, err := alert.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Encode()
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("comes back as\n%s\nnot\n%s (%v)", again, text, err)
	}
}

// Two checks of one kind and column are two series, in the state, in messages and for silences.
func TestChecksAreSeriesOfTheirOwn(t *testing.T) {
	state := alert.New("delays")
	var err error
	if state, err = state.SetSilence(alert.Silence{
		ID: "s1", Matchers: []alert.Matcher{{Field: "check", Op: "=", Value: "range"}}, Start: 1, End: 1000, Author: "ann", Comment: "known",
	}); err != nil {
		t.Fatal(err)
	}
	var sent []alert.Message
	for n := int64(1); n <= 3; n++ {
		e := alert.Evaluation{Monitor: "delays", Lane: "quality", For: 1, Window: alert.Window{Start: n * 10, End: n*10 + 10}}
		for _, check := range []string{"range", "null_share", "type_share"} {
			e.Verdicts = append(e.Verdicts, alert.Verdict{
				Series: alert.Series{Kind: alert.Quality, Column: "distance", Check: check}, Effect: .4, Threshold: .1, Significant: true, Enough: check != "type_share",
			})
		}
		next, result, err := state.Evaluate(e)
		if err != nil {
			t.Fatal(err)
		}
		state, sent = next, append(sent, result.Messages...)
	}
	if len(sent) != 1 || sent[0].Count != 1 || sent[0].Features[0].Check != "null_share" || sent[0].Evidence[0].Check != "null_share" {
		t.Fatalf("%+v", sent)
	}
	if want := "delays: bad data (null_share) of distance"; sent[0].Summary != want {
		t.Errorf("summary %q, want %q", sent[0].Summary, want)
	}
	if s := state.Statuses(); len(s) != 3 || s[0].Check != "null_share" || s[1].Check != "range" || s[2].Phase != alert.Missing {
		t.Errorf("statuses %+v", s)
	}
	text, err := state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "state_v2.json"), text)
	comesBack(t, text)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(want), got) {
		t.Errorf("%s is now\n%s\nnot\n%s\n(-update writes it)", name, got, want)
	}
}

func TestMessageOfTheDocumentation(t *testing.T) {
	_, sent := story(t)
	var text []byte
	for i := range sent {
		if sent[i].Class == alert.Values && sent[i].Type == alert.FiringType {
			var err error
			if text, err = sent[i].Event(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("..", "..", "docs", "alerts.md")
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const fence = "\n```json\n"
	before, rest, ok := strings.Cut(string(page), fence)
	example, after, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("%s has no example", name)
	}
	if *update {
		page = []byte(before + fence + pretty.String() + "\n```\n" + after)
		if err := os.WriteFile(name, page, 0o644); err != nil {
			t.Fatal(err)
		}
		example = pretty.String()
	}
	if example != pretty.String() {
		t.Errorf("%s shows\n%s\nbut a message is\n%s\n(-update writes it)", name, example, pretty.String())
	}
	m, err := alert.ParseEvent([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.Event(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("comes back as %s (%v)", again, err)
	}
}

// Names and values come from users' data: whatever they are, an event stays small and readable.
func TestHostileNamesKeepMessagesSmall(t *testing.T) {
	long := strings.Repeat("\x01\xff\"<", 500)
	state := alert.New(long)
	var sent []alert.Message
	for n := int64(1); n <= 2; n++ {
		e := alert.Evaluation{Monitor: long, Model: long, Origin: long, Lane: long, For: 1, Window: alert.Window{Start: n - 1, End: n}}
		for i := range 160 {
			e.Verdicts = append(e.Verdicts, alert.Verdict{
				Series: alert.Series{Kind: alert.Skew, Column: long, Slice: long + string(rune('a'+i))}, Group: long, Effect: float64(i + 1), Threshold: .1, Significant: true, Enough: true,
				Evidence: alert.Evidence{Method: long, Against: long, Query: long, Note: long, Movers: []alert.Mover{{Bin: long}, {Bin: long}, {Bin: long}, {Bin: long}}},
			})
		}
		next, result, err := state.Evaluate(e)
		if err != nil {
			t.Fatal(err)
		}
		state, sent = next, append(sent, result.Messages...)
	}
	if len(sent) != 1 || sent[0].Count != 160 || len(sent[0].Features)+sent[0].LeftOut != 160 {
		t.Fatalf("%d messages, %d features", len(sent), sent[0].Count)
	}
	text, err := sent[0].Event()
	if err != nil || len(text) > alert.MaxEvent {
		t.Errorf("an event of %d bytes: %v", len(text), err)
	}
	if _, err := alert.ParseEvent(text); err != nil {
		t.Error(err)
	}
	if kept, err := state.Encode(); err != nil || len(kept) > 3_000_000 {
		t.Errorf("a state of %d bytes: %v", len(kept), err)
	} else if _, err := alert.Decode(kept); err != nil {
		t.Error(err)
	}
}

func TestBadStatesAreRefused(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `{"version":3,"monitor":"m"}`, `{"version":1,"monitor":"m"} {}`,
		`{"version":1,"monitor":"m","series":[{"kind":"mood","phase":"firing"}]}`,
		`{"version":1,"monitor":"m","series":[{"kind":"skew","phase":"dancing"}]}`,
		`{"version":1,"monitor":"m","series":[{"kind":"skew","phase":"firing"},{"kind":"skew","phase":"firing"}]}`,
		`{"version":1,"monitor":"m","episodes":[{"class":"values","members":[]}]}`,
		`{"version":1,"monitor":"m","silences":[{"id":"x"}]}`,
	} {
		if _, err := alert.Decode([]byte(text)); err == nil {
			t.Errorf("takes %s", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	state, _ := story(f)
	text, err := state.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"monitor":"delays","series":[{"kind":"skew","column":"distance","phase":"firing"}]}`))
	f.Add([]byte(`{"version":1,"monitor":"delays","episodes":[{"id":"ep_1","class":"values","opened":1,"size":1,"start":0,"members":[{"kind":"drift","from":1,"effect":null,"threshold":1}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		state, err := alert.Decode(text)
		if err != nil {
			return
		}
		once, err := state.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := alert.Decode(once)
		if err != nil {
			t.Fatalf("%v in what it wrote: %s", err, once)
		}
		if twice, _ := back.Encode(); !bytes.Equal(once, twice) {
			t.Fatalf("comes back as\n%s\nnot\n%s", twice, once)
		}
		// Whatever was decoded goes on, and what comes of it can be kept.
		next, result, err := back.Evaluate(alert.Evaluation{
			Monitor: back.Monitor(), Lane: "windows", For: 1, Window: alert.Window{Start: math.MaxInt64 - 2, End: math.MaxInt64 - 1},
			Verdicts: []alert.Verdict{{Series: distance, Effect: 1, Threshold: .1, Significant: true, Enough: true}},
		})
		if err != nil {
			return
		}
		for _, m := range result.Messages {
			if _, err := m.Event(); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := next.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alert.Decode(kept); err != nil {
			t.Fatalf("%v in %s after an evaluation of %s", err, kept, once)
		}
		back.Retire(math.MaxInt64)
	})
}

func FuzzParseEvent(f *testing.F) {
	_, sent := story(f)
	for i := range sent {
		text, err := sent[i].Event()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := alert.ParseEvent(text)
		if err != nil {
			return
		}
		once, err := m.Event()
		if err != nil {
			t.Fatal(err)
		}
		back, err := alert.ParseEvent(once)
		if err != nil {
			t.Fatalf("%v in what it wrote: %s", err, once)
		}
		if twice, _ := back.Event(); !bytes.Equal(once, twice) {
			t.Fatalf("comes back as\n%s\nnot\n%s", twice, once)
		}
	})
}
