package processors

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
)

// What a task needs to go on with a state that a Builder made beside the running processors. The invariants of it, B1 to
// B6, are in ARCHITECTURE.md ("Change").

// kindTakenUp marks, in the local store alone, a state whose cells the store has read from the changelog.
const kindTakenUp byte = 0xff

// beginning returns where a view begins that the meta record does not know: behind what its builder counted, or at
// `first` if it had none.
func (v *viewState) beginning(partition int32, first int64) int64 {
	if v.bootstrap == nil {
		return first
	}
	return v.bootstrap.Tasks[partition].Next
}

// firstMeta is the meta record of a task that never ran: views begin at first, or behind what was built out of band.
func (t *task) firstMeta(first int64) meta {
	m := meta{next: first, streamTime: math.MinInt64}
	for _, v := range t.views {
		m.next = max(m.next, v.beginning(t.partition, first))
		if v.bootstrap != nil {
			m.streamTime = max(m.streamTime, v.bootstrap.Tasks[t.partition].StreamTime)
		}
	}
	// The views that begin at `first` are named, so that the front of the others is not theirs.
	for _, v := range t.views {
		m.views = append(m.views, viewMeta{v.fp, v.beginning(t.partition, first)})
	}
	return m
}

// rewind takes the position of a restore back to where the cells of states begin that the local store has not read: while
// they were written, the position of a running task went past them (B4).
func (r *restorer) rewind(d *restored, start int64) error {
	for _, v := range d.t.views {
		if v.bootstrap == nil {
			continue
		}
		done, err := r.store.get(d.id, takenUpKey(v))
		if err != nil {
			return err
		}
		if done == nil {
			d.pos.offset = min(d.pos.offset, max(start, v.bootstrap.Tasks[d.t.partition].Changelog))
		}
	}
	return nil
}

func takenUpKey(v *viewState) []byte { return append([]byte{kindTakenUp}, v.fp[:]...) }

// takenUp notes that a restore that read to the end has read the cells of every view's state.
func (w *restoreWriter) takenUp(d *restored) error {
	for _, v := range d.t.views {
		if v.bootstrap != nil {
			if err := w.batch.put(d.id, takenUpKey(v), []byte{1}); err != nil {
				return err
			}
		}
	}
	return nil
}

// errRebound ends a session whose views have other states now.
var errRebound = errors.New("a view's state was built anew")

func (r *Runtime) registry() *registry {
	return &registry{topic: r.topo.planeTopic(), txnID: r.topo.prefix + "plane", client: r.client, now: r.now}
}

// wantedRecords describes the plane's views as they are defined and over their topics as they are.
func (r *Runtime) wantedRecords() []ViewRecord {
	var wanted []ViewRecord
	for _, in := range r.topo.inputs {
		for _, v := range in.views {
			wanted = append(wanted, wantedRecord(v, in.sourceID, in.partitions))
		}
	}
	return wanted
}

func bindAll(records []ViewRecord) ([]boundView, error) {
	var bound []boundView
	for i := range records {
		b, err := bind(&records[i])
		if err != nil {
			return nil, err
		}
		bound = append(bound, b)
	}
	return bound, nil
}

// bind gives the inputs' views their states, in the order of wantedRecords.
func (r *Runtime) bind(bound []boundView) {
	for _, in := range r.topo.inputs {
		in.bound, bound = bound[:len(in.views):len(in.views)], bound[len(in.views):]
	}
}

// Marks tells readers of the online store which states of the views are whole.
type Marks interface {
	MarkGenerations(ctx context.Context, project string, of map[string]map[config.Fingerprint]uint32) error
}

// mark marks every recorded state. It is done again and again: an online store that was emptied has lost its marks.
func mark(ctx context.Context, m Marks, p *config.Plane, recorded map[string]ViewRecord) error {
	if m == nil {
		return nil
	}
	of := map[string]map[config.Fingerprint]uint32{}
	for _, r := range recorded {
		if r.Building {
			continue
		}
		for _, s := range r.states() {
			fp, err := s.fingerprint()
			if err != nil {
				return err
			}
			if of[r.View] == nil {
				of[r.View] = map[config.Fingerprint]uint32{}
			}
			of[r.View][fp] = max(of[r.View][fp], s.Generation)
		}
	}
	return m.MarkGenerations(ctx, p.Project, of)
}

// watchEvery is how often a running process looks whether one of its views has been built anew under the same definition.
const watchEvery = 2 * time.Second

// watchStates has the materializer take up states that are built anew while it runs.
func (r *Runtime) watchStates(ctx context.Context) {
	states := func(bound []boundView) (ids [][8]byte) {
		for _, b := range bound {
			ids = append(ids, b.state)
		}
		return ids
	}
	var current []boundView
	for _, in := range r.topo.inputs {
		current = append(current, in.bound...)
	}
	r.registry().watch(ctx, watchEvery, func(recorded map[string]ViewRecord) {
		if err := mark(ctx, r.opts.Marks, r.plane, recorded); err != nil && ctx.Err() == nil {
			r.logger.Debug("the views' generations are not marked in the online store", "err", err)
		}
		records, fresh, err := reconcile(recorded, r.wantedRecords(), r.now())
		if err != nil || len(fresh) > 0 {
			return // a definition that is not ours any more, or a state that was dropped: for the next start to say
		}
		bound, err := bindAll(records)
		if err != nil {
			r.logger.Error("the plane topic names states that cannot be gone on with", "err", err)
			return
		}
		if slices.Equal(states(bound), states(current)) {
			return
		}
		current = bound
		r.mat.rebound.Store(&bound)
	})
}

// rebind takes up other states of the views, before the session's tasks are made.
func (m *materializer) rebind() {
	bound := m.rebound.Swap(nil)
	if bound == nil {
		return
	}
	rest := *bound
	for _, in := range m.topo.inputs {
		in.bound, rest = rest[:len(in.views):len(in.views)], rest[len(in.views):]
	}
}
