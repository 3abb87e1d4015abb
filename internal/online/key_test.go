package online

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/testenv"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct{ project, entity, key, want string }{
		{"flights", "carrier", "UA9", "{flights:carrier:UA9}"},
		{"my-plane", "user_id", "\x05\x02a}", "{my%2Dplane:user%5Fid:%05%02a%7D}"},
		{"p", "e", "\xff é:%", "{p:e:%FF%20%C3%A9%3A%25}"},
		{"p", "e", "", "{p:e:}"},
	} {
		if got := string(AppendKey([]byte("x"), tt.project, tt.entity, []byte(tt.key))); got != "x"+tt.want {
			t.Errorf("AppendKey(%q, %q, %q) = %s, want %s", tt.project, tt.entity, tt.key, got[1:], tt.want)
		}
	}
	h, tl := Fields("carrier_delays", config.Fingerprint{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 0xff})
	if h != "carrier_delays@deadbeef000102ff:h" || tl != "carrier_delays@deadbeef000102ff:t" {
		t.Errorf("Fields: %s, %s", h, tl)
	}
}

func TestNamesAreInjective(t *testing.T) {
	part := rapid.StringOf(rapid.SampledFrom([]rune("a:%{}2_5F\x00é")))
	rapid.Check(t, func(t *rapid.T) {
		a := [3]string{part.Draw(t, "project"), part.Draw(t, "entity"), part.Draw(t, "key")}
		b := [3]string{part.Draw(t, "project"), part.Draw(t, "entity"), part.Draw(t, "key")}
		ka, kb := AppendKey(nil, a[0], a[1], []byte(a[2])), AppendKey(nil, b[0], b[1], []byte(b[2]))
		if (a == b) != (string(ka) == string(kb)) {
			t.Fatalf("%q and %q have the names %s and %s", a, b, ka, kb)
		}
		if n := strings.Count(string(ka), "{") + strings.Count(string(ka), "}"); n != 2 {
			t.Fatalf("%s has %d braces", ka, n)
		}
	})
}

func TestSlotsAreRedis(t *testing.T) {
	for key, want := range map[string]int{"123456789": 12739, "foo": 12182, "{foo}bar": 12182, "a{}b": -1, "{": -1, "": 0} {
		if want >= 0 && slotOf(key) != want {
			t.Errorf("slot of %q is %d, want %d", key, slotOf(key), want)
		}
	}
	c := open(t, clusterURL(testenv.StartRedisCluster(t)[:1]), Options{})
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("{}ab\x00é")))).Draw(t, "key")
		want, err := c.cluster.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got := slotOf(key); got != int(want) || slotOf([]byte(key)) != got {
			t.Fatalf("slot of %q is %d, want %d", key, got, want)
		}
	})
}

// TestEverySlotHasATag: a node may own a single slot, and needs a canary in it.
func TestEverySlotHasATag(t *testing.T) {
	found, n := slotSet{}, 0
	for i := 0; n < slots; i++ {
		if slot := slotOf(fmt.Sprint(i)); !found.has(slot) {
			found.add(slot)
			n++
		}
		if i == 1<<20 {
			t.Fatalf("only %d slots have tags", n)
		}
	}
	for _, slot := range []int{0, 1, 8191, slots - 1} {
		var one slotSet
		one.add(slot)
		if got := slotOf(canaryKey(one.tag(), "a{b}c")); got != slot {
			t.Errorf("the canary of slot %d is in slot %d", slot, got)
		}
	}
}
