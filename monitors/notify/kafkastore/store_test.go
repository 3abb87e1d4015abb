package kafkastore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/testenv"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/topics"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1")) // the broker that tests share
}

// place is where a test's state is.
type place struct {
	t      *testing.T
	plane  *config.Plane
	client []kgo.Opt
	fake   *kfake.Cluster // nil on a real broker
}

func newPlace(t *testing.T) *place {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	p := &place{t: t, fake: c, plane: &config.Plane{Prefix: "fr."}, client: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}}
	return p.ensure()
}

func realPlace(t *testing.T) *place {
	t.Helper()
	broker := testenv.Kafka(t)
	p := &place{t: t, plane: &config.Plane{Prefix: testenv.Prefix(t)}, client: []kgo.Opt{kgo.SeedBrokers(broker)}}
	return p.ensure()
}

func (p *place) ensure() *place {
	p.t.Helper()
	cl, err := kgo.NewClient(p.client...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer cl.Close()
	if err := kafka.EnsureTopics(p.t.Context(), kadm.NewClient(cl), config.Kafka{ReplicationFactor: 1, MinInsyncReplicas: 1}, topics.Specs(p.plane)); err != nil {
		p.t.Fatal(err)
	}
	return p
}

func (p *place) open() *Store {
	p.t.Helper()
	s, err := Open(p.t.Context(), p.client, p.plane)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(s.Close)
	return s
}

func text(records []notify.Record) string {
	var b bytes.Buffer
	for _, r := range records {
		fmt.Fprintf(&b, "%s=%s ", r.Key, r.Value)
	}
	return b.String()
}

// TestStoresKeepTheLastOfEachKey holds every notify.Store to its contract. reopen is another process's view of it.
func TestStoresKeepTheLastOfEachKey(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T) (first notify.Store, reopen func() notify.Store)
	}{
		{"memory", func(*testing.T) (notify.Store, func() notify.Store) {
			m := &notify.Memory{}
			return m, func() notify.Store { return m }
		}},
		{"kafka", func(t *testing.T) (notify.Store, func() notify.Store) {
			p := newPlace(t)
			return p.open(), func() notify.Store { return p.open() }
		}},
		{"a real kafka", func(t *testing.T) (notify.Store, func() notify.Store) {
			p := realPlace(t)
			return p.open(), func() notify.Store { return p.open() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, reopen := c.make(t)
			want := func(s notify.Store, want string) {
				t.Helper()
				got, err := s.Load(t.Context())
				if err != nil || text(got) != want {
					t.Fatalf("loaded %q, %v; want %q", text(got), err, want)
				}
			}
			save := func(records ...notify.Record) {
				t.Helper()
				if err := s.Save(t.Context(), records); err != nil {
					t.Fatal(err)
				}
			}
			want(s, "")
			value := []byte("1")
			save(notify.Record{Key: "delivery/a", Value: value}, notify.Record{Key: "delivery/b", Value: []byte("1")})
			value[0] = 'x' // belongs to the caller
			save(notify.Record{Key: "delivery/b", Value: []byte("2")}, notify.Record{Key: "delivery/c", Value: []byte("1")})
			want(s, "delivery/a=1 delivery/b=2 delivery/c=1 ")
			save(notify.Record{Key: "delivery/a"}, notify.Record{Key: "delivery/none"})
			save()
			s = reopen()
			want(s, "delivery/b=2 delivery/c=1 ")
			save(notify.Record{Key: "delivery/a", Value: []byte("3")})
			want(reopen(), "delivery/a=3 delivery/b=2 delivery/c=1 ")
		})
	}
}

