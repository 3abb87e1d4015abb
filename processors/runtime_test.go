package processors

import (
	"testing"
)

func TestEventsBecomeFeatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.produce(500)
	in := w.run(nil)
	eventually(t, "features", w.check)
	w.produce(500)
	eventually(t, "features of later events", w.check)
	in.waitReady()
}
