package alert_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const minute = int64(time.Minute / time.Microsecond)

// bench feeds evaluations of one-minute windows to a monitor.
type bench struct {
	t     *testing.T
	state alert.State
	k     int
	every int64 // minutes
	size  int64
	said  []string
	sent  []alert.Message
}

func newBench(t *testing.T, k int) *bench {
	return &bench{t: t, state: alert.New("delays"), k: k, every: 1, size: 1}
}

// effects of series in one window: a negative one has too few samples.
type effects map[alert.Series]float64

var (
	distance = alert.Series{Kind: alert.Skew, Column: "distance"}
	delay    = alert.Series{Kind: alert.Drift, Column: "dep_delay"}
	weather  = alert.Series{Kind: alert.Freshness, Column: "weather"}
)

// at evaluates the window that ends n steps after the beginning.
func (b *bench) at(n int64, lane string, of effects) {
	b.t.Helper()
	end := epoch.UnixMicro() + n*b.every*minute
	e := alert.Evaluation{
		Monitor: "delays", Model: "delay", Origin: "/freshet/flights", Lane: lane, For: b.k,
		Window: alert.Window{Start: end - b.size*minute, End: end}, At: end,
	}
	for s, effect := range of {
		e.Verdicts = append(e.Verdicts, alert.Verdict{
			Series: s, Group: "weather", Sources: []string{"weather"}, Effect: effect, Threshold: .1, Lower: .05, Significant: true, Enough: effect >= 0,
			Evidence: alert.Evidence{Method: "jensen_shannon", P: 1e-6, Current: alert.Sample{N: 5000, NEff: 800}},
		})
	}
	next, result, err := b.state.Evaluate(e)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := next.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	if b.state, err = alert.Decode(text); err != nil { // each step is a restart
		b.t.Fatal(err)
	}
	for _, m := range result.Messages {
		kind := m.Type[strings.LastIndex(string(m.Type), ".")+1:]
		b.said = append(b.said, fmt.Sprintf("%d %s %s", n, kind, m.Class))
		b.sent = append(b.sent, m)
	}
}

func (b *bench) want(said ...string) {
	b.t.Helper()
	if !slices.Equal(b.said, said) {
		b.t.Errorf("said %q, want %q", b.said, said)
	}
}

func (b *bench) phase(s alert.Series) alert.Phase {
	for _, x := range b.state.Statuses() {
		if x.Series == s {
			return x.Phase
		}
	}
	return alert.Normal
}

