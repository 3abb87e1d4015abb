package online

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/testenv"
)

// TestGuardIgnoresTheLocale runs the version matrix on a server whose string order is not that of bytes.
func TestGuardIgnoresTheLocale(t *testing.T) {
	dir := t.TempDir()
	compile := exec.Command("localedef", "-i", "en_US", "-f", "UTF-8", filepath.Join(dir, "en_US.UTF-8"))
	if out, err := compile.CombinedOutput(); err != nil {
		// Without the locale the server would order bytes: the test would pass and prove nothing.
		if os.Getenv(testenv.RequireEnv) == "1" {
			t.Fatalf("localedef, of the Debian packages libc-bin and locales: %v\n%s", err, out)
		}
		t.Skipf("no locale en_US.UTF-8 can be made: %v", err)
	}
	t.Setenv("LOCPATH", dir)
	t.Setenv("LC_ALL", "en_US.UTF-8")
	c := open(t, "redis://"+testenv.StartRedis(t).Addr(), Options{})
	got, err := c.redis.Eval(t.Context(), `return {'a' < 'B', 'B' < 'a'}`, nil).Slice()
	if err != nil {
		t.Fatal(err)
	}
	if got[0] != int64(1) {
		t.Fatalf("the server does not use the locale: %v", got)
	}
	guardOrdersVersions(t, c, testenv.Prefix(t))
	headAloneNeedsItsTail(t, c, testenv.Prefix(t))
}

// drawVersion favours versions that differ in one byte, in any place, with bytes that locales treat oddly.
func drawVersion(t *rapid.T, label string) feature.Version {
	var v feature.Version
	some := rapid.SampledFrom([]byte{0, 1, 9, ' ', '-', 'A', 'B', 'a', 'b', 0x7f, 0x80, 0xc3, 0xff})
	for range rapid.IntRange(0, 3).Draw(t, label+" bytes") {
		v[rapid.IntRange(0, len(v)-1).Draw(t, "at")] = some.Draw(t, "byte")
	}
	return v
}

// TestGuardEqualsItsModel holds the script and the embedded path to one model: a head and a tail in two variables.
func TestGuardEqualsItsModel(t *testing.T) {
	mini, _ := embedded(t)
	stores := map[string]*Client{"embedded": mini, "server": open(t, "redis://"+testenv.Redis(t), Options{})}
	project := testenv.Prefix(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		var head, tail []byte
		tails := []feature.Version{zero, drawVersion(rt, "tail a"), drawVersion(rt, "tail b")}
		for step := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			v, of := drawVersion(rt, "version"), rapid.SampledFrom(tails).Draw(rt, "tail")
			w := Write{Head: headBlob(v, of, fmt.Sprint(step))}
			if of != zero && rapid.Bool().Draw(rt, "with tail") {
				w.Tail = tailBlob(of, fmt.Sprint(step))
			}
			want := model(&head, &tail, w)
			for name, c := range stores {
				e := newEntity(t, c, project, fmt.Sprint(run))
				if got := e.write(w.Head, w.Tail, 0); got != want {
					rt.Fatalf("%s: step %d: %v, want %v", name, step, got, want)
				}
				if gotHead, gotTail := e.read(); !bytes.Equal(gotHead, head) || !bytes.Equal(gotTail, tail) {
					rt.Fatalf("%s: step %d: stored\n%q\n%q\nwant\n%q\n%q", name, step, gotHead, gotTail, head, tail)
				}
			}
		}
	})
}

// model is the contract of a write in the words of the user: it looks at the stored tail itself.
func model(head, tail *[]byte, w Write) Outcome {
	if *head != nil && bytes.Compare(w.Head[1:25], (*head)[1:25]) < 0 {
		return Refused
	}
	named := w.Head[25:49]
	switch {
	case w.Tail != nil:
		*tail = w.Tail
	case bytes.Equal(named, make([]byte, 24)):
		*tail = nil
	case *tail == nil || !bytes.Equal((*tail)[1:25], named):
		return NeedTail
	}
	*head = w.Head
	return Accepted
}

// step is one publish of a worker's history.
type step struct {
	head, tail []byte
	closes     bool // the tail is new
}

// history returns what a worker publishes from one offset to another: the same for every worker that replays it.
func history(from, to int, closes []bool) []step {
	var steps []step
	of, tail := zero, []byte(nil)
	for i := range to {
		v := version(uint64(i + 1))
		if closes[i] {
			of, tail = v, tailBlob(v, fmt.Sprint("tail", i))
		}
		if i >= from {
			steps = append(steps, step{headBlob(v, of, fmt.Sprint("head", i)), tail, closes[i]})
		}
	}
	return steps
}

