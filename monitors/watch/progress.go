package watch

import (
	"encoding/json"
	"math"
	"time"
)

// IdleAfter is how long a partition's watermark may stand still before it holds up stream time no more (W3).
const IdleAfter = 30 * time.Second

// unwatchedAfter is after how long without a word of any profiler about a partition nobody reads it: they tell of theirs
// more often.
const unwatchedAfter = 15 * time.Second

// Progress is how far partitions have come that profilers tell of (W3). The zero value knows none. Its JSON is what
// is remembered of it.
type Progress struct {
	marks map[int32]*mark
	clock int64 // the latest of the profilers' clocks
	dirty bool  // a mark has changed
}

// mark is how far a partition has got, since when, and when a profiler last told of it, by the profilers' clock.
type mark struct {
	At    int64 `json:"at"`
	Since int64 `json:"since"`
	Seen  int64 `json:"seen"`
}

// Tick takes a profiler's clock, microseconds UTC.
func (p *Progress) Tick(clock int64) { p.clock = max(p.clock, clock) }

// Clock is the latest of the profilers' clocks.
func (p *Progress) Clock() int64 { return p.clock }

// Expect says that there is a partition: one that nobody has told of yet is unknown, and read by nobody.
func (p *Progress) Expect(partition int32) { p.mark(partition) }

func (p *Progress) mark(partition int32) *mark {
	m := p.marks[partition]
	if m == nil {
		m = &mark{At: Unknown, Since: p.clock}
		if p.marks == nil {
			p.marks = map[int32]*mark{}
		}
		p.marks[partition] = m
		p.dirty = true
	}
	return m
}

// Told notes that a profiler has told of a partition. A time in which none did makes it no more idle: what came in it has
// yet to be read.
func (p *Progress) Told(partition int32, watermark int64) {
	m := p.mark(partition)
	if p.clock-m.Seen > unwatchedAfter.Microseconds() {
		m.Since, p.dirty = p.clock, true
	}
	m.Seen = p.clock
	if watermark > m.At {
		m.At, m.Since, p.dirty = watermark, p.clock, true
	}
}

// takeDirty reports whether a mark has changed since it was last asked.
func (p *Progress) takeDirty() bool {
	d := p.dirty
	p.dirty = false
	return d
}

// idle reports whether a partition does not hold stream time up.
func (p *Progress) idle(m *mark) bool {
	return p.clock-m.Since >= IdleAfter.Microseconds() && p.clock-m.Seen <= unwatchedAfter.Microseconds()
}

// StreamTime is how far all partitions are known to have come; Unknown before the first event.
func (p *Progress) StreamTime() int64 {
	least, most, idle := int64(math.MaxInt64), int64(Unknown), true
	for _, m := range p.marks {
		most = max(most, m.At)
		if !p.idle(m) {
			least, idle = min(least, m.At), false
		}
	}
	if most == Unknown {
		return Unknown
	}
	if idle {
		return max(most, p.clock-IdleAfter.Microseconds())
	}
	return least
}

type progressJSON struct {
	Marks map[int32]*mark `json:"marks"`
	Clock int64           `json:"clock"`
}

// MarshalJSON writes what is remembered.
func (p *Progress) MarshalJSON() ([]byte, error) { return json.Marshal(progressJSON{p.marks, p.clock}) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Progress) UnmarshalJSON(text []byte) error {
	var j progressJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	*p = Progress{marks: j.Marks, clock: j.Clock}
	return nil
}
