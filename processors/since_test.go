package processors

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// publishing is one task with one view, its publisher, and the freshness that was observed.
type publishing struct {
	t     *testing.T
	task  *task
	view  *viewState
	pub   *publisher
	met   *metrics
	fresh []float64 // seconds, in the order of observation
	now   time.Time
}

func newPublishing(t *testing.T) *publishing {
	t.Helper()
	w := newWorld(t, "")
	st, err := openStore(t.TempDir(), 8<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	})
	v := newViewState("test", w.plane.Views[0], boundView{}, 0)
	p := &publishing{
		t: t, view: v, pub: newPublisher(nil), met: newMetrics(prometheus.NewRegistry()), now: time.Unix(1_700_000_000, 0),
		task: &task{in: &input{topic: "orders"}, state: taskRunning, store: st, views: []*viewState{v}, now: meta{views: make([]viewMeta, 1)}},
	}
	t.Cleanup(p.task.cells.release)
	p.task.online.checked = true
	p.task.committed = p.task.now
	v.fresh = prometheus.ObserverFunc(func(s float64) { p.fresh = append(p.fresh, s) })
	return p
}

// event applies one that is as old as age, in the open transaction.
func (p *publishing) event(age time.Duration) *entry {
	p.t.Helper()
	e, err := p.view.get(p.task, []byte("u"))
	if err != nil {
		p.t.Fatal(err)
	}
	at := feature.Order{Time: p.now.Add(-age).UnixMicro()}
	p.view.layout.Apply(&e.Entity, &at, make([]*feature.Value, p.view.layout.NumFeatures()), at.Time)
	p.view.appeared(e, &at)
	p.view.changed(e)
	return e
}

// commit ends the open transaction.
func (p *publishing) commit() {
	p.view.seal()
	p.view.settle()
}

// send takes what waits into a batch.
func (p *publishing) send() *publishBatch {
	p.t.Helper()
	b, err := p.pub.collect([]*task{p.task})
	if err != nil || b == nil || len(b.writes) != 1 {
		p.t.Fatalf("batch %+v, error %v, want one write", b, err)
	}
	return b
}

// answer ends the batch, each write of it with the outcome.
func (p *publishing) answer(b *publishBatch, o online.Outcome) {
	for i := range b.outcomes {
		b.outcomes[i] = o
	}
	p.pub.answered(b, p.now, p.met)
}

func (p *publishing) want(ages ...time.Duration) {
	p.t.Helper()
	var want []float64
	for _, a := range ages {
		want = append(want, a.Seconds())
	}
	if !slices.Equal(p.fresh, want) {
		p.t.Errorf("observed %v s, want %v", p.fresh, want)
	}
}

// TestFreshnessCountsFromTheFirstEventThatIsNotShown: failed writes and rollbacks, in any order, neither make an entity look
// fresher than it is nor count what is not shown.
func TestFreshnessCountsFromTheFirstEventThatIsNotShown(t *testing.T) {
	for name, run := range map[string]func(p *publishing){
		"a write fails": func(p *publishing) {
			p.event(time.Hour)
			p.commit()
			b := p.send()
			p.event(time.Minute)
			p.answer(b, online.Failed)
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"a write fails of an entity that has left memory": func(p *publishing) {
			e := p.event(time.Hour)
			p.commit()
			b := p.send()
			p.view.drop(e)
			p.answer(b, online.Failed)
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"it has come back since": func(p *publishing) {
			e := p.event(time.Hour)
			p.commit()
			b := p.send()
			p.view.drop(e)
			p.answer(b, online.Failed)
			p.event(time.Minute)
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"an event waits that was committed before the rollback": func(p *publishing) {
			p.event(time.Hour)
			p.commit()
			p.event(time.Minute)
			p.view.rollback()
			p.answer(p.send(), online.Accepted)
			p.event(time.Minute) // it comes again
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour, time.Minute)
		},
		"the first event was rolled back": func(p *publishing) {
			p.event(time.Hour)
			p.view.rollback()
			p.answer(p.send(), online.Accepted) // of nothing
			p.want()
			p.event(time.Hour)
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"it was rolled back while a write was under way that failed": func(p *publishing) {
			p.event(time.Hour)
			b := p.send()
			p.view.rollback()
			p.answer(b, online.Failed)
			p.answer(p.send(), online.Accepted)
			p.want()
			p.event(time.Hour)
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"it was committed while a write was under way that failed, and what came next was rolled back": func(p *publishing) {
			p.event(time.Hour)
			b := p.send()
			p.commit()
			p.event(time.Minute)
			p.answer(b, online.NeedTail)
			p.view.rollback()
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"it was committed after the next event had come, which was rolled back": func(p *publishing) {
			p.event(time.Hour)
			p.view.seal()
			p.event(time.Minute)
			p.view.settle()
			p.view.rollback()
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"both are rolled back while a write was under way that failed": func(p *publishing) {
			p.event(time.Hour)
			p.view.seal()
			p.event(time.Minute)
			b := p.send()
			p.view.rollback()
			p.answer(b, online.Failed)
			p.answer(p.send(), online.Accepted)
			p.want()
			p.event(time.Hour)
			p.answer(p.send(), online.Accepted)
			p.want(time.Hour)
		},
		"an event came while the transaction before it ended, and that committed": func(p *publishing) {
			p.event(time.Hour)
			b := p.send()
			p.view.seal()
			p.event(time.Minute)
			p.answer(b, online.Accepted)
			p.view.settle()
			p.view.rollback()
			p.answer(p.send(), online.Accepted) // of the first event, which is there
			p.want(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) { run(newPublishing(t)) })
	}
}
