package processors

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// taskReader reads the partitions of the tasks in service, each from where its state says (R7). It has a client of its own, which
// neither the group nor a transaction that ends holds up.
type taskReader struct {
	cl    *kgo.Client
	reads map[topicPartition]bool
	// begun are partitions to be read that the client has not been told of.
	begun map[string]map[int32]kgo.Offset
}

// readerOptions are how the partitions of inputs are fetched.
func readerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(32 << 20),
		kgo.FetchMaxPartitionBytes(4 << 20),
		kgo.FetchMaxWait(time.Second),
	}
}

func newTaskReader(client []kgo.Opt) (*taskReader, error) {
	cl, err := kgo.NewClient(append(readerOptions(), client...)...)
	if err != nil {
		return nil, fmt.Errorf("read the inputs: %w", err)
	}
	return &taskReader{cl: cl, reads: map[topicPartition]bool{}}, nil
}

func (r *taskReader) close() { r.cl.Close() }

// begin reads a partition from an offset on, with the next poll.
func (r *taskReader) begin(tp topicPartition, offset int64) {
	r.end(tp)
	r.reads[tp] = true
	if r.begun == nil {
		r.begun = map[string]map[int32]kgo.Offset{}
	}
	if r.begun[tp.topic] == nil {
		r.begun[tp.topic] = map[int32]kgo.Offset{}
	}
	r.begun[tp.topic][tp.partition] = kgo.NewOffset().At(offset).WithEpoch(-1)
}

// end reads a partition no longer, and drops what has been fetched of it.
func (r *taskReader) end(tp topicPartition) {
	if !r.reads[tp] {
		return
	}
	delete(r.reads, tp)
	if _, untold := r.begun[tp.topic][tp.partition]; untold {
		delete(r.begun[tp.topic], tp.partition)
		return
	}
	r.cl.RemoveConsumePartitions(map[string][]int32{tp.topic: {tp.partition}})
}

// poll returns up to maxPoll records that are there within wait.
func (r *taskReader) poll(ctx context.Context, wait time.Duration) kgo.Fetches {
	if r.begun != nil {
		r.cl.AddConsumePartitions(r.begun)
		r.begun = nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return r.cl.PollRecords(ctx, maxPoll)
}