func TestThePositionIsKeptBesideTheState(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	if got, err := s.State(t.Context()); err != nil || got.Known {
		t.Fatalf("a new store knows %v, %v", got, err)
	}
	if err := errors.Join(s.SaveNext(t.Context(), 7), s.Save(t.Context(), []notify.Record{{Key: "delivery/a", Value: []byte("1")}}), s.SaveNext(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	got, err := Read(t.Context(), p.client, p.plane)
	if err != nil || !got.Known || got.Next != 0 || text(got.Records) != "delivery/a=1 " {
		t.Errorf("%+v, %v", got, err)
	}
}

// An owner that is taken for dead writes no more once another has taken over, whether it writes or asks.
func TestOnlyTheLastOwnerWrites(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *place{"kfake": newPlace, "real": realPlace} {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			write := func(s *Store, value string) error {
				return s.Save(t.Context(), []notify.Record{{Key: "delivery/a", Value: []byte(value)}})
			}
			one := p.open()
			if err := errors.Join(write(one, "1"), one.Check(t.Context()), write(one, "1"), one.Check(t.Context())); err != nil {
				t.Fatal(err)
			}
			two := p.open()
			if err := write(one, "old"); !errors.Is(err, ErrLost) {
				t.Fatalf("the earlier owner wrote: %v", err)
			}
			select {
			case <-one.Lost():
			default:
				t.Error("it was not told")
			}
			if err := write(one, "old"); !errors.Is(err, ErrLost) {
				t.Errorf("it wrote later: %v", err)
			}
			if err := errors.Join(two.Check(t.Context()), write(two, "2")); err != nil {
				t.Fatal(err)
			}
			three := p.open()
			if err := two.Check(t.Context()); !errors.Is(err, ErrLost) {
				t.Errorf("the second owner was not told: %v", err)
			}
			got, err := three.Load(t.Context())
			if err != nil || text(got) != "delivery/a=2 " {
				t.Errorf("%q, %v", text(got), err)
			}
		})
	}
}

// What a broker refuses is an error and not kept; the store goes on afterwards.
func TestARefusedWriteIsToldAndTheNextOneKept(t *testing.T) {
	p := newPlace(t)
	s := p.open()
	if err := s.Save(t.Context(), []notify.Record{{Key: "delivery/a", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Bool
	p.fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		refused.Store(true)
		r := req.(*kmsg.ProduceRequest)
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range r.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, part := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = part.Partition, kerr.TopicAuthorizationFailed.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	err := s.Save(t.Context(), []notify.Record{{Key: "delivery/a", Value: []byte("2")}})
	if !refused.Load() || err == nil || !strings.Contains(err.Error(), "fr."+topics.Deliveries) || !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("the error is %v", err)
	}
	if got, err := s.Load(t.Context()); err != nil || text(got) != "delivery/a=1 " {
		t.Errorf("%q, %v", text(got), err)
	}
	if err := s.Save(t.Context(), []notify.Record{{Key: "delivery/a", Value: []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context()); err != nil || text(got) != "delivery/a=3 " {
		t.Errorf("%q, %v", text(got), err)
	}
}

func TestErrorsNameTheTopic(t *testing.T) {
	p := newPlace(t)
	other := &config.Plane{Prefix: "other."}
	if _, err := Read(t.Context(), p.client, other); !errors.Is(err, kafka.ErrNoTopic) || !strings.Contains(err.Error(), "other.monitor.deliveries") {
		t.Errorf("read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, p.client, p.plane); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "fr.monitor.deliveries") {
		t.Errorf("open: %v", err)
	}
	s := p.open()
	if err := s.Save(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("save: %v", err)
	}
}

func FuzzPosition(f *testing.F) {
	for _, text := range []string{`{"version":1,"next":0}`, `{"version":1,"next":9007199254740993}`, `{"version":2,"next":1}`, `{"version":1,"next":-1}`, `{} {}`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		next, err := decodePosition(text)
		if err != nil {
			return
		}
		if again, err := decodePosition(encodePosition(next)); err != nil || again != next || next < 0 {
			t.Errorf("%d comes back as %d, %v", next, again, err)
		}
	})
}
