package processors

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// profileKey is what there is one profile of.
type profileKey struct {
	end           int64
	column, slice string
}

// A transaction judges more windows than one call to a watch does, whose profiles have room for 4,096: after a standstill every profile of
// every window is there once.
func TestWindowsOfATransactionHaveMoreProfilesThanOneStep(t *testing.T) {
	t.Parallel()
	const regions, windows, step = 50, 28, 4096
	s := newScoredOf(t, strings.ReplaceAll(monitoredPlane, "every: 5m", "every: 10m"))
	s.at -= (2 * time.Hour).Microseconds() // the windows must be over
	m, _ := s.run("one")
	s.createRegions(regions)
	eventually(t, "ready", m.Ready)
	eventually(t, "the baseline", func() error {
		if all, _ := m.follower.all(); len(all) == 0 {
			return errors.New("it is not known yet")
		}
		return nil
	})

	// All that is counted is in one partition; time stands still until the other one has something.
	want := map[profileKey]uint64{}
	size := (10 * time.Minute).Microseconds()
	var recs []*kgo.Record
	for i := range windows * regions {
		region := fmt.Sprint("r", i%regions)
		recs = append(recs, s.of(region, s.at+int64(i)*size/regions, 0))
		for _, c := range s.plane.Models[0].Columns {
			end := s.at + (int64(i/regions)+1)*size
			want[profileKey{end, c.Name, "region=" + region}]++
			want[profileKey{end, c.Name, ""}]++
		}
	}
	send := func(recs ...*kgo.Record) {
		t.Helper()
		if err := s.client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send(recs...)
	eventually(t, "inferences", func() error {
		if n := testutil.ToFloat64(m.met.inferences.WithLabelValues("scorer")); n != windows*regions {
			return fmt.Errorf("%g are counted", n)
		}
		return nil
	})
	if n := len(s.windows()); n > 0 {
		t.Fatalf("%d windows were judged before their time", n)
	}
	end := s.at + windows*size
	send(s.of("r0", end, 0), s.of("r0", end, 1))
	eventually(t, "windows", func() error {
		if n := testutil.ToFloat64(m.met.windows.WithLabelValues("inputs")); n != windows {
			return fmt.Errorf("%g are judged", n)
		}
		return nil
	})
	s.checkEach(want, step)
}

// of makes an inference of a region.
func (s *scored) of(region string, at int64, partition int32) *kgo.Record {
	s.n++
	v := s.values()
	text := fmt.Sprintf(`{"id":"i%d","at":%d,"version":"1","p":%g,"region":%q,"features":{"spend_1d":%g,"total":%g}}`, s.n, at, v[2], region, v[0], v[1])
	return &kgo.Record{Topic: "scores", Value: []byte(text), Partition: partition, Timestamp: time.UnixMicro(at)}
}

// createRegions records a baseline with so many slices.
func (s *scored) createRegions(regions int) {
	s.t.Helper()
	d := baseline.Definition{Name: "scorer_1", Model: "scorer", Build: time.Now().UnixMicro(), Fields: []string{"region"}}
	for _, c := range s.plane.Models[0].Columns {
		d.Columns = append(d.Columns, baseline.Column{Name: c.Name, Type: c.Type})
	}
	var rows [][]feature.Value
	for range 20 * regions {
		var row []feature.Value
		for _, x := range s.values() {
			row = append(row, feature.Float64Value(x))
		}
		rows = append(rows, row)
	}
	b, err := baseline.Make(d, func(fn func(values, fields []feature.Value) error) error {
		for i, row := range rows {
			if err := fn(row, []feature.Value{feature.StringValue(fmt.Sprint("r", i%regions))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.produceBaseline(b)
}

// checkEach holds the profiles to the rows that each must have, once. Some transaction must have had more than step of them: records
// without a gap between their offsets, for its end has one.
func (s *scored) checkEach(want map[profileKey]uint64, step int) {
	s.t.Helper()
	got := map[profileKey]uint64{}
	var offsets []int64
	for _, rec := range s.read(topics.Windows, topics.Partitions) {
		var p watch.WindowProfile
		if err := json.Unmarshal(rec.Value, &p); err != nil {
			s.t.Fatal(err)
		}
		key := profileKey{p.End, p.Column, p.Slice}
		if _, twice := got[key]; twice {
			s.t.Errorf("%+v has two profiles", key)
		}
		got[key] = p.Rows
		offsets = append(offsets, rec.Offset) // a model's are in one partition
	}
	wrong := 0
	for key, n := range want {
		if got[key] != n && wrong < 10 {
			wrong++
			s.t.Errorf("the profile of %+v has %d rows, want %d", key, got[key], n)
		}
	}
	if len(got) != len(want) {
		s.t.Errorf("%d profiles, want %d", len(got), len(want))
	}
	slices.Sort(offsets)
	longest, run := 0, 0
	for i, o := range offsets {
		if run++; i > 0 && o != offsets[i-1]+1 {
			run = 1
		}
		longest = max(longest, run)
	}
	if longest <= step {
		s.t.Fatalf("no transaction had more than %d profiles, so nothing is known of one that has more than %d", longest, step)
	}
	s.t.Logf("a transaction had %d of %d profiles", longest, len(got))
}
