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
	for range 5 * slabSize {
		last = weak.Make(x.record())
	}
	x.reset()
	runtime.GC()
	if last.Value() != nil {
		t.Error("a record of the former transaction is still held")
	}
	if r := x.record(); r.Topic != "" || r.Key != nil {
		t.Errorf("a record has %+v of an earlier one", r)
	}
}
