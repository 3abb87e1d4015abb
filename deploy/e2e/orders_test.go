package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// ordersPlane has a view on the source's own key and one that has to be repartitioned, with lifetime counts and windows.
const ordersPlane = `
project: %[1]s
entities:
  - {name: user, join_keys: [{name: user, type: string}]}
  - {name: shop, join_keys: [{name: shop, type: int64}]}
sources:
  - name: orders
    topic: %[2]s
    key: [user]
    event_time: {field: at, format: unix_ms}
    max_record_bytes: 8KiB
    schema:
      - {name: user, type: string}
      - {name: shop, type: int64, required: true}
      - {name: channel, type: string, required: true}
      - {name: amount, type: float64}
      - {name: n, type: int64}
      - {name: at, type: int64, required: true}
feature_views:
  - name: user_orders
    entity: user
    source: orders
    features:
      - {name: ever, aggregate: count}
      - {name: n_ever, aggregate: sum, of: n}
      - {name: sum_1h, aggregate: sum, of: n, window: 1h}
      - {name: count_10m, aggregate: count, window: 10m}
      - {name: mean_1h, aggregate: mean, of: amount, window: 1h}
      - {name: last_shop, of: shop}
      - {name: shops_1h, aggregate: approx_distinct, of: shop, window: 1h}
  - name: shop_orders
    entity: shop
    source: orders
    where: amount != null
    features:
      - {name: ever, aggregate: count}
      - {name: n_ever, aggregate: sum, of: n}
      - {name: max_10m, aggregate: max, of: amount, window: 10m}
      - {name: count_1h, aggregate: count, window: 1h}
      - {name: last_users, aggregate: last_n, n: 4, of: user}
`

// orderViews is the same once more.
var orderViews = []view{
	{
		name: "user_orders", joinKeys: []string{"user"},
		features: []feature{
			{name: "ever", aggregate: "count"},
			{name: "n_ever", aggregate: "sum", of: field("n")},
			{name: "sum_1h", aggregate: "sum", of: field("n"), window: time.Hour},
			{name: "count_10m", aggregate: "count", window: 10 * time.Minute},
			{name: "mean_1h", aggregate: "mean", of: field("amount"), window: time.Hour},
			{name: "last_shop", of: field("shop")},
			{name: "shops_1h", aggregate: "approx_distinct", of: field("shop"), window: time.Hour},
		},
	},
	{
		name: "shop_orders", joinKeys: []string{"shop"}, where: present("amount"),
		features: []feature{
			{name: "ever", aggregate: "count"},
			{name: "n_ever", aggregate: "sum", of: field("n")},
			{name: "max_10m", aggregate: "max", of: field("amount"), window: 10 * time.Minute},
			{name: "count_1h", aggregate: "count", window: time.Hour},
			{name: "last_users", aggregate: "last_n", n: 4, of: field("user")},
		},
	},
}

const orderPartitions = 4

// orders makes random orders: of the last three hours, the more recent the likelier, out of order, some at the same time,
// some without an amount.
type orders struct {
	rng *rand.Rand
	n   int
}

func newOrders(seed uint64) *orders { return &orders{rng: rand.New(rand.NewPCG(seed, 4))} }

// next returns an order with the JSON that stands for it.
func (o *orders) next() ([]byte, *event) {
	o.n++
	share := o.rng.Float64()
	ago := time.Duration(share * share * float64(3*time.Hour)).Truncate(100 * time.Millisecond)
	at := time.Now().Add(-ago).Truncate(100 * time.Millisecond)
	r := row{
		"user": fmt.Sprintf("u%d", o.rng.IntN(150)), "shop": int64(o.rng.IntN(40)), "channel": "web",
		"amount": nil, "n": int64(o.rng.IntN(10)), "at": at.UnixMilli(),
	}
	if o.rng.IntN(5) > 0 {
		r["amount"] = float64(o.rng.IntN(4000)) / 8
	}
	return r.json(), &event{row: r, at: at.UnixMicro()}
}

func (r row) json() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // it is made of numbers and strings
	}
	return text
}

// sendOrders sends n orders at once and returns them.
func (p *plane) sendOrders(seed uint64, n int) []*event {
	p.t.Helper()
	pr, o := p.producer(orderPartitions), newOrders(seed)
	for range n {
		value, e := o.next()
		pr.send(e.row["user"].(string), value, e)
	}
	return pr.sent()
}

// stream is a producer that sends orders steadily until it is stopped.
type stream struct {
	*producer
	once sync.Once
	done chan struct{}  // closed when it shall stop
	wg   sync.WaitGroup // of what sends
}

// perTick orders are sent each 10 ms.
func (p *plane) stream(seed uint64, perTick int) *stream {
	return p.streamOf(newOrders(seed).next, perTick)
}

// streamOf sends what next returns.
func (p *plane) streamOf(next func() ([]byte, *event), perTick int) *stream {
	s := &stream{producer: p.producer(orderPartitions), done: make(chan struct{})}
	s.wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.done:
				return
			case <-tick.C:
			}
			for range perTick {
				value, e := next()
				s.send(e.row["user"].(string), value, e)
			}
		}
	})
	p.t.Cleanup(s.halt)
	return s
}

// halt stops sending.
func (s *stream) halt() {
	s.once.Do(func() { close(s.done) })
	s.wg.Wait()
}

// end stops sending and returns what was sent.
func (s *stream) end() []*event {
	s.p.t.Helper()
	s.halt()
	return s.sent()
}

// checkOrders waits until every feature of every entity is right.
func checkOrders(t *testing.T, what string, in *instance, es []*event) {
	t.Helper()
	xs := expectAll(orderViews, es)
	eventually(t, fmt.Sprintf("%s, of %d events", what, len(es)), func() error { return checkAll(in.http, xs) })
}
