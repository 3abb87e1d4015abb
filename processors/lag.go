package processors

import (
	"context"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lagEvery is how often lag is measured.
const lagEvery = 5 * time.Second

// A readerPosition tells where a reader is in each partition that is its own. Its loop sets it; the map is replaced, never
// changed. A loop that stands still leaves it as it is, and what comes meanwhile is its lag.
type readerPosition struct {
	reader string
	next   atomic.Pointer[map[topicPartition]int64]
}

// watchLag measures the lag of every reader until ctx is done: what the topics have beyond the readers' positions. It asks
// the brokers, since a reader that fetches nothing learns nothing of what it lacks.
func (r *Runtime) watchLag(ctx context.Context) {
	cl, err := kgo.NewClient(r.client...)
	if err != nil {
		r.logger.Warn("lag is not measured", "err", err)
		return
	}
	defer cl.Close()
	shown := map[*readerPosition]map[topicPartition]int64{}
	for {
		if err := r.measureLag(ctx, cl, shown); err != nil && ctx.Err() == nil {
			r.logger.Debug("lag is not measured", "err", err)
		}
		select {
		case <-time.After(lagEvery):
		case <-ctx.Done():
			return
		}
	}
}

// measureLag asks for the ends of all partitions at once. shown has what is shown of each reader.
func (r *Runtime) measureLag(ctx context.Context, cl *kgo.Client, shown map[*readerPosition]map[topicPartition]int64) error {
	readers := []*readerPosition{&r.mat.position}
	for _, rt := range r.rts {
		readers = append(readers, &rt.position)
	}
	all := map[topicPartition]int64{}
	for _, rd := range readers {
		now := map[topicPartition]int64{}
		if next := rd.next.Load(); next != nil {
			now = *next
		}
		for tp := range shown[rd] {
			if _, ours := now[tp]; !ours {
				r.met.lag.DeleteLabelValues(rd.reader, tp.topic, strconv.Itoa(int(tp.partition)))
			}
		}
		shown[rd] = now
		maps.Copy(all, now)
	}
	if len(all) == 0 {
		return nil
	}
	ends, err := highWatermarks(ctx, cl, all)
	if err != nil {
		return err
	}
	for _, rd := range readers {
		for tp, next := range shown[rd] {
			r.met.lag.WithLabelValues(rd.reader, tp.topic, strconv.Itoa(int(tp.partition))).Set(float64(max(0, ends[tp]-next)))
		}
	}
	return nil
}

// tellPosition tells where the tasks are. Of one that has not been restored yet that is what its group has committed.
func (m *materializer) tellPosition() {
	next := make(map[topicPartition]int64, len(m.tasks))
	for tp, t := range m.tasks {
		next[tp] = t.assignedAt
		if t.committed.views != nil {
			next[tp] = t.read
		}
	}
	m.position.next.Store(&next)
}

// tellPosition tells where the router is; no transaction is open.
func (r *router) tellPosition() {
	next := r.sess.assignment()
	r.position.next.Store(&next)
}
