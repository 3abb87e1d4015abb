package bench

import (
	"testing"
	"time"
)

func TestProbesCountFromAcknowledgementAndOnlyAfterTheWarmUp(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	p := &probes{entity: "probe-user-", warm: at(100)}
	early, late, lost := probeValue(0), probeValue(1), probeValue(2)
	p.acknowledged(probe{early, at(99)})
	p.acknowledged(probe{late, at(100)})
	p.acknowledged(probe{lost, at(101)})
	if got := len(p.waiting(nil)); got != 3 {
		t.Fatalf("%d are waiting, want 3", got)
	}
	p.seen(map[float64]bool{early: true, late: true}, at(112))
	p.seen(map[float64]bool{late: true}, at(150)) // seen again: it has its time
	if len(p.times) != 1 || p.times[0] != 12*time.Millisecond {
		t.Errorf("times %v, want [12ms]", p.times)
	}
	if open := p.waiting(nil); len(open) != 1 || open[0].value != lost {
		t.Errorf("waiting: %+v, want the one that was not seen", open)
	}
}

func TestProbesOfOneEntityRise(t *testing.T) {
	p := &probes{entity: "probe-user-"}
	last := map[string]float64{}
	for i := range 5 * probeEntities {
		v := probeValue(i)
		name := p.entityOf(v)
		if v <= last[name] {
			t.Fatalf("probe %d of %s is not above the one before", i, name)
		}
		last[name] = v
	}
	if len(last) != probeEntities {
		t.Errorf("%d entities, want %d", len(last), probeEntities)
	}
}
