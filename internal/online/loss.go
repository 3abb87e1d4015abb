package online

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/freshet-io/freshet/internal/feature"
)

// Loss notices for the tasks of an instance that Redis has lost what they published: the protocol of canaries in the
// package comment. It is safe for concurrent use; calls for one task wait for each other.
type Loss struct {
	client *Client

	mu struct {
		sync.Mutex
		tasks map[string]*watch
	}
}

// watch is one task's trust. Its lock is held during I/O: a canary must not be advanced between being read and being
// judged.
type watch struct {
	sync.Mutex
	trust
}

// NewLoss returns a detector that trusts nothing yet.
func NewLoss(c *Client) *Loss {
	l := &Loss{client: c}
	l.mu.tasks = map[string]*watch{}
	return l
}

func (l *Loss) watch(task string) *watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.mu.tasks[task]
	if w == nil {
		w = new(watch)
		l.mu.tasks[task] = w
	}
	return w
}

// Check asks every node and returns those that may have lost what task has published there. The task publishes all its
// entities that such a node Owns again, and then calls Vouch with the Node that Check returned; until then each Check
// returns it again. The first Check comes before the first write, and plants the canaries. A task's name must differ from that of any other project, view definition or partition on the same
// Redis.
//
// want is what must have been published when the task begins: the version of its committed state, or zero if it has
// never published. On nodes that this Loss has judged before, what it knows counts instead.
//
// The error joins which nodes could not be asked. They are not lost; the others have been judged.
func (l *Loss) Check(ctx context.Context, task string, want feature.Version) (lost []Node, err error) {
	w := l.watch(task)
	w.Lock()
	defer w.Unlock()
	ctx, cancel := l.client.bound(ctx)
	defer cancel()
	places, err := l.client.places(ctx)
	if err != nil {
		return nil, err
	}
	sights, err := l.client.look(ctx, places, task)
	lost = w.look(sights, partition(places), want)
	return lost, errors.Join(err, l.set(ctx, w, task, want, true))
}

// set plants or advances the canaries of trusted nodes. w must be locked.
func (l *Loss) set(ctx context.Context, w *watch, task string, v feature.Version, plant bool) error {
	nodes := w.trusted(!plant)
	if len(nodes) == 0 {
		return nil
	}
	errs := l.client.setCanaries(ctx, nodes, task, v, plant)
	for i, err := range errs {
		switch {
		case err == nil:
			w.vouch(nodes[i], v)
		case errors.Is(err, errCanaryGone):
			w.gone(nodes[i])
			errs[i] = nil // the next Check reports it
		}
	}
	return errors.Join(errs...)
}

// Advance says that every write of task up to v has been acknowledged by nodes that were trusted at the last Check, and
// advances their canaries. Nodes that are lost wait for Vouch; one that turns out to be is reported by the next Check.
func (l *Loss) Advance(ctx context.Context, task string, v feature.Version) error {
	w := l.watch(task)
	w.Lock()
	defer w.Unlock()
	return l.set(ctx, w, task, v, false)
}

// ErrLostAgain is returned by Vouch for a node that has changed its identity since Check reported it.
var ErrLostAgain = errors.New("the node has changed again")

// Vouch says that since Check returned n, all that task owes the node has been published again and acknowledged, up to
// v. It makes the node trusted.
func (l *Loss) Vouch(ctx context.Context, task string, n Node, v feature.Version) error {
	w := l.watch(task)
	w.Lock()
	defer w.Unlock()
	if !w.mayVouch(n) {
		return fmt.Errorf("vouch for redis at %s: %w", n.Addr, ErrLostAgain)
	}
	if err := l.client.SetCanary(ctx, n, task, v); err != nil {
		return err
	}
	w.vouch(n, v)
	return nil
}

// Forget drops what is known for a task that has moved to another instance.
func (l *Loss) Forget(task string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.tasks, task)
}
