package train_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/embedded"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/offlinetest"
	"github.com/freshet-io/freshet/processors"
)

const partitions = 3

// online is a plane at work: what a test produces is processed, can be looked up at any time, and is kept as the offline
// stores keep it.
type servingPath struct {
	tb     testing.TB
	plane  *config.Plane
	client *kgo.Client
	rdb    *online.Client
	rt     *processors.Runtime
	sent   int64 // that the materializer takes up
	reader *ingest.Reader
	rows   *offlinetest.Memory
	blobs  feature.Reader
}

func startServing(tb testing.TB, plane *config.Plane) *servingPath {
	tb.Helper()
	kafka, err := embedded.StartKafka(embedded.KafkaOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	redis, err := embedded.StartRedis()
	if err != nil {
		tb.Fatal(err)
	}
	p := *plane
	p.Processing.StateDir, p.Processing.InstanceID = tb.TempDir(), "one"
	p.Processing.CommitInterval, p.Processing.RouteInterval, p.Processing.PublishInterval = 50*time.Millisecond, 10*time.Millisecond, 2*time.Millisecond
	seeds := []kgo.Opt{kgo.SeedBrokers(kafka.Brokers()...)}
	s := &servingPath{tb: tb, plane: &p, rows: &offlinetest.Memory{Twice: 17, BatchRows: 37}}
	if s.client, err = kgo.NewClient(append(seeds, kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		tb.Fatal(err)
	}
	if _, err := kadm.NewClient(s.client).CreateTopic(tb.Context(), partitions, 1, nil, p.Sources[0].Topic); err != nil {
		tb.Fatal(err)
	}
	if s.rdb, err = online.Open(tb.Context(), config.Redis{URL: config.Secret(redis.URL())}, online.Options{Embedded: true}); err != nil {
		tb.Fatal(err)
	}
	s.rt, err = processors.New(tb.Context(), processors.Options{
		Plane: &p, Kafka: config.Kafka{Brokers: kafka.Brokers()}, Client: seeds, Online: s.rdb, Loss: online.NewLoss(s.rdb),
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	if s.reader, err = ingest.NewReader(p.Sources[0]); err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.rt.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.rdb.Close()); err != nil {
			tb.Errorf("stop: %v", err)
		}
		s.client.Close()
		redis.Close()
		if err := kafka.Close(); err != nil {
			tb.Errorf("stop: %v", err)
		}
	})
	return s
}

// message is a record to be sent: a payload, or a tombstone of a key.
type message struct {
	key   feature.Value // of the source
	value []byte
	at    time.Time // the record's time stamp
	taken int64     // how many inputs of the materializer have it
}

// send produces records in order, waits until they are processed and published, and keeps their rows.
func (s *servingPath) send(msgs []message) {
	s.tb.Helper()
	recs := make([]*kgo.Record, len(msgs))
	for i, m := range msgs {
		key, err := ingest.AppendRecordKey(nil, m.key)
		if err != nil {
			s.tb.Fatal(err)
		}
		recs[i] = &kgo.Record{Topic: s.plane.Sources[0].Topic, Key: key, Value: m.value, Timestamp: m.at, Partition: ingest.Partition(key, partitions)}
		s.sent += m.taken
	}
	if err := s.client.ProduceSync(s.tb.Context(), recs...).FirstErr(); err != nil {
		s.tb.Fatal(err)
	}
	for _, r := range recs {
		s.keep(r)
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		p := s.rt.Progress()
		if p.Events == s.sent && p.Waiting == 0 && p.Idle {
			if p.DeadLetters > 0 {
				s.tb.Fatalf("%d dead letters", p.DeadLetters)
			}
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("not processed: %+v of %d", p, s.sent)
		}
	}
}

// keep decodes a record as the sink does.
func (s *servingPath) keep(r *kgo.Record) {
	row := make([]feature.Value, len(s.plane.Sources[0].Schema))
	at, _, bad := s.reader.Read(r, row)
	if bad != nil {
		s.tb.Fatal(bad)
	}
	for i := range row {
		row[i] = row[i].Clone()
	}
	s.rows.Add(offline.Meta{
		Time: at, Arrived: r.Timestamp.UnixMicro(), Deleted: s.reader.Tombstone(r), Ordinal: 1,
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
	}, row...)
}

// lookup returns every feature of a view for an entity, as serving has them at t.
func (s *servingPath) lookup(v *config.View, t int64, key ...feature.Value) []feature.Value {
	s.tb.Helper()
	k, err := feature.AppendKey(nil, key...)
	if err != nil {
		s.tb.Fatal(err)
	}
	fields := online.AllFields(v.Name, v.Fingerprint, v.Layout.Pages())
	out := make([][][]byte, 1)
	req := []online.FetchRequest{{Key: string(online.AppendKey(nil, s.plane.Project, v.Entity.Name, k)), Fields: fields}}
	if err := s.rdb.Fetch(s.tb.Context(), req, out); err != nil {
		s.tb.Fatal(err)
	}
	want := make([]int, len(v.Features))
	for i := range want {
		want[i] = i
	}
	vals := make([]feature.Value, len(want))
	if _, _, _, err := s.blobs.ReadFields(v.Layout, out[0], t, want, vals); err != nil {
		s.tb.Fatal(err)
	}
	return vals
}