func (b *bench) silence(from, until int64, matcher string) {
	b.t.Helper()
	m, err := alert.ParseMatcher(matcher)
	if err != nil {
		b.t.Fatal(err)
	}
	b.state, err = b.state.SetSilence(alert.Silence{
		ID: "s1", Matchers: []alert.Matcher{m}, Author: "ann", Comment: "known",
		Start: epoch.UnixMicro() + from*minute, End: epoch.UnixMicro() + until*minute,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestEpisodeIsToldOnceAndResolvedOnce(t *testing.T) {
	b := newBench(t, 2)
	for n, effect := range []float64{.01, .3, .3, .3, .07, .3, .01, .07, .01, .01, .01} {
		b.at(int64(n), "windows", effects{distance: effect})
		b.at(int64(n), "windows", effects{distance: 9}) // again, with something else in it
	}
	// Bad at 1 and 2, told one evaluation later, back over the lower cutoff at 7, good at 8 and 9.
	b.want("3 firing values", "9 resolved values")
	firing, over := b.sent[0], b.sent[1]
	if firing.Episode != over.Episode || firing.ID != firing.Episode+"-firing" || over.ID != over.Episode+"-resolved" {
		t.Errorf("ids %s and %s of episodes %s and %s", firing.ID, over.ID, firing.Episode, over.Episode)
	}
	if got := firing.StartedAt.Time(); !got.Equal(epoch) {
		t.Errorf("started at %s, want the start of the first bad window", got)
	}
	if got := over.ResolvedAt.Time(); !got.Equal(epoch.Add(9 * time.Minute)) {
		t.Errorf("resolved at %s", got)
	}
	e := firing.Evidence[0]
	if e.Series != distance || e.Effect != .3 || e.Threshold != .1 || e.P != 1e-6 || e.Current.N != 5000 || e.Window.End != epoch.UnixMicro()+2*minute {
		t.Errorf("evidence %+v", e)
	}
}

func TestOverlappingWindowsDoNotCountTwice(t *testing.T) {
	b := newBench(t, 2)
	b.size = 10 // evaluated each minute
	for n := int64(1); n <= 9; n++ {
		b.at(n, "windows", effects{distance: .3})
		if got := b.phase(distance); got != alert.Pending {
			t.Fatalf("after %d overlapping windows %s", n, got)
		}
	}
	b.at(10, "windows", effects{distance: .3})
	b.at(11, "windows", effects{distance: .3}) // begins where the first ended
	if got := b.phase(distance); got != alert.Firing {
		t.Errorf("after two disjoint windows %s", got)
	}
	b.at(12, "windows", effects{distance: .3})
	b.want("12 firing values")
}

func TestAnOverlappingGoodWindowBreaksTheRun(t *testing.T) {
	b := newBench(t, 2)
	b.size = 4
	for n, effect := range []float64{.3, .3, .01, .3, .3, .3} {
		b.at(int64(n), "windows", effects{distance: effect})
	}
	if got := b.phase(distance); got != alert.Pending {
		t.Errorf("%s, though one window between was good", got)
	}
}

func TestTooFewSamplesNeitherFireNorResolve(t *testing.T) {
	b := newBench(t, 2)
	b.at(1, "windows", effects{distance: .3})
	b.at(2, "windows", effects{distance: -1})
	b.at(3, "windows", effects{distance: .3})
	b.at(4, "windows", effects{distance: .3})
	for n := int64(5); n < 100; n++ {
		b.at(n, "windows", effects{distance: -1})
	}
	b.want("4 firing values")
	if got := b.phase(distance); got != alert.Firing {
		t.Errorf("with nothing to judge by it is %s", got)
	}
	quiet := newBench(t, 2)
	for n := range int64(2) {
		quiet.at(n, "windows", effects{distance: -1})
	}
	if got := quiet.phase(distance); got != alert.Missing {
		t.Errorf("after two windows without samples %s", got)
	}
	quiet.at(3, "windows", effects{distance: .01})
	if got := quiet.phase(distance); got != alert.Normal {
		t.Errorf("after a good one %s", got)
	}
}

func TestWhatIsNoLongerWatchedLeavesItsEpisode(t *testing.T) {
	b := newBench(t, 2)
	for n := range int64(4) {
		b.at(n, "windows", effects{distance: .3, delay: .01})
	}
	b.at(4, "windows", effects{delay: .01})
	b.at(5, "windows", effects{delay: .01})
	b.want("2 firing values", "5 resolved values")
}

func TestOneBrokenSourceIsOneMessage(t *testing.T) {
	b := newBench(t, 2)
	of := effects{}
	for i := range 200 {
		of[alert.Series{Kind: alert.Skew, Column: fmt.Sprintf("temperature_%03d", i), Slice: "carrier=AA"}] = .2 + float64(i)/1000
	}
	late := alert.Series{Kind: alert.Quality, Column: "visibility"}
	for n := range int64(8) {
		if n >= 3 {
			of[late] = .9
		}
		b.at(n, "windows", of)
	}
	for s := range of {
		of[s] = 0
	}
	b.at(8, "windows", of)
	b.at(9, "windows", of)
	b.want("2 firing values", "4 updated values", "9 resolved values")
	m := b.sent[0]
	if m.Count != 200 || m.LeftOut != 200-len(m.Features) || m.LeftOut == 0 || m.Features[0].Column != "temperature_199" {
		t.Errorf("%d features, %d listed, %d left out, first %s", m.Count, len(m.Features), m.LeftOut, m.Features[0].Column)
	}
	if want := "delays: training-serving skew of temperature_199 (carrier=AA), temperature_198 (carrier=AA), temperature_197 (carrier=AA) and 197 more, source weather"; m.Summary != want {
		t.Errorf("summary %q, want %q", m.Summary, want)
	}
	if joined := b.sent[1]; joined.Type.Delivered() || len(joined.Features) != 1 || joined.Features[0].Series != late || joined.Features[0].Effect != .9 {
		t.Errorf("joined %+v", joined.Features)
	}
	if over := b.sent[2]; over.Count != 201 || over.Features[0].Column != "visibility" {
		t.Errorf("resolved with %d features, first %s", over.Count, over.Features[0].Column)
	}
	for _, m := range b.sent {
		text, err := m.Event()
		if err != nil || len(text) > alert.MaxEvent {
			t.Errorf("%s has %d bytes: %v", m.ID, len(text), err)
		}
	}
}

func TestSilences(t *testing.T) {
	bad := func(b *bench, from, to int64) {
		for n := from; n <= to; n++ {
			b.at(n, "windows", effects{distance: .3})
		}
	}
	good := func(b *bench, from int64) {
		b.at(from, "windows", effects{distance: 0})
		b.at(from+1, "windows", effects{distance: 0})
	}
	t.Run("that ends while it fires delays the message", func(t *testing.T) {
		b := newBench(t, 2)
		b.silence(0, 20, "column=~dist.*")
		bad(b, 1, 19)
		b.want("3 muted values")
		if by := b.sent[0].MutedBy; by != "silence s1" {
			t.Errorf("muted by %q", by)
		}
		bad(b, 20, 30)
		good(b, 31)
		b.want("3 muted values", "20 firing values", "32 resolved values")
		if got := b.sent[1].StartedAt.Time(); !got.Equal(epoch) {
			t.Errorf("started at %s", got)
		}
		if b.sent[0].Episode != b.sent[1].Episode {
			t.Error("another episode")
		}
	})
	t.Run("whose end a tick notices", func(t *testing.T) {
		b := newBench(t, 2)
		b.silence(0, 20, "column=distance")
		bad(b, 1, 19)
		b.at(21, "ticks", nil)
		b.want("3 muted values", "21 firing values")
		if len(b.sent[1].Evidence) != 1 {
			t.Error("without evidence")
		}
	})
	t.Run("that outlives the episode", func(t *testing.T) {
		b := newBench(t, 2)
		b.silence(0, 60, "kind=skew")
		bad(b, 1, 10)
		good(b, 11)
		b.at(70, "windows", effects{distance: 0})
		b.want("3 muted values", "12 muted_over values")
	})
	t.Run("that begins after it was told", func(t *testing.T) {
		b := newBench(t, 2)
		bad(b, 1, 5)
		b.silence(6, 20, "monitor=delays")
		bad(b, 6, 25)
		good(b, 26)
		b.want("3 firing values", "27 resolved values")
	})
	t.Run("that ends while it recovers", func(t *testing.T) {
		b := newBench(t, 2)
		b.silence(0, 11, "group=weather")
		bad(b, 1, 10)
		good(b, 11)
		b.want("3 muted values", "12 muted_over values")
	})
	t.Run("that is ended early", func(t *testing.T) {
		b := newBench(t, 2)
		b.silence(0, 60, "source=weather")
		bad(b, 1, 9)
		b.silence(0, 10, "source=weather")
		bad(b, 10, 10)
		b.want("3 muted values", "10 firing values")
		if n := len(b.state.Silences()); n != 0 {
			t.Errorf("%d silences are kept after their end", n)
		}
	})
	t.Run("of one column says the others", func(t *testing.T) {
		b := newBench(t, 1)
		b.silence(0, 60, "column=distance")
		for n := int64(1); n <= 3; n++ {
			b.at(n, "windows", effects{distance: .3, delay: .2})
		}
		b.want("2 firing values")
		if f := b.sent[0].Features; len(f) != 1 || f[0].Series != delay || b.sent[0].Evidence[0].Series != delay {
			t.Errorf("features %+v", f)
		}
	})
}

func TestStaleSourceMutesItsColumns(t *testing.T) {
	b := newBench(t, 2)
	b.size = 5
	for n := int64(1); n <= 12; n++ { // stale from 1 on; its old values look like drift
		b.at(n*5-1, "ticks", effects{weather: .5})
		b.at(n*5, "windows", effects{distance: .3})
	}
	b.want("14 firing availability", "15 muted values")
	if by := b.sent[1].MutedBy; by != "source weather is stale" {
		t.Errorf("muted by %q", by)
	}
	b.at(64, "ticks", effects{weather: 0})
	b.at(65, "windows", effects{distance: .3})
	b.at(69, "ticks", effects{weather: 0}) // fresh again; until then it was recovering
	b.at(70, "windows", effects{distance: .3})
	b.want("14 firing availability", "15 muted values", "69 resolved availability", "70 firing values")
	if b.sent[0].Episode == b.sent[3].Episode {
		t.Error("availability and values share an episode")
	}
}

func TestStaleSliceMutesWhatIsOfIt(t *testing.T) {
	b := newBench(t, 1)
	jfk := alert.Series{Kind: alert.Freshness, Column: "weather", Slice: "origin=JFK"}
	of := func(slice string) alert.Series {
		return alert.Series{Kind: alert.Skew, Column: "distance", Slice: slice}
	}
	for n := int64(1); n <= 4; n++ {
		b.at(n*5-1, "ticks", effects{jfk: .5, weather: 0})
		b.at(n*5, "windows", effects{of("origin=JFK"): .3})
	}
	b.want("5 firing availability", "9 muted values")
	if by := b.sent[1].MutedBy; by != "origin=JFK of source weather is stale" {
		t.Errorf("muted by %q", by)
	}
	b.at(25, "windows", effects{of("origin=JFK"): .3, of("origin=LGA"): .3, of(""): .3})
	last := b.sent[len(b.sent)-1]
	var told []string
	for _, f := range last.Features {
		told = append(told, f.Slice)
	}
	if slices.Sort(told); last.Type != alert.FiringType || !slices.Equal(told, []string{"", "origin=LGA"}) {
		t.Errorf("%s of slices %q", last.Type, told)
	}
	if want := "delays: training-serving skew of distance, distance (origin=LGA), source weather; stale is origin=JFK of weather"; last.Summary != want {
		t.Errorf("summary %q, want %q", last.Summary, want)
	}
	if strings.Contains(b.sent[0].Summary, "; stale is") {
		t.Errorf("the stale slice itself: %q", b.sent[0].Summary)
	}
}

// A window that begins at the moment at which the source was last stale has nothing stale in it.
func TestWindowsOfTheStaleTimeStayMuted(t *testing.T) {
	for _, tc := range []struct {
		end  int64
		want bool
	}{{14, false}, {15, true}} {
		b := newBench(t, 1)
		b.size = 5
		b.at(5, "ticks", effects{weather: .5})
		b.at(8, "ticks", effects{weather: .5})
		b.at(9, "windows", effects{distance: .3})
		b.at(10, "ticks", effects{weather: .5})
		b.at(13, "ticks", effects{weather: 0})
		b.at(tc.end, "windows", effects{distance: .3})
		if told := slices.ContainsFunc(b.sent, func(m alert.Message) bool { return m.Type == alert.FiringType && m.Class == alert.Values }); told != tc.want {
			t.Errorf("window of %d to %d: told %v, want %v (%q)", tc.end-5, tc.end, told, tc.want, b.said)
		}
	}
}

func TestLaneThatStopsDoesNotHoldUpTheMessage(t *testing.T) {
	b := newBench(t, 1)
	b.size = 5
	b.at(5, "windows", effects{distance: .3})
	b.at(9, "ticks", nil)
	b.want()
	b.at(10, "ticks", nil)
	b.want("10 firing values")
}

func TestShortBlipIsNotTold(t *testing.T) {
	b := newBench(t, 1)
	b.at(1, "windows", effects{distance: .3})
	b.at(2, "windows", effects{distance: 0})
	b.want()
}

func TestRetireResolvesWhatWasTold(t *testing.T) {
	b := newBench(t, 1)
	for n := int64(1); n < 4; n++ {
		b.at(n, "windows", effects{distance: .3})
	}
	open := b.state.Episodes()
	if len(open) != 1 || open[0].Type != alert.FiringType || open[0].Features[0].Series != distance {
		t.Errorf("open episodes %+v", open)
	}
	out := b.state.Retire(epoch.Add(time.Hour).UnixMicro())
	if len(out) != 1 || out[0].Type != alert.ResolvedType || out[0].Episode != b.sent[0].Episode || out[0].Reason == "" {
		t.Errorf("retired with %+v", out)
	}
}

func TestMistakesOfTheCallerAreRefused(t *testing.T) {
	good := alert.Evaluation{Monitor: "m", Window: alert.Window{Start: 0, End: 10}, For: 1, Verdicts: []alert.Verdict{{Series: distance}}}
	state := alert.New("m")
	for want, change := range map[string]func(*alert.Evaluation){
		"monitor":  func(e *alert.Evaluation) { e.Monitor = "other" },
		"empty":    func(e *alert.Evaluation) { e.Window.End = 0 },
		"at least": func(e *alert.Evaluation) { e.For = 0 },
		"no kind":  func(e *alert.Evaluation) { e.Verdicts = []alert.Verdict{{Series: alert.Series{Kind: "mood"}}} },
		"two":      func(e *alert.Evaluation) { e.Verdicts = append(slices.Clone(e.Verdicts), e.Verdicts[0]) },
	} {
		e := good
		change(&e)
		if _, _, err := state.Evaluate(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, _, err := state.Evaluate(good); err != nil {
		t.Error(err)
	}
}

func TestBadSilencesAreRefused(t *testing.T) {
	good := alert.Silence{ID: "s", Matchers: []alert.Matcher{{Field: "column", Op: "=", Value: "a"}}, Start: 1, End: 2, Author: "ann", Comment: "known"}
	for want, change := range map[string]func(*alert.Silence){
		"id":          func(s *alert.Silence) { s.ID = "" },
		"matchers":    func(s *alert.Silence) { s.Matchers = nil },
		"not after":   func(s *alert.Silence) { s.End = 1 },
		"author":      func(s *alert.Silence) { s.Author = " " },
		"comment":     func(s *alert.Silence) { s.Comment = "" },
		"no field":    func(s *alert.Silence) { s.Matchers[0].Field = "colour" },
		"no operator": func(s *alert.Silence) { s.Matchers[0].Op = "<" },
		"missing":     func(s *alert.Silence) { s.Matchers[0].Op, s.Matchers[0].Value = "=~", "(" },
	} {
		s := good
		s.Matchers = slices.Clone(good.Matchers)
		change(&s)
		if _, err := alert.New("m").SetSilence(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	text, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := alert.DecodeSilence(text); err != nil || got.ID != "s" || got.Matchers[0] != good.Matchers[0] {
		t.Errorf("decoded %+v: %v", got, err)
	}
	for _, text := range []string{"column", "column~a", "=a", "colour=a", "column=~(", "column!~["} {
		if _, err := alert.ParseMatcher(text); err == nil {
			t.Errorf("takes %q", text)
		}
	}
	if m, err := alert.ParseMatcher("slice!=carrier=AA"); err != nil || m != (alert.Matcher{Field: "slice", Op: "!=", Value: "carrier=AA"}) {
		t.Errorf("%+v: %v", m, err)
	}
}
