package processors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// status is what readiness and metrics are told of the loop; it is replaced, never changed.
type status struct {
	restoring []string
	failed    []string
	tasks     int
	publish   error
	awaiting  int  // partitions that are this instance's, and whose positions are not known yet
	joined    bool // the group has decided what is this instance's, which may be nothing
}

// housekeeping is done once a second, with or without events.
func (m *materializer) housekeeping() {
	now := m.now()
	if now.Sub(m.lastHouse) < time.Second {
		return
	}
	m.lastHouse = now
	m.aside.flush()
	m.setStatus()
	if now.Sub(m.lastPositions) > positionsEvery && len(m.running) > 0 {
		m.lastPositions = now
		if err := m.rememberPositions(); err != nil {
			m.logger.Warn("positions not refreshed", "err", err)
		}
	}
	m.met.watermarks(m.running, now)
	m.tellPosition()
	if !m.inTxn && m.ending == nil {
		m.evict()
	}
	for _, t := range m.running {
		if !t.online.republish.active && now.Sub(t.online.lastFull) > m.fullEvery {
			t.online.lastFull = now
			t.startRound()
		}
	}
}

// positionsEvery is how often the stores of tasks without events are marked as current.
const positionsEvery = time.Hour

// stuckAfter is how long one round of the loop may take before the instance is not ready: something that it waits for,
// a disk or a broker, does not answer.
const stuckAfter = 30 * time.Second

// fullSweepEvery is how often everything is published again, whether or not a loss was noticed, unless the options say otherwise.
const fullSweepEvery = 24 * time.Hour

// setStatus tells readiness how things stand.
func (m *materializer) setStatus() {
	s := &status{tasks: len(m.tasks), publish: m.pubErr, joined: m.sess.assigned.Load(), awaiting: m.sess.awaiting(time.Now())}
	for _, t := range m.tasks {
		switch t.state {
		case taskRestoring:
			s.restoring = append(s.restoring, t.name())
		case taskFailed:
			s.failed = append(s.failed, t.failure.Error())
		case taskRunning:
			if t.starting {
				s.restoring = append(s.restoring, t.name()) // ready means that a second start begins where this one did
			}
			if !t.online.checked && s.publish == nil {
				s.publish = m.canaries.problem()
			}
			if t.online.refusals > 0 && m.now().Sub(t.online.refusedAt) > refusedTooLong {
				s.failed = append(s.failed, fmt.Sprintf("%s: the online store holds newer versions than this task's, and has for %s", t.name(), refusedTooLong))
			}
		}
	}
	slices.Sort(s.restoring)
	slices.Sort(s.failed)
	m.status.Store(s)
}

// refusedTooLong is how long refusals of a task that goes on committing are put down to a takeover.
const refusedTooLong = 30 * time.Second

// ready reports why the materializer is not caught up and at work.
func (m *materializer) ready() error {
	s := m.status.Load()
	var errs []error
	if last := m.turned.Load(); last != 0 && m.now().Sub(time.Unix(0, last)) > stuckAfter {
		errs = append(errs, fmt.Errorf("materializer: has been busy with one round since %s; is the disk full, or Kafka away?", time.Unix(0, last).UTC().Format(time.RFC3339)))
	}
	if err := m.store.ready(); err != nil {
		errs = append(errs, err)
	}
	if !s.joined {
		errs = append(errs, errors.New("materializer: has not joined its group yet"))
	}
	if s.awaiting > 0 {
		errs = append(errs, fmt.Errorf("materializer: learning where %d partitions begin", s.awaiting))
	}
	if len(s.restoring) > 0 {
		errs = append(errs, fmt.Errorf("materializer: restoring %s", strings.Join(s.restoring, ", ")))
	}
	for _, f := range s.failed {
		errs = append(errs, fmt.Errorf("materializer: stopped: %s", f))
	}
	if s.publish != nil {
		errs = append(errs, fmt.Errorf("materializer: the online store does not accept writes: %w", s.publish))
	}
	return errors.Join(errs...)
}