// TestTwoWriters lets a late worker and its successor publish one history in any interleaving. Whatever it is, the store
// ends with the newest head and its tail, and is never torn in between.
func TestTwoWriters(t *testing.T) {
	mini, _ := embedded(t)
	stores := []*Client{mini, open(t, "redis://"+testenv.Redis(t), Options{})}
	project := testenv.Prefix(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		const length = 10
		closes := rapid.SliceOfN(rapid.Bool(), length, length).Draw(rt, "closes")
		for n, c := range stores {
			e := newEntity(t, c, project, fmt.Sprint(run))
			late := history(0, rapid.IntRange(1, length).Draw(rt, "late stops"), closes)
			next := history(rapid.IntRange(0, length-1).Draw(rt, "next begins"), length, closes)
			for len(late)+len(next) > 0 {
				worker := &late
				if len(late) == 0 || len(next) > 0 && rapid.Bool().Draw(rt, "next") {
					worker = &next
				}
				publish(e, (*worker)[0])
				*worker = (*worker)[1:]
				wantWhole(rt, e)
			}
			all := history(length-1, length, closes)[0]
			if head, tail := e.read(); !bytes.Equal(head, all.head) || !bytes.Equal(tail, all.tail) {
				rt.Fatalf("store %d ends with\n%q\n%q\nwant\n%q\n%q", n, head, tail, all.head, all.tail)
			}
		}
	})
}

// publish is what a worker does: the tail goes along when it is new, or when it is asked for.
func publish(e entity, s step) {
	var tail []byte
	if s.closes {
		tail = s.tail
	}
	if e.write(s.head, tail, 0) == NeedTail {
		e.write(s.head, s.tail, 0)
	}
}

func wantWhole(t *rapid.T, e entity) {
	head, tail := e.read()
	if head == nil {
		return
	}
	named := head[25:49]
	if tail == nil && !bytes.Equal(named, make([]byte, 24)) || tail != nil && !bytes.Equal(tail[1:25], named) {
		t.Fatalf("torn: head %q, tail %q", head, tail)
	}
}

// TestReadersNeverSeeATornEntity reads while writers race on the same entities.
func TestReadersNeverSeeATornEntity(t *testing.T) {
	mini, _ := embedded(t)
	for name, c := range map[string]*Client{"Embedded": mini, "Server": open(t, "redis://"+testenv.Redis(t), Options{})} {
		t.Run(name, func(t *testing.T) {
			const entities = 20
			project := testenv.Prefix(t)
			ctx, stop := context.WithTimeout(t.Context(), 400*time.Millisecond)
			defer stop()
			writers := make(chan error, 2)
			for w := range 2 {
				go func() { writers <- raceWrites(ctx, newEntity(t, c, project, ""), project, entities, w) }()
			}
			var reqs []FetchRequest
			for _, key := range keysOf(project, entities) {
				e := newEntity(t, c, project, "")
				reqs = append(reqs, FetchRequest{Key: key, Fields: []string{e.head, e.tail}})
			}
			whole, got := 0, make([][][]byte, entities)
			for ctx.Err() == nil {
				if err := c.Fetch(t.Context(), reqs, got); err != nil {
					t.Fatal(err)
				}
				for _, fields := range got {
					if head, tail := fields[0], fields[1]; head != nil {
						if len(tail) < 25 || !bytes.Equal(tail[1:25], head[25:49]) {
							t.Fatalf("torn: head %q, tail %q", head, tail)
						}
						whole++
					}
				}
			}
			for range 2 {
				if err := <-writers; err != nil {
					t.Fatal(err)
				}
			}
			if whole == 0 {
				t.Fatal("nothing was read")
			}
		})
	}
}

func raceWrites(ctx context.Context, e entity, project string, entities, worker int) error {
	keys := keysOf(project, entities)
	out := make([]Outcome, entities)
	for n := 1; ctx.Err() == nil; n++ {
		var batch []Write
		for i, key := range keys {
			v := version(uint64(n))
			w := e.of(headBlob(v, v, "head"), tailBlob(v, strings.Repeat("tail", 1+(n+i+worker)%200)), time.Duration(n%2)*time.Hour)
			w.Key = []byte(key)
			batch = append(batch, w)
		}
		if err := e.c.Write(context.WithoutCancel(ctx), batch, out); err != nil {
			return err
		}
	}
	return nil
}
