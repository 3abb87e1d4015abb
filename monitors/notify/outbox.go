package notify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// outbox is the state of all deliveries, and decides what to try when. It does nothing by itself: time is an argument, and
// what changed is taken by changes. It is not safe for concurrent use.
type outbox struct {
	channels   map[string]*Channel
	deliveries map[string]*delivery
	endpoints  map[string]*endpoint
	busy       map[string]int  // attempts under way, by channel
	underway   map[string]bool // by delivery
	dirty      map[string]bool // keys whose records differ from what is kept
	order      int64
	chance     func() float64
}

func newOutbox(channels []*Channel, chance func() float64) (*outbox, error) {
	o := &outbox{
		channels: map[string]*Channel{}, deliveries: map[string]*delivery{}, endpoints: map[string]*endpoint{},
		busy: map[string]int{}, underway: map[string]bool{}, dirty: map[string]bool{}, chance: chance,
	}
	for _, c := range channels {
		if o.channels[c.name] != nil {
			return nil, fmt.Errorf("two channels %q", c.name)
		}
		o.channels[c.name] = c
		o.endpoints[c.name] = &endpoint{Version: recordVersion, Channel: c.name, Target: c.target}
	}
	return o, nil
}

// load takes kept records over. An endpoint whose address is another now begins anew; what waits for a channel that is no
// longer defined is dead.
func (o *outbox) load(records []Record, now time.Time) error {
	for _, r := range records {
		d, e, err := decodeRecord(r)
		switch {
		case err != nil:
			return err
		case e != nil:
			if c := o.channels[e.Channel]; c == nil {
				o.dirty[r.Key] = true // deletes it
			} else if e.Target == c.target {
				o.endpoints[e.Channel] = e
			} else {
				o.dirty[r.Key] = true
			}
		default:
			o.deliveries[r.Key] = d
			o.order = max(o.order, d.Order)
		}
	}
	for _, d := range o.deliveries {
		switch {
		case o.channels[d.Channel] == nil:
			o.bury(d, "the channel is no longer defined", now)
		case d.Stage == resending && o.sibling(d) != nil: // the two may have been kept one by one
			o.settle(d, delivered, now)
		}
	}
	return nil
}

