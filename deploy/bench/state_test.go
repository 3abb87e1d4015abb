package bench

import (
	"math/rand/v2"
	"testing"
)

func TestUniformTouchesEveryUserBeforeAnyAtRandom(t *testing.T) {
	for _, users := range []int{1, 2, 3, 10, 97, 1000, 65536} {
		const rounds = 2
		next := uniform(rand.New(rand.NewPCG(1, 1)), users, rounds*users)
		seen := make([]int, users)
		for range rounds * users {
			seen[next()]++
		}
		for u, n := range seen {
			if n != rounds {
				t.Fatalf("%d users: user %d came %d times in %d rounds", users, u, n, rounds)
			}
		}
		for range 1000 {
			if u := next(); u >= uint64(users) {
				t.Fatalf("%d users: user %d", users, u)
			}
		}
	}
}

func TestStatusReadsAnAmount(t *testing.T) {
	const status = "Name:\tfreshet\nVmPeak:\t  900 kB\nVmHWM:\t  123456 kB\nThreads:\t9\n"
	if got, ok := statusKiB(status, "VmHWM"); !ok || got != 123456 {
		t.Errorf("got %d, %v", got, ok)
	}
	if _, ok := statusKiB(status, "VmRSS"); ok {
		t.Error("an amount that is not there was read")
	}
}
