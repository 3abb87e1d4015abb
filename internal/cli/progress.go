package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a long piece of work has come: a bar on a terminal, else a line every few seconds. It is used
// by one goroutine.
type progress struct {
	w     io.Writer
	what  string
	unit  string
	total int64
	start time.Time
	bar   *progressbar.ProgressBar // nil: lines
	shown time.Time                // when the last line was written
}

// lineEvery is how often progress is written where no bar can be drawn.
const lineEvery = 5 * time.Second

func newProgress(w io.Writer, terminal bool, what string, total int64) *progress {
	return newProgressOf(w, terminal, what, "events", total)
}

func newProgressOf(w io.Writer, terminal bool, what, unit string, total int64) *progress {
	p := &progress{w: w, what: what, unit: unit, total: total, start: time.Now(), shown: time.Now()}
	if terminal {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(unit),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(false),
		)
	}
	return p
}

// set shows that done of the total are done.
func (p *progress) set(done int64) {
	if p.bar != nil {
		_ = p.bar.Set64(min(done, p.total)) // a bar that cannot be drawn is no reason to stop
		return
	}
	if time.Since(p.shown) < lineEvery {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "%s: %s of %s, %s %s/s\n", p.what, thousands(done), thousands(p.total), thousands(perSecond(done, time.Since(p.start))), p.unit)
}

// grow shows that done are done, of at least as many: the total was an estimate, or is not known.
func (p *progress) grow(done int64) {
	if done > p.total {
		if p.total = done; p.bar != nil {
			p.bar.ChangeMax64(done)
		}
	}
	p.set(done)
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

func perSecond(n int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(n) / d.Seconds())
}
