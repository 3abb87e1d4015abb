package watch

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// due makes a watch of what came in two hours with nothing judged yet.
func due(t *testing.T, profilesATime int) *Watch {
	t.Helper()
	p := loadPlane(t, "5m", "skew: {baseline: scorer_1}\n    drift: {against: 20m}\n    quality: {}\n    volume: {}")
	s := newStream(p, 43)
	x := newPlant(t, p, s.baseline(t, 5000))
	x.watch.profilesATime = profilesATime
	for at := start; at < start+(2*time.Hour).Microseconds(); at += 2 * gap {
		edit := shifted
		if at < start+time.Hour.Microseconds() {
			edit = nil
		}
		x.acc.Add(int32(s.n%2), s.row(at, edit), at)
	}
	for _, d := range x.acc.Flush(start + (2 * time.Hour).Microseconds()) {
		if err := x.watch.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	return x.watch
}

// outcome is what is written of judgements and of the watch: scores, messages and profiles in their order, and state.
func outcome(t *testing.T, w *Watch, judged []Judgement) (out []string) {
	t.Helper()
	say := func(kind string, text []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, kind+" "+string(text))
	}
	for i := range judged {
		j := &judged[i]
		out = append(out, fmt.Sprint("window ", j.Window, j.Rows, j.Check))
		for k := range j.Scores {
			text, err := j.Scores[k].Encode()
			say("score", text, err)
		}
		for k := range j.Messages {
			text, err := j.Messages[k].Event()
			say("message", text, err)
		}
		for p := range j.TakeProfiles() {
			text, err := p.Encode()
			say("profile", text, err)
		}
		if len(j.profiles) > 0 {
			t.Errorf("the judgement holds %d profiles that were taken", len(j.profiles))
		}
	}
	changes, err := w.Changes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		out = append(out, fmt.Sprintf("state %s %x", c.Key, c.Value))
	}
	return out
}

func kinds(outcome []string) map[string]int {
	n := map[string]int{}
	for _, o := range outcome {
		kind, _, _ := bytes.Cut([]byte(o), []byte(" "))
		n[string(kind)]++
	}
	return n
}

// Of many windows that are due no more are judged in one call than their profiles have room for, and what is written is the same as of
// one call.
func TestAdvanceEndsBeforeProfilesPileUp(t *testing.T) {
	const most, room = 1000, 40
	whole := due(t, 1<<20)
	judged, more, err := whole.Advance(most)
	if err != nil || more {
		t.Fatalf("more %v, %v", more, err)
	}
	widest := 0
	for i := range judged {
		widest = max(widest, len(judged[i].profiles))
	}
	want := outcome(t, whole, judged)
	if n := kinds(want); n["window"] < 20 || n["profile"] < 3*room || n["message"] == 0 || n["score"] == 0 || n["state"] == 0 {
		t.Fatalf("too little to compare: %v", n)
	}

	cut := due(t, room)
	judged, calls := nil, 0
	for more := true; more; calls++ {
		var js []Judgement
		if js, more, err = cut.Advance(most); err != nil {
			t.Fatal(err)
		}
		held := 0
		for i := range js {
			held += len(js[i].profiles)
		}
		if held >= room+widest || more && held < room {
			t.Errorf("a call holds %d profiles, and more is %v", held, more)
		}
		judged = append(judged, js...)
	}
	if calls < 3 {
		t.Errorf("%d calls", calls)
	}
	got := outcome(t, cut, judged)
	if len(got) != len(want) {
		t.Fatalf("%v in parts, %v in one call", kinds(got), kinds(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("in parts:\n%s\nin one call:\n%s", got[i], want[i])
		}
	}
}

// A watch that is not told to keep profiles holds none and is not cut for them.
func TestProfilesAreKeptOnRequest(t *testing.T) {
	keeping := due(t, 0)
	keeping.KeepProfiles()
	for _, keeps := range []bool{false, true} {
		w := keeping
		if !keeps {
			w = due(t, 0)
		}
		judged, more, err := w.Advance(1000)
		if err != nil || more {
			t.Fatalf("more %v, %v", more, err)
		}
		n := kinds(outcome(t, w, judged))
		if n["window"] < 20 || n["score"] == 0 || (n["profile"] > 0) != keeps {
			t.Errorf("keeps %v: %v", keeps, n)
		}
	}
}
