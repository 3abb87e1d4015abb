package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet-io/freshet/internal/testenv"
)

// notesPlane has large entities: each event rewrites 25 KB of state.
const notesPlane = `
project: %[1]s
entities:
  - {name: writer, join_keys: [{name: user, type: string}]}
sources:
  - name: notes
    topic: %[2]s
    key: [user]
    schema:
      - {name: user, type: string, required: true}
      - {name: text, type: string}
feature_views:
  - name: notes
    entity: writer
    source: notes
    features:
      - {name: ever, aggregate: count}
      - {name: latest, aggregate: last_n, n: 100, of: text}
`

// TestAFullDisk: a process whose disk is full says so and keeps answering, goes on when there is room, and has lost nothing. One that is
// started then ends with the reason. The system refuses to make files of the local store longer, as a full disk does.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	kafka := testenv.Kafka(t)
	p := newPlane(t, notesPlane, kafka, kafka, testenv.Redis(t), orderPartitions)
	p.processing = ", commit_interval: 50ms"
	start := p.runCommand("two")
	start.Path, start.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -f 0 && exec "$0" "$@"`, start.Path}, start.Args[1:]...)
	if log := fails(t, start, 1); !strings.Contains(log, "is the disk full?") || !strings.Contains(log, p.stateDir("two")) {
		t.Errorf("it says:\n%s", log)
	}

	in := p.run("one")
	filesUpTo := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(in.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	filesUpTo(256 << 10)
	rng, written := rand.New(rand.NewPCG(6, 6)), map[string]int{}
	events := p.streamOf(func() ([]byte, *event) {
		r := row{"user": fmt.Sprintf("w%d", rng.IntN(50)), "text": strings.Repeat(string(rune('a'+rng.IntN(26))), 250)}
		written[r["user"].(string)]++
		return r.json(), &event{row: r, at: time.Now().UnixMicro()}
	}, 20)
	eventually(t, "the disk is full", func() error {
		switch err := in.caughtUp(); {
		case err == nil:
			return errors.New("nobody has noticed")
		case !strings.Contains(err.Error(), "the local store cannot be written"):
			return err
		}
		return nil
	})
	if _, _, err := lookup(in.http, []string{"notes:ever"}, map[string][]any{"user": {"w1"}}); err != nil {
		t.Error(err)
	}
	filesUpTo(unix.RLIM_INFINITY)
	events.end()
	eventually(t, "every note counts once", func() error { return countOf(in, "notes:ever", written) })
	eventually(t, "caught up", in.caughtUp)
	in.stop()
}
