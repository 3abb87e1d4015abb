package processors

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/join"
	"github.com/freshet-io/freshet/monitors/quality"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// newLabelledWorld is a plane whose scorer has labels.
func newLabelledWorld(t *testing.T) *scored {
	t.Helper()
	s := newScored(t)
	text := strings.Replace(monitoredPlane, "slices: [region]}", "slices: [region]}\n    labels: {topic: truth, id: id, field: y, type: bool, event_time: {field: at, format: unix_us}, within: 1h}", 1)
	text = strings.Replace(text, "skew: {baseline: scorer_1}", "skew: {baseline: scorer_1}, performance: {metrics: [{name: log_loss, max: 0.7}]}", 1)
	f := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	p.Processing.InstanceID, p.Processing.StateDir = "one", t.TempDir()
	s.plane = p
	return s
}

// send makes records of inferences and labels of ids, some repeated, corrected or without the other, and remembers them.
func (s *scored) send(rng *rand.Rand, from, ids int, sums map[string]*join.Case, j *join.Joiner) {
	s.t.Helper()
	var recs []*kgo.Record
	for n := from; n < from+ids; n++ {
		id := fmt.Sprint("i", n)
		at := s.at + int64(n)*1_000_000
		p := float64(rng.IntN(1000)) / 1000
		infer := func() {
			text := fmt.Sprintf(`{"id":"%s","at":%d,"version":"1","p":%g,"region":"eu","features":{"spend_1d":100,"total":1}}`, id, at, p)
			recs = append(recs, &kgo.Record{Topic: "scores", Key: []byte(id), Value: []byte(text), Partition: ingest.Partition([]byte(id), 2), Timestamp: time.UnixMicro(at)})
		}
		label := func(y bool, late int64) {
			text := fmt.Sprintf(`{"id":"%s","at":%d,"y":%t}`, id, at+late, y)
			// Labels are partitioned otherwise than inferences.
			recs = append(recs, &kgo.Record{Topic: "truth", Value: []byte(text), Partition: int32(n / 3 % 2), Timestamp: time.UnixMicro(at + late)})
		}
		c := &join.Case{}
		sums[id] = c
		j.Infer(c, &join.Inference{Order: join.Order{At: at}, Prediction: feature.Float64Value(p), Slices: []string{"region=eu"}})
		count := func(y bool, late int64) {
			j.Label(c, join.Label{Order: join.Order{At: at + late}, Value: feature.BoolValue(y)})
		}
		y := rng.Float64() < p
		switch n % 10 {
		case 0: // no label
			infer()
		case 1: // the label is there first
			label(y, 1_000_000)
			infer()
			count(y, 1_000_000)
		case 2: // corrected, out of order
			infer()
			label(y, 5_000_000)
			label(!y, 2_000_000)
			count(y, 5_000_000)
		case 3: // a duplicate
			infer()
			infer()
			label(y, 3_000_000)
			count(y, 3_000_000)
			j.Infer(c, &join.Inference{Order: join.Order{At: at}, Slices: []string{"region=eu"}})
		case 4: // too late
			infer()
			label(y, 3_601_000_000)
			count(y, 3_601_000_000)
		default:
			infer()
			label(y, 4_000_000)
			count(y, 4_000_000)
		}
	}
	recs = append(recs, &kgo.Record{Topic: "truth", Value: []byte(`{"id":"x","at":1,"y":"perhaps"}`), Timestamp: time.UnixMicro(s.at)})
	if err := s.client.ProduceSync(s.t.Context(), recs...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// joinedSums adds up what joiners have committed.
func (s *scored) joinedSums() map[join.Pane]*quality.Sums {
	s.t.Helper()
	out := map[join.Pane]*quality.Sums{}
	for _, rec := range s.read(topics.Profiles, topics.Partitions) {
		d, err := watch.DecodeDelta(rec.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if d.Joined == nil {
			continue
		}
		for _, p := range d.Joined.Panes {
			sums, err := quality.Decode(p.Sums)
			if err != nil {
				s.t.Fatal(err)
			}
			k := join.Pane{Start: p.Start, Slice: p.Slice}
			if out[k] == nil {
				out[k] = &quality.Sums{}
			}
			out[k].Merge(sums)
		}
	}
	return out
}

// Every inference and label is joined once, over restarts, the loss of the local store and transactions that fail in the middle.
func TestLabelsAreJoinedOnce(t *testing.T) {
	s := newLabelledWorld(t)
	_, stop := s.run("one")
	s.createBaseline()
	stop()
	_, stop = s.run("one") // which knows the baseline from its beginning
	model := s.plane.Models[0]
	j := join.NewJoiner(quality.Define(model), model.Labels.Within.Microseconds(), watch.Pane(s.plane, model).Microseconds())
	rng, cases := rand.New(rand.NewPCG(5, 6)), map[string]*join.Case{}
	s.send(rng, 0, 400, cases, j)
	for _, f := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.monitor.join_state", Err: kerr.InvalidRecord},
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "fr.monitor.joins", Err: kerr.InvalidProducerEpoch},
		{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError},
		{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.RequestTimedOut},
	} {
		s.cluster.Fault(f)
	}
	s.send(rng, 400, 400, cases, j)
	time.Sleep(300 * time.Millisecond)
	stop()
	s.send(rng, 800, 400, cases, j)
	s.plane.Processing.StateDir = t.TempDir() // all that the local store had is gone
	_, stop = s.run("one")                    // under the old name, which ends a transaction that a fault has left open
	// Nobody says goodbye: a transaction is lost in the middle.
	s.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("connection lost"), true })
	s.send(rng, 1200, 400, cases, j)
	panes, _ := j.Flush()
	eventually(t, "joined cases", func() error {
		got := s.joinedSums()
		for k, want := range panes {
			if have := got[k]; have == nil || !bytes.Equal(have.AppendBinary(nil), want.AppendBinary(nil)) {
				return fmt.Errorf("pane %+v of %d: %+v, want %+v", k, len(panes), have, want)
			}
		}
		for k, have := range got {
			if panes[k] == nil && !have.Empty() {
				return fmt.Errorf("pane %+v should not be there", k)
			}
		}
		return nil
	})
	if len(panes) == 0 {
		t.Error("nothing was joined")
	}
	eventually(t, "scores by labels", func() error {
		for _, rec := range s.read(topics.Scores, topics.Partitions) {
			if sc, err := watch.DecodeScore(rec.Value); err == nil && sc.Check == "log_loss" && sc.Coverage != nil && sc.NCur > 300 {
				return nil
			}
		}
		return fmt.Errorf("there are none")
	})
	dead := 0
	for p := range int32(2) {
		err := readTopic(t.Context(), []kgo.Opt{kgo.SeedBrokers(s.seeds...)}, ingest.DeadLetterTopic(s.plane, "scorer.labels"), p, func(*kgo.Record) error { dead++; return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if dead != 4 {
		t.Errorf("%d dead letters of labels, want 4", dead)
	}
	stop()
}
