package kafka_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/kafka"
)

// What was committed is read once and in order, whatever was aborted before, after or between.
func TestReadSpansOfTransactions(t *testing.T) {
	ctx := t.Context()
	opts, err := kafka.Options(newCluster(t, kfake.NumBrokers(1)), "test")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 2, 1, nil, "log"); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	var want []string
	for i := range 6 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		try := kgo.TransactionEndTry(i%2 == 0)
		for k := range 10 {
			v := fmt.Sprint(i, "/", k)
			rec := &kgo.Record{Topic: "log", Partition: int32(k % 2), Value: []byte(v), Timestamp: began.Add(time.Duration(i) * time.Minute)}
			if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if try == kgo.TryCommit && k%2 == 1 {
				want = append(want, v)
			}
		}
		if err := cl.EndTransaction(ctx, try); err != nil {
			t.Fatal(err)
		}
	}
	read := func(since time.Time) []string {
		spans, err := kafka.Committed(ctx, cl, "log", since)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := kafka.ReadSpans(ctx, opts, "log", spans, func(r *kgo.Record) error {
			if r.Partition == 1 {
				got = append(got, string(r.Value))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(time.Time{}); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if got := read(began.Add(3 * time.Minute)); len(got) < 5 || !slices.Equal(got[len(got)-5:], want[10:]) {
		t.Errorf("since the third minute: read %q, want %q at the end", got, want[10:])
	}
	if got := read(time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("of the future: read %q", got)
	}
	stop := errors.New("enough")
	spans, err := kafka.Committed(ctx, cl, "log", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := kafka.ReadSpans(ctx, opts, "log", spans, func(*kgo.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the reader's error is %v", err)
	}
	if _, err := kafka.Committed(ctx, cl, "none", time.Time{}); !errors.Is(err, kafka.ErrNoTopic) {
		t.Errorf("of a topic that is not there: %v", err)
	}
}

// Who must see what was just committed waits for transactions whose marks have not arrived yet.
func TestReadSpansWaitsForOpenTransactions(t *testing.T) {
	ctx := t.Context()
	opts, err := kafka.Options(newCluster(t, kfake.NumBrokers(1)), "test")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.TransactionalID("t"), kgo.DefaultProduceTopic("log"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "log"); err != nil {
		t.Fatal(err)
	}
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Value: []byte("a")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if spans, err := kafka.Committed(ctx, cl, "log", time.Time{}); err != nil || len(spans) != 0 {
		t.Errorf("committed are %v, %v", spans, err)
	}
	spans, err := kafka.Whole(ctx, cl, "log")
	if err != nil || spans[0] != (kafka.Span{From: 0, To: 1}) {
		t.Fatalf("all are %v, %v", spans, err)
	}
	var got []string
	done := make(chan error)
	go func() {
		done <- kafka.ReadSpans(ctx, opts, "log", spans, func(rec *kgo.Record) error { got = append(got, string(rec.Value)); return nil })
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %q, %v", got, err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q, %v", got, err)
	}
}