// changes are the records to be kept since the last call.
func (o *outbox) changes() []Record {
	out := make([]Record, 0, len(o.dirty))
	for key := range o.dirty {
		switch d := o.deliveries[key]; {
		case d != nil:
			out = append(out, encodeRecord(key, d))
		default:
			out = append(out, o.endpointRecord(key))
		}
	}
	clear(o.dirty)
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

func (o *outbox) endpointRecord(key string) Record {
	for name, e := range o.endpoints {
		if endpointKey(name) == key {
			return encodeRecord(key, e)
		}
	}
	return Record{Key: key}
}

// add takes a message for a channel. One that is known changes nothing (N1).
func (o *outbox) add(m *alert.Message, event []byte, channel string, now time.Time) {
	key := deliveryKey(channel, m.ID)
	if o.deliveries[key] != nil {
		return
	}
	o.order++
	d := &delivery{
		Version: recordVersion, Channel: channel, Message: m.ID, Episode: m.Episode, Type: m.Type, Order: o.order,
		Stage: waiting, Since: micros(now), Next: micros(now), Event: event,
	}
	o.deliveries[key] = d
	o.dirty[key] = true
	if e := o.endpoints[channel]; e.Disabled {
		o.bury(d, e.Reason, now)
		return
	}
	sibling := o.sibling(d)
	switch {
	case sibling == nil:
	case m.Type == alert.ResolvedType && sibling.Stage == resending:
		o.settle(sibling, delivered, now)
	case m.Type == alert.FiringType && sibling.Stage == delivered:
		o.settle(d, passed, now)
	}
}

// sibling is the other message of a delivery's episode on its channel, or nil.
func (o *outbox) sibling(d *delivery) *delivery {
	for _, s := range o.deliveries {
		if s != d && s.Channel == d.Channel && s.Episode == d.Episode {
			return s
		}
	}
	return nil
}

// due returns the deliveries to try at now, and counts them as under way until finish. A firing that is sent again comes
// with the same record.
func (o *outbox) due(now time.Time) []*delivery {
	firing := map[string]bool{} // channel and episode whose resolved has to wait
	var ready []*delivery
	for key, d := range o.deliveries {
		if d.Type == alert.FiringType && (d.Stage == waiting || o.underway[key]) {
			firing[d.Channel+"/"+d.Episode] = true
		}
		if !d.Stage.final() && !o.underway[key] && !d.Next.After(now) {
			ready = append(ready, d)
		}
	}
	slices.SortFunc(ready, func(a, b *delivery) int { return cmp.Or(a.Next.Compare(b.Next), cmp.Compare(a.Order, b.Order)) })
	var out []*delivery
	for _, d := range ready {
		e, c := o.endpoints[d.Channel], o.channels[d.Channel]
		blocked := d.Type == alert.ResolvedType && firing[d.Channel+"/"+d.Episode]
		if blocked || e.NotBefore.After(now) || o.busy[d.Channel] >= o.most(e, c) {
			continue
		}
		if c.kind.spacing > 0 {
			e.NotBefore = micros(now.Add(c.kind.spacing))
		}
		o.busy[d.Channel]++
		o.underway[d.key()] = true
		out = append(out, d)
	}
	return out
}

// most is how many attempts an endpoint gets at once: one, if it has been failing or wants them spaced.
func (o *outbox) most(e *endpoint, c *Channel) int {
	if e.Failures >= breakerAfter || c.kind.spacing > 0 {
		return 1
	}
	return inFlight
}

// next is when there may be something to do, if nothing happens before; false: never.
func (o *outbox) next(now time.Time) (time.Time, bool) {
	var at time.Time
	for key, d := range o.deliveries {
		when := d.Next
		switch {
		case o.underway[key]:
			continue
		case d.Stage.final():
			when = d.Until
		default:
			if e := o.endpoints[d.Channel]; e.NotBefore.After(when) {
				when = e.NotBefore
			}
			if !when.After(now) {
				continue // waits for another delivery, whose end will be told
			}
		}
		if at.IsZero() || when.Before(at) {
			at = when
		}
	}
	return at, !at.IsZero()
}

// finish notes what became of an attempt at now.
func (o *outbox) finish(d *delivery, out Outcome, now time.Time) {
	key := d.key()
	delete(o.underway, key)
	o.busy[d.Channel]--
	o.dirty[key] = true
	e := o.endpoints[d.Channel]
	d.Attempts++
	d.Error = ""
	if out.Err != nil {
		d.Error = out.Err.Error()
	}
	if out.Result == Delivered || out.Result == Refused { // a refusal is an answer: the endpoint works
		o.works(e)
	}
	switch out.Result {
	case Delivered:
		o.arrived(d, now)
	case Refused:
		o.bury(d, d.Error, now)
	case Gone:
		o.disable(e, d.Error, now)
	default:
		o.failed(d, e, out, now)
	}
}

func (o *outbox) works(e *endpoint) {
	if e.Failures > 0 {
		e.Failures = 0 // a pause that the receiver asked for stays
		o.dirty[endpointKey(e.Channel)] = true
	}
}

func (o *outbox) arrived(d *delivery, now time.Time) {
	resend := o.channels[d.Channel].kind.resend
	if d.Type == alert.FiringType && resend > 0 && d.Stage != delivered && o.sibling(d) == nil {
		d.Stage, d.Attempts, d.Next = resending, 0, micros(now.Add(resend))
		return
	}
	o.settle(d, delivered, now)
}

func (o *outbox) failed(d *delivery, e *endpoint, out Outcome, now time.Time) {
	e.Failures++
	if p := pause(e.Failures, out); p > 0 && now.Add(p).After(e.NotBefore) {
		e.NotBefore = micros(now.Add(p))
	}
	o.dirty[endpointKey(e.Channel)] = true
	if d.Stage.final() { // a resend that was under way when the resolved came
		return
	}
	if d.Stage == resending {
		d.Attempts, d.Next = 0, micros(now.Add(o.channels[d.Channel].kind.resend))
		return
	}
	in, more := retryIn(d.Attempts, out.RetryAfter, o.chance())
	if !more {
		o.bury(d, d.Error, now)
		return
	}
	d.Next = micros(now.Add(in))
}

// settle ends a delivery, for which its message is not needed any more.
func (o *outbox) settle(d *delivery, s stage, now time.Time) {
	d.Stage, d.Next, d.Until, d.Event = s, time.Time{}, micros(now.Add(keepFinal)), nil
	o.dirty[d.key()] = true
}

// bury gives a delivery up and keeps its message for a replay.
func (o *outbox) bury(d *delivery, why string, now time.Time) {
	if d.Stage.final() {
		return
	}
	d.Stage, d.Next, d.Until, d.Error = dead, time.Time{}, micros(now.Add(keepFinal)), why
	o.dirty[d.key()] = true
}

func (o *outbox) disable(e *endpoint, why string, now time.Time) {
	e.Disabled, e.Reason = true, "the endpoint is disabled: "+why
	o.dirty[endpointKey(e.Channel)] = true
	for _, d := range o.deliveries {
		if d.Channel == e.Channel {
			o.bury(d, e.Reason, now)
		}
	}
}

// enable lets an endpoint have messages again. What is dead stays so until it is replayed.
func (o *outbox) enable(channel string) {
	if e := o.endpoints[channel]; e != nil {
		e.Disabled, e.Reason, e.Failures, e.NotBefore = false, "", 0, time.Time{}
		o.dirty[endpointKey(channel)] = true
	}
}

// replay gives a dead delivery a schedule of its own again.
func (o *outbox) replay(channel, message string, now time.Time) error {
	d := o.deliveries[deliveryKey(channel, message)]
	switch {
	case d == nil:
		return fmt.Errorf("replay: channel %q has no message %q", channel, message)
	case d.Stage != dead:
		return fmt.Errorf("replay: message %q of channel %q is %s, not dead", message, channel, d.Stage)
	case o.channels[channel] == nil:
		return fmt.Errorf("replay: no channel %q", channel)
	case o.endpoints[channel].Disabled:
		return fmt.Errorf("replay: channel %q: %s", channel, o.endpoints[channel].Reason)
	}
	d.Stage, d.Attempts, d.Next, d.Until = waiting, 0, micros(now), time.Time{}
	o.dirty[d.key()] = true
	return nil
}

// sweep forgets what has been final long enough.
func (o *outbox) sweep(now time.Time) {
	for key, d := range o.deliveries {
		if d.Stage.final() && !d.Until.After(now) && !o.underway[key] {
			delete(o.deliveries, key)
			o.dirty[key] = true
		}
	}
}

// micros is a time as records keep it, so that a state that was kept goes on as one that was not.
func micros(t time.Time) time.Time { return t.Truncate(time.Microsecond).UTC() }
