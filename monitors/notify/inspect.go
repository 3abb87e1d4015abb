package notify

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Endpoint is what is remembered of a channel that has failed.
type Endpoint struct {
	Channel   string
	Failures  int       // in a row
	NotBefore time.Time // it is left alone until then
	Disabled  bool      // it said that it wants no messages any more
	Reason    string    // why it is disabled
}

// Inspect reads kept records for people: deliveries in the order in which they came, endpoints by channel.
func Inspect(records []Record) ([]Delivery, []Endpoint, error) {
	var all []*delivery
	var endpoints []Endpoint
	for _, r := range records {
		d, e, err := decodeRecord(r)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("inspect notifications: %w", err)
		case e != nil:
			endpoints = append(endpoints, Endpoint{e.Channel, e.Failures, e.NotBefore, e.Disabled, e.Reason})
		default:
			all = append(all, d)
		}
	}
	slices.SortFunc(endpoints, func(a, b Endpoint) int { return cmp.Compare(a.Channel, b.Channel) })
	return overview(all), endpoints, nil
}

// overview is deliveries as others see them, in the order in which they came.
func overview(all []*delivery) []Delivery {
	slices.SortFunc(all, func(a, b *delivery) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Channel, b.Channel))
	})
	out := make([]Delivery, len(all))
	for i, x := range all {
		out[i] = Delivery{x.Channel, x.Message, x.Episode, string(x.Stage), x.Attempts, x.Next, x.Error}
	}
	return out
}
