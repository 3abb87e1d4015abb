package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ingest"
	values "github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/playback"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// judged is what a stream came to: each score as its record has it, by series and window, and the messages by their ids.
type judged struct {
	scores   map[string]string
	messages map[string]string
}

func (j *judged) add(t *testing.T, sc *watch.Score) {
	t.Helper()
	text, err := sc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprint(sc.Window.End, " ", sc.Series())
	if have, twice := j.scores[key]; twice {
		t.Errorf("%s is scored twice: %s and %s", key, have, text)
	}
	j.scores[key] = string(text)
}

// about is what a message says, whenever it was decided.
func about(m *alert.Message) string {
	return m.Status + " " + m.Episode + " " + m.Group + " " + m.Features[0].Column
}

// oracle judges what was sent in one go, in the order of time, in one goroutine, without Kafka and without faults.
func (s *inferences) oracle() *judged {
	t := s.p.t
	t.Helper()
	plane := s.definition()
	model := plane.Models[0]
	out := &judged{map[string]string{}, map[string]string{}}
	player, err := playback.New(playback.Options{Plane: plane, Model: model, Baselines: map[string]*baseline.Baseline{s.base.Name: s.base}, Judged: func(j watch.Judgement) error {
		for i := range j.Scores {
			out.add(t, &j.Scores[i])
		}
		for i := range j.Messages {
			if m := &j.Messages[i]; m.Type.Delivered() {
				out.messages[m.ID] = about(m)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	rd, err := ingest.NewReader(model.Inferences)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]values.Value, len(model.Inferences.Schema))
	for _, rec := range s.sent {
		at, _, bad := rd.Read(rec, row)
		if bad != nil {
			t.Fatal(bad)
		}
		if err := player.Add(row, at); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// scored is what the processes have judged.
func (s *inferences) scored() *judged {
	out := &judged{scores: map[string]string{}}
	for _, rec := range s.p.records(s.p.t, s.p.prefix+topics.Scores) {
		sc, err := watch.DecodeScore(rec.Value)
		if err != nil {
			s.p.t.Fatal(err)
		}
		out.add(s.p.t, &sc)
	}
	return out
}

// TestMonitorsOverKilledKafka kills Kafka with -9 between the first attempt to deliver a firing message and the next, and the process
// that lived through it in the same moment of the resolved one. The receiver hears of the one episode once, and all scores are
// those of an oracle that no fault touched.
func TestMonitorsOverKilledKafka(t *testing.T) {
	t.Parallel()
	broker := testenv.StartKafka(t)
	r := newReceiver(t)
	r.all = true
	p := newPlane(t, strings.ReplaceAll(monitoredPlane, "%[3]s", r.URL), broker.Addr(), broker.Addr(), testenv.Redis(t), scorePartitions)
	s := monitored(t, p)
	offered := func(what string, n int) {
		eventually(t, what, func() error {
			if got := r.offered(); got < n {
				return fmt.Errorf("%d messages were offered", got)
			}
			return nil
		})
	}
	one := p.run("one")
	s.send(30*time.Minute, 0)
	s.send(40*time.Minute, 9)
	offered("the firing message", 1)
	broker.Kill()
	if err := broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.send(40*time.Minute, 0)
	offered("the resolved message", 2)
	one.kill()
	one = p.run("one")
	s.send(10*time.Minute, 0)

	want := s.oracle()
	eventually(t, "scores", func() error {
		if got := len(s.scored().scores); got < len(want.scores) {
			return fmt.Errorf("%d of %d scores are there", got, len(want.scores))
		}
		return nil
	})
	if got := s.scored().scores; !maps.Equal(got, want.scores) {
		for key, text := range want.scores {
			if got[key] != text {
				t.Errorf("score of %s:\n%s\nthe oracle's:\n%s", key, got[key], text)
			}
		}
		if len(got) != len(want.scores) {
			t.Errorf("%d scores, the oracle has %d", len(got), len(want.scores))
		}
	}
	eventually(t, "messages", func() error {
		if got := r.told(); len(got) < 2 {
			return fmt.Errorf("the receiver was told %q", got)
		}
		return nil
	})
	one.stop()
	got := map[string]string{}
	for id, m := range r.got {
		got[id] = about(&m)
	}
	if !maps.Equal(got, want.messages) || len(r.bad) > 0 || !slices.Equal(r.told(), []string{"firing orders spend_1d", "resolved orders spend_1d"}) || r.offered() != 2 {
		t.Errorf("told %q, want %q; offered %q; refused: %q", got, want.messages, r.list, r.bad)
	}
}
