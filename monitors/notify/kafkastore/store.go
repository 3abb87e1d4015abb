package kafkastore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/topics"
)

// ErrLost is in the error of a store that is not this program's any more, or whose producer is of no more use. What it
// was told since the last successful Save may or may not be kept; who wants to go on opens the store anew.
var ErrLost = errors.New("the state of notifications belongs to another process now, or cannot be written to any more")

// writeWithin bounds how long a Save tries to write, and endWithin how long it tries to end its transaction. The
// transactions of a process that died are ended by the broker after transactionTimeout, or at once by who takes over.
const (
	writeWithin        = 10 * time.Second
	endWithin          = 10 * time.Second
	transactionTimeout = 30 * time.Second
	closeWithin        = 10 * time.Second
)

// Store is a notify.Store whose owner this program is. It is safe for concurrent use.
type Store struct {
	client []kgo.Opt
	plane  *config.Plane
	topic  string
	txnID  string
	cl     *kgo.Client
	gone   chan struct{}

	mu   sync.Mutex // held over a transaction
	lost error      // why there will be no more of them
}

// Open takes a plane's state of notifications over from whoever has it. client are the options to reach Kafka with.
func Open(ctx context.Context, client []kgo.Opt, p *config.Plane) (*Store, error) {
	s := &Store{client: client, plane: p, topic: topics.Name(p, topics.Deliveries), txnID: p.Prefix + "notify", gone: make(chan struct{})}
	cl, err := kgo.NewClient(append(client[:len(client):len(client)],
		kgo.TransactionalID(s.txnID), kgo.TransactionTimeout(transactionTimeout), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), kgo.DefaultProduceTopic(s.topic),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open the state of notifications in %s: %w", s.topic, err)
	}
	s.cl = cl
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("open the state of notifications in %s: take over %s: %w", s.topic, s.txnID, err)
	}
	return s, nil
}

// Load returns the last record of each key that has a value.
func (s *Store) Load(ctx context.Context) ([]notify.Record, error) {
	state, err := Read(ctx, s.client, s.plane)
	return state.Records, err
}

// State returns all that is kept.
func (s *Store) State(ctx context.Context) (State, error) { return Read(ctx, s.client, s.plane) }

// Save keeps records, all or none of them; after an error it is not known which. An error that wraps ErrLost is final.
func (s *Store) Save(ctx context.Context, records []notify.Record) error {
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Key: []byte(r.Key), Value: r.Value}
	}
	return s.write(ctx, out)
}

// SaveNext keeps the offset of the first message of the history that has not been taken up.
func (s *Store) SaveNext(ctx context.Context, next int64) error {
	return s.write(ctx, []*kgo.Record{{Key: []byte(positionKey), Value: encodePosition(next)}})
}

// Lost is closed when the store is not this program's any more.
func (s *Store) Lost() <-chan struct{} { return s.gone }

// write is one transaction. It is not cut short by the end of ctx, which would leave it open: it has bounds of its own.
func (s *Store) write(ctx context.Context, records []*kgo.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return s.lost
	}
	ctx = context.WithoutCancel(ctx)
	err := s.commit(ctx, records)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write the state of notifications to %s: %w", s.topic, err)
	if fenced(err) {
		return s.lose(err)
	}
	if abortErr := s.abort(ctx); abortErr != nil {
		return s.lose(errors.Join(err, fmt.Errorf("abort: %w", abortErr)))
	}
	return err
}

func (s *Store) commit(ctx context.Context, records []*kgo.Record) error {
	if err := s.cl.BeginTransaction(); err != nil {
		return err
	}
	var first kgo.FirstErrPromise
	for _, r := range records {
		s.cl.Produce(ctx, r, first.Promise())
	}
	flush, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	if err := s.cl.Flush(flush); err != nil {
		return fmt.Errorf("it is not acknowledged within %s: %w", writeWithin, err)
	}
	if err := first.Err(); err != nil {
		return err
	}
	end, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	return s.cl.EndTransaction(end, kgo.TryCommit)
}

func (s *Store) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	if err := s.cl.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return s.cl.EndTransaction(ctx, kgo.TryAbort)
}

// fenced tells that another has taken over, or that the broker has forgotten this producer, which looks the same.
func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.InvalidProducerIDMapping)
}

func (s *Store) lose(why error) error {
	if s.lost == nil {
		s.lost = fmt.Errorf("%w: %w", ErrLost, why)
		close(s.gone)
	}
	return s.lost
}

// Check asks the broker who owns the store, so that an owner that has nothing to write learns of another. It returns an
// error that wraps ErrLost if that is known, and any other if it cannot be told.
func (s *Store) Check(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return s.lost
	}
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	id, epoch, err := s.cl.ProducerID(ctx)
	if err != nil {
		return fmt.Errorf("ask for the owner of %s: %w", s.topic, err)
	}
	all, err := kadm.NewClient(s.cl).DescribeTransactions(ctx, s.txnID)
	if err == nil {
		err = all[s.txnID].Err
	}
	if err != nil {
		return fmt.Errorf("ask for the owner of %s: %w", s.topic, err)
	}
	if now := all[s.txnID]; now.ProducerID != id || now.ProducerEpoch != epoch {
		return s.lose(fmt.Errorf("producer %d, epoch %d of %s has become %d, %d", id, epoch, s.txnID, now.ProducerID, now.ProducerEpoch))
	}
	return nil
}

// Close lets go of the connections. What was saved stays. A client that does not come to an end, its broker gone in the
// middle of a request, is not waited for.
func (s *Store) Close() {
	done := make(chan struct{})
	go func() {
		s.cl.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeWithin):
	}
}
