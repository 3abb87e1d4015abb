package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story records what happens in what order.
type story struct {
	mu struct {
		sync.Mutex
		lines []string
	}
}

func (s *story) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.lines = append(s.mu.lines, fmt.Sprintf(format, args...))
}

func (s *story) check(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.mu.lines, want) {
		t.Errorf("it went\n%s\nwant\n%s", strings.Join(s.mu.lines, "\n"), strings.Join(want, "\n"))
	}
}

// part is ready after a while and ends when told to.
func (s *story) part(name string, readyAfter time.Duration) lifecycle.Runner {
	return func(ctx context.Context, ready func()) error {
		s.add("%s starts", name)
		select {
		case <-time.After(readyAfter):
		case <-ctx.Done():
			s.add("%s gives up", name)
			return ctx.Err()
		}
		s.add("%s ready", name)
		ready()
		<-ctx.Done()
		s.add("%s ends", name)
		return ctx.Err()
	}
}

func newGroup() *lifecycle.Group { return lifecycle.New(slog.New(slog.DiscardHandler)) }

func TestStartsInOrderAndStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s story
		g := newGroup()
		g.Add("a", 0, s.part("a", 2*time.Second))
		g.Add("b", 0, s.part("b", time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		s.check(t, "a starts", "a ready", "b starts", "b ready", "b ends", "a ends")
	})
}

func TestStopsWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s story
		g := newGroup()
		g.Add("a", 0, s.part("a", 0))
		g.Add("b", 0, s.part("b", time.Hour))
		g.Add("c", 0, s.part("c", 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		s.check(t, "a starts", "a ready", "b starts", "b gives up", "a ends")
	})
}

func TestFirstFailureWins(t *testing.T) {
	first, second := errors.New("disk full"), errors.New("could not flush")
	fail := func(after time.Duration) lifecycle.Runner {
		return func(ctx context.Context, ready func()) error {
			ready()
			select {
			case <-time.After(after):
				return first
			case <-ctx.Done():
				return second
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var s story
		g := newGroup()
		g.Add("base", 0, s.part("base", 0))
		g.Add("later", 0, fail(time.Hour))
		g.Add("now", 0, fail(time.Second))
		err := g.Run(t.Context())
		if !errors.Is(err, first) || !errors.Is(err, second) || !strings.HasPrefix(err.Error(), "now: disk full\nlater: could not flush") {
			t.Errorf("got %v", err)
		}
		s.check(t, "base starts", "base ready", "base ends")
	})
}

func TestFailureBeforeReady(t *testing.T) {
	var s story
	refused := errors.New("port is taken")
	g := newGroup()
	g.Add("a", 0, s.part("a", 0))
	g.Add("b", 0, func(context.Context, func()) error { return refused })
	g.Add("c", 0, s.part("c", 0))
	if err := g.Run(t.Context()); !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
	s.check(t, "a starts", "a ready", "a ends")
}

func TestStepsThatAreDone(t *testing.T) {
	g := newGroup()
	g.Add("silent", 0, func(context.Context, func()) error { return nil })
	g.Add("ready", 0, func(_ context.Context, ready func()) error { ready(); ready(); return nil })
	if err := g.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNamesWhatDoesNotStop(t *testing.T) {
	release := make(chan struct{})
	var s story
	g := newGroup()
	g.Add("a", 0, s.part("a", 0))
	g.Add("stuck", 50*time.Millisecond, func(_ context.Context, ready func()) error {
		ready()
		<-release
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := g.Run(ctx)
	if err == nil || err.Error() != "stuck did not stop within 50ms" {
		t.Errorf("got %v", err)
	}
	s.check(t, "a starts", "a ready", "a ends")
	close(release)
}

// TestStress races stops and failures against starts: every part that began has ended, whatever came first.
func TestStress(t *testing.T) {
	broken := errors.New("broken")
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			var running sync.Map
			g := newGroup()
			for j := range 5 {
				g.Add(fmt.Sprint(j), 0, func(ctx context.Context, ready func()) error {
					running.Store(j, true)
					defer running.Delete(j)
					time.Sleep(time.Duration(i*j%7) * 50 * time.Microsecond)
					ready()
					if i%3 == 0 && j == i%5 {
						return broken
					}
					<-ctx.Done()
					return ctx.Err()
				})
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%11)*100*time.Microsecond)
			defer cancel()
			if err := g.Run(ctx); err != nil && !errors.Is(err, broken) {
				t.Errorf("run %d: %v", i, err)
			}
			running.Range(func(j, _ any) bool {
				t.Errorf("run %d: part %v is still running", i, j)
				return true
			})
		})
	}
	wg.Wait()
}
