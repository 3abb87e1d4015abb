package processors

import (
	"log/slog"
	"sync"
	"time"

	"github.com/freshet-io/freshet/ingest"
)

// asideEvery is how often is told at most of records of one source and class that are put aside.
const asideEvery = 10 * time.Second

// An asideLog tells whoever reads the log of records that become dead letters: of the first at once, then of how many there have been since.
// Its methods may be called at once.
type asideLog struct {
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	counts map[asideKind]*asideCount
}

type asideKind struct {
	source string // or model
	class  ingest.Class
}

type asideCount struct {
	untold int
	told   time.Time
}

// note counts records that were put aside.
func (l *asideLog) note(source string, class ingest.Class, n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := asideKind{source, class}
	c := l.counts[k]
	if c == nil {
		if l.counts == nil {
			l.counts = map[asideKind]*asideCount{}
		}
		c = &asideCount{}
		l.counts[k] = c
	}
	c.untold += n
	l.tell(k, c)
}

// flush tells of what waits to be told and is due.
func (l *asideLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, c := range l.counts {
		l.tell(k, c)
	}
}

func (l *asideLog) tell(k asideKind, c *asideCount) {
	now := l.now()
	if c.untold == 0 || now.Sub(c.told) < asideEvery {
		return
	}
	l.logger.Warn("records were put aside; `freshet dlq list` shows them", "source", k.source, "class", string(k.class), "records", c.untold)
	c.untold, c.told = 0, now
}
