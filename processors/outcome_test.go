package processors

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestACommitKnowsTheOutcomeOfEachRecord, of those too whose refusal the client tells of after its flush has returned.
func TestACommitKnowsTheOutcomeOfEachRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outcome{sent: 3}
		o.produced(nil, nil)
		refused := errors.New("no room")
		go func() {
			time.Sleep(time.Second)
			o.produced(nil, refused)
			o.produced(nil, errors.New("a later one"))
		}()
		if err := o.wait(t.Context()); err != nil || !errors.Is(o.first(), refused) {
			t.Errorf("wait returns %v, and then the first error is %v, want %v", err, o.first(), refused)
		}
		o.reset()
		if err := o.wait(t.Context()); err != nil || o.first() != nil {
			t.Errorf("after a reset: %v, %v", err, o.first())
		}
	})
}

func TestARecordThatIsNeverToldOfFailsTheTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outcome{sent: 2}
		o.produced(nil, nil)
		began := time.Now()
		if err := o.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "1 of 2 records") {
			t.Errorf("wait returns %v", err)
		}
		if took := time.Since(began); took != endTimeout {
			t.Errorf("it waits %s, want %s", took, endTimeout)
		}
	})
}
