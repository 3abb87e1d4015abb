package ingest

import "sync/atomic"

// budget is an amount of which parts are taken and given back. Nobody waits for it.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take takes n, or nothing if less is left.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// reservation is what one request has taken of a budget. Its owner gives it back once.
type reservation struct {
	from *budget
	held int64
}

// add takes n more.
func (r *reservation) add(n int64) bool {
	if !r.from.take(n) {
		return false
	}
	r.held += n
	return true
}

// sub gives n back.
func (r *reservation) sub(n int64) {
	r.held -= n
	r.from.give(n)
}

// release gives back all that is held.
func (r *reservation) release() { r.sub(r.held) }
