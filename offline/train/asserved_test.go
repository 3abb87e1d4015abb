package train_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// TestAsServed: a training set of what had arrived is what serving answered at the time, events that were late or ahead of
// the clock included, and not what it answered once the late ones were there.
func TestAsServed(t *testing.T) {
	plane := parsePlane(t, strings.Replace(parityPlane, "HORIZON", "30h", 1))
	s := startServing(t, plane)
	g := &stream{rng: rand.New(rand.NewPCG(9, 9))}
	var users, shops []asked
	arrived := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 15 {
		var msgs []message
		for range 40 {
			arrived = arrived.Add(time.Duration(1+g.rng.IntN(20_000)) * time.Millisecond)
			if g.rng.IntN(25) == 0 {
				msgs = append(msgs, message{key: feature.StringValue(fmt.Sprint("u", g.rng.IntN(8))), at: arrived, taken: 1})
				continue
			}
			o := g.order(arrived.Add(time.Duration(g.rng.IntN(24*60_000)-20*60_000) * time.Millisecond).UnixMicro())
			value, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			m := message{key: feature.StringValue(o.User), value: value, at: arrived, taken: 1}
			if o.Shop != nil && o.Region != nil {
				m.taken++
			}
			msgs = append(msgs, m)
		}
		s.send(msgs)
		at := arrived.UnixMicro()
		for i := range 9 {
			key := feature.StringValue(fmt.Sprint("u", i))
			users = append(users, asked{at, []feature.Value{key}, s.lookup(plane.Views[0], at, key)})
		}
		for i := range 6 {
			key := []feature.Value{feature.Int64Value(int64(i / 2)), feature.StringValue(string(rune('x' + i%2)))}
			shops = append(shops, asked{at, key, s.lookup(plane.Views[1], at, key...)})
		}
	}
	compareAs(t, s, plane.Views[0], "user", users, true)
	compareAs(t, s, plane.Views[1], "shop", shops, true)
	if n := differences(t, s, plane.Views[0], "user", users, false); n == 0 {
		t.Error("late events make no difference: the test asks too little")
	}
}
