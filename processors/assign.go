package processors

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// reconcile makes the set of tasks equal to what the client is assigned (R8).
func (m *materializer) reconcile() error {
	assigned := m.sess.assignment()
	changed := false
	gained := m.sess.takeGained()
	for tp, t := range m.tasks {
		// A partition that was assigned again has been another instance's in between, seen or not.
		if _, ok := assigned[tp]; !ok || gained[tp] {
			m.logger.Info("task released", "task", t.name())
			delete(m.tasks, tp)
			t.released.Store(true)
			t.cells.release()
			m.reader.end(tp)
			m.met.forget(t)
			m.forgotten = append(m.forgotten, t.canaryName())
			changed = true
		}
	}
	var fresh []*task
	for tp, position := range assigned {
		if m.tasks[tp] != nil {
			continue
		}
		in := m.inputs[tp.topic]
		t, err := newTask(in, tp.partition, m.store, m.met, m.plane, m.now)
		if err != nil {
			return err
		}
		m.tasks[tp] = t
		changed = true
		t.assignedAt = position
		if tp.partition >= in.partitions {
			m.stop(t, fmt.Errorf("%s: the topic had %d partitions when this plane was started: keys have moved between partitions; restart to see what to do", t.name(), in.partitions))
			continue
		}
		fresh = append(fresh, t)
	}
	m.sess.positioned(assigned)
	if changed {
		m.listRunning()
	}
	return m.requestRestore(fresh)
}

// requestRestore hands tasks to the restorer; they are not read until it answers.
func (m *materializer) requestRestore(group []*task) error {
	if len(group) == 0 {
		return nil
	}
	for _, t := range group {
		t.cells.release()
		t.state, t.outOfRange = taskRestoring, false
		m.reader.end(topicPartition{t.in.topic, t.partition})
	}
	select {
	case m.restorer.requests <- group:
		return nil
	default:
		return fmt.Errorf("%d restores are waiting already", cap(m.restorer.requests))
	}
}

// restoreOutOfRange has tasks whose next records do not exist restored: that learns what their inputs still have, and a
// task that comes into service is one that can be read on.
func (m *materializer) restoreOutOfRange() error {
	var group []*task
	for _, t := range m.running {
		if t.outOfRange {
			group = append(group, t)
		}
	}
	err := m.requestRestore(group)
	m.listRunning()
	return err
}

func (m *materializer) listRunning() {
	m.running = m.running[:0]
	for _, t := range m.tasks {
		if t.state == taskRunning {
			m.running = append(m.running, t)
		}
	}
}

// takeRestored puts tasks whose stores have caught up into service, at the positions of their states (R7).
func (m *materializer) takeRestored() {
	for {
		select {
		case d := <-m.restorer.results:
			tp := topicPartition{d.t.in.topic, d.t.partition}
			if m.tasks[tp] != d.t || d.t.state != taskRestoring {
				continue // released meanwhile
			}
			if d.err != nil {
				m.stop(d.t, d.err)
			} else {
				m.start(tp, d)
			}
			m.listRunning()
		default:
			return
		}
	}
}

// start resumes a restored task at the position of its state (R7).
func (m *materializer) start(tp topicPartition, d restored) {
	t := d.t
	added := t.addedLater(d.meta)
	if d.meta.none() {
		added = nil
	}
	switch {
	case d.meta.none() && d.committed >= 0:
		m.stop(t, fmt.Errorf("%s: the group has committed offset %d and the changelog %s holds nothing: the state is lost. "+
			"Restore the changelog, or give the views new names to build them anew", t.name(), d.committed, t.in.changelog))
		return
	case added != nil && t.in.repartitioned() && d.first > 0:
		m.stop(t, fmt.Errorf("%s: feature view %s was added later, and the repartition topic no longer has the records from its beginning: its numbers would be wrong. "+
			"`freshet apply` builds it from the source", t.name(), added.view.Name))
		return
	}
	first := d.first
	if d.meta.none() {
		first = t.assignedAt // what a first start begins at
	}
	if t.erasedTo, t.erasedNow = d.erasedTo, 0; d.meta.none() {
		t.erasedNow = d.erasedTo
	}
	gap := outOfRange(t.name(), t.restoredTo(d, first), d.first, d.end)
	if gap != nil && !m.acceptGap(t, gap) {
		return
	}
	at := t.read
	if d.committed > t.now.next {
		m.stop(t, fmt.Errorf("%s: the group has committed offset %d and the state has counted up to %d only: state is lost", t.name(), d.committed, t.now.next))
		return
	}
	m.warnIncomplete(t, &d)
	if d.meta.none() || added != nil || gap != nil {
		// Where a first start began, of the task or of a view, is recorded even if no record comes: a second start must not
		// choose again. So is a gap: it is accepted once.
		t.touched, t.starting = true, true
	}
	if !d.meta.none() {
		t.online.want = t.version(d.meta.next)
	}
	m.reader.begin(tp, at)
	m.lastCanary = time.Time{}
	t.online.began, t.online.lastFull = m.now(), m.now()
	m.met.restored(d)
	level := slog.LevelInfo
	if d.records == 0 && d.took < time.Second {
		level = slog.LevelDebug // there was nothing to restore
	}
	m.logger.Log(context.Background(), level, "task restored", "task", t.name(), "records", d.records, "took", d.took.Round(time.Millisecond), "next", at)
}

// beginsIncomplete is what a view's reader says that begins on a source's topic which no longer has its first records.
const beginsIncomplete = "a feature view begins incomplete: the topic no longer has its first records. " +
	"`freshet apply`, before run, builds a new view with what the offline store has of them"

// warnIncomplete tells of the views that begin on a source's topic which no longer has its first records: they count what is left.
// A task that begins at the end of its source is asked for no history; a view that is added to it later is. What a repartition topic
// lacks its router tells.
func (m *materializer) warnIncomplete(t *task, d *restored) {
	if d.first == 0 || t.in.repartitioned() || d.meta.none() && t.in.source.StartAt == "latest" {
		return
	}
	for _, v := range t.views {
		if _, ok := d.meta.of(v.fp); !ok && v.bootstrap == nil {
			m.logger.Warn(beginsIncomplete, "view", v.view.Name, "task", t.name(), "missing_from", 0, "missing_to", d.first)
		}
	}
}

// acceptGap decides about records that were deleted before they were processed: the task stops and says so, or, where
// the operator has said so, goes on after them.
func (m *materializer) acceptGap(t *task, gap *gapError) bool {
	if !m.gaps || gap.truncated {
		m.stop(t, gap)
		return false
	}
	m.logger.Warn("a gap is accepted", "task", t.name(), "from", gap.at, "to", gap.first)
	m.met.gapRecords.Add(float64(gap.first - gap.at))
	t.skipTo(gap.first)
	return true
}

// stop takes a task out of service for good (R13).
func (m *materializer) stop(t *task, err error) {
	m.logger.Error("task stopped", "task", t.name(), "err", err)
	t.fail(err)
	t.cells.release()
	m.met.taskFailures.Inc()
	m.reader.end(topicPartition{t.in.topic, t.partition})
}
