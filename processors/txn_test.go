package processors

import (
	"runtime"
	"testing"
	"weak"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The records of a large transaction are not held after it.
func TestRecordsEndWithTheirTransaction(t *testing.T) {
	x := txnRecords{}
	var last weak.Pointer[kgo.Record]
	for range (keptSlabs + 1) * slabSize {
		last = weak.Make(x.record())
	}
	x.reset()
	runtime.GC()
	if last.Value() != nil {
		t.Error("a record of the former transaction is still held")
	}
}

// A transaction has the memory of the former one and nothing of what was in it.
func TestTransactionsUseTheirMemoryAgain(t *testing.T) {
	x, t1, t2 := txnRecords{}, &task{}, &task{}
	fill := func(tasks ...*task) (recs []*kgo.Record) {
		for range slabSize/2 + 1 { // of two tasks more than one slab
			for _, task := range tasks {
				r, p := x.record(), x.part(task)
				if r.Topic != "" || r.Key != nil || r.Value != nil || r.Offset != 0 {
					t.Fatalf("a record has %+v of an earlier one", r)
				}
				start := x.begin()
				x.arena = append(x.arena, "key"...)
				r.Topic, r.Key, r.Value, r.Offset = "changelog", x.arena[start:], []byte("value"), 7
				p.recs = append(p.recs, r)
				recs = append(recs, r)
			}
		}
		return recs
	}
	first := fill(t1, t2)
	x.parts[0].metaAt = 12
	x.reset()
	if len(x.parts) != 0 || len(x.arena) != 0 {
		t.Fatalf("%d parts and %d bytes are left", len(x.parts), len(x.arena))
	}
	if p := x.part(t2); p.t != t2 || p.metaAt != -1 || len(p.recs) != 0 {
		t.Errorf("a part has %+v of an earlier one", p)
	}
	if second := fill(t2, t1); second[0] != first[0] || second[len(second)-1] != first[len(first)-1] {
		t.Error("the records have other memory than those of the former transaction")
	}
	if n := len(x.part(t1).recs); n != slabSize/2+1 {
		t.Errorf("a part has %d records, want %d", n, slabSize/2+1)
	}
}
