package cli

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Where no bar can be drawn, a line says every few seconds how far the work has come.
func TestProgressInLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgressOf(&out, false, "training set", "rows", 2000)
		p.set(10)
		time.Sleep(lineEvery)
		p.set(1000)
		p.set(1100) // too soon for another line
		time.Sleep(lineEvery)
		p.grow(3000)
		p.finish()
		rate := func(n int64, lines time.Duration) string { return thousands(perSecond(n, lines*lineEvery)) }
		if want := "training set: 1,000 of 2,000, " + rate(1000, 1) + " rows/s\ntraining set: 3,000 of 3,000, " + rate(3000, 2) + " rows/s\n"; out.String() != want {
			t.Errorf("got %swant %s", out.String(), want)
		}
	})
}

// On a terminal it is a bar with its count, which is gone at the end.
func TestProgressAsABar(t *testing.T) {
	var out strings.Builder
	p := newProgressOf(&out, true, "training set", "rows", 2000)
	time.Sleep(150 * time.Millisecond) // a bar is not drawn more often
	p.set(1000)
	p.finish()
	if text := out.String(); !strings.Contains(text, "training set") || !strings.Contains(text, "1000/2000") || !strings.HasSuffix(text, strings.Repeat(" ", 20)+"\r") {
		t.Errorf("got %q", text)
	}
}
