package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
)

// Fetcher reads fields of entities from the online store: out[i][j] is Fields[j] of reqs[i], nil when absent. The bytes
// are valid until mem is used again.
type Fetcher interface {
	FetchInto(ctx context.Context, reqs []online.FetchRequest, out [][][]byte, mem *online.Memory) error
}

// batch is one lookup on its way: columns in, then values by row. It is reused; a face fills columns, calls run, and
// reads the rest before it gives the batch back. Values may share memory with the request, not with what was fetched.
type batch struct {
	plan    *plan
	at      int64 // the reader's clock, microseconds
	rows    int
	columns [][]feature.Value // for each of plan.columns, a value a row
	groups  []groupRows       // for each of plan.groups
	derived []feature.Value   // row by row, for each of plan.derived
	version []feature.Version // for each of plan.views: the newest read; zero when nothing was

	reader   feature.Reader
	requests []online.FetchRequest
	memory   online.Memory // of fetched
	fetched  [][][]byte
	fields   [][]byte // backs fetched
	keyBytes []byte
	keyEnds  []int
	keyVals  []feature.Value
	distinct map[string]int32
	again    []cell // to be read again
	outside  int    // values null for being out of range
	row      []feature.Value
}

// groupRows holds the distinct entities of a group, each with the group's values and, for each view, what was found.
type groupRows struct {
	index  []int32 // row → distinct entity
	first  int     // the first entity's place among the requests
	n      int     // distinct entities
	values []feature.Value
	found  []found

	fields []string   // of each entity: of each view the head, the tail's first part, pages
	reads  []viewRead // for each view
	places []int      // of all views' pages
}

// viewRead says where the fields of a view are among those of its group: the head's, the tail's, and those of the pages
// that the features need at the lookup's clock.
type viewRead struct{ field, place, pages int }

// found is what was read of one view of one entity.
type found struct {
	status fieldStatus // of the view's nulls: NULL_VALUE where the entity is present
	time   int64       // the view's timestamp, 0 when the entity was not found
}

// cell is one view of one distinct entity.
type cell struct{ group, entity, view int }

// resize returns s with length n, its elements not cleared.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// reset prepares the batch for a plan.
func (b *batch) reset(pl *plan, at int64) {
	b.plan, b.at, b.rows = pl, at, 0
	for len(b.columns) < len(pl.columns) {
		b.columns = append(b.columns, nil)
	}
	for i := range b.columns {
		b.columns[i] = b.columns[i][:0]
	}
	for len(b.groups) < len(pl.groups) {
		b.groups = append(b.groups, groupRows{})
	}
	b.version = resize(b.version, len(pl.views))
	clear(b.version)
}

// release forgets the lookup's data, so that a waiting batch keeps nothing alive, and tells whether the batch is small
// enough to wait for the next lookup.
func (b *batch) release() bool {
	const most, mostBytes = 16 << 10, 4 << 20 // values; bytes fetched
	size := cap(b.fields) + cap(b.derived)
	b.memory.Forget()
	for i := range b.columns {
		clear(b.columns[i][:cap(b.columns[i])])
		size += cap(b.columns[i])
	}
	for i := range b.groups {
		clear(b.groups[i].values)
		size += cap(b.groups[i].values)
	}
	clear(b.derived)
	clear(b.fields)
	clear(b.requests)
	clear(b.fetched)
	clear(b.distinct)
	clear(b.row)
	clear(b.keyVals)
	b.plan = nil
	return size <= most && b.memory.Size() <= mostBytes
}

// checkRows finds the number of rows, which every column must have.
func (b *batch) checkRows() *Error {
	if len(b.plan.columns) == 0 {
		return invalid("missing", "no columns; name the entities to look up").at("entities")
	}
	b.rows = len(b.columns[0])
	for i := range b.plan.columns[1:] {
		if n := len(b.columns[i+1]); n != b.rows {
			return invalid("value_error", "%d values, but %s has %d", n, b.plan.columns[0].name, b.rows).at("entities", b.plan.columns[i+1].name)
		}
	}
	if b.rows == 0 {
		return invalid("too_short", "no rows").at("entities", b.plan.columns[0].name)
	}
	return nil
}

// run looks the rows up.
func (b *batch) run(ctx context.Context, l *Lookups) *Error {
	start := time.Now()
	if err := b.checkRows(); err != nil {
		return err
	}
	b.requests = b.requests[:0]
	for g := range b.plan.groups {
		if err := b.addRequests(g, l.plane.Project); err != nil {
			return err
		}
	}
	if err := b.fetch(ctx, l); err != nil {
		return err
	}
	if err := b.evaluate(ctx, l); err != nil {
		return err
	}
	b.derive()
	b.count(time.Since(start))
	if b.outside > 0 {
		l.metrics.outside.Add(float64(b.outside))
	}
	return nil
}

// addRequests adds a request for each distinct entity of a group.
func (b *batch) addRequests(g int, project string) *Error {
	group, rows := &b.plan.groups[g], &b.groups[g]
	b.addFields(group, rows)
	b.keyBytes, b.keyEnds = b.keyBytes[:0], b.keyEnds[:0]
	b.keyVals = resize(b.keyVals, len(group.keys))
	var scratch [128]byte
	for r := range b.rows {
		for i, c := range group.keys {
			b.keyVals[i] = b.columns[c][r]
		}
		key, err := feature.AppendKey(scratch[:0], b.keyVals...)
		if err != nil {
			return invalid("value_error", "%v", err).at("entities", b.plan.columns[group.keys[0]].name).inRow(r)
		}
		b.keyBytes = online.AppendKey(b.keyBytes, project, group.entity.Name, key)
		b.keyEnds = append(b.keyEnds, len(b.keyBytes))
	}
	keys := string(b.keyBytes)
	rows.index = resize(rows.index, b.rows)
	rows.first = len(b.requests)
	if b.distinct == nil {
		b.distinct = make(map[string]int32)
	}
	clear(b.distinct)
	start := 0
	for r, end := range b.keyEnds {
		key := keys[start:end]
		start = end
		u, seen := int32(len(b.requests)-rows.first), false
		if b.rows > 1 {
			if at, ok := b.distinct[key]; ok {
				u, seen = at, true
			} else {
				b.distinct[key] = u
			}
		}
		rows.index[r] = u
		if !seen {
			b.requests = append(b.requests, online.FetchRequest{Key: key, Fields: rows.fields})
		}
	}
	rows.n = len(b.requests) - rows.first
	return nil
}

// addFields finds the fields that are read of each entity of a group.
func (b *batch) addFields(group *planGroup, rows *groupRows) {
	rows.fields, rows.reads, rows.places = rows.fields[:0], rows.reads[:0], rows.places[:0]
	for v := range group.views {
		view := &group.views[v]
		at := viewRead{field: len(rows.fields), place: len(rows.places)}
		rows.fields = append(rows.fields, view.head, view.tail)
		rows.places = view.view.Layout.AppendPages(rows.places, view.want, b.at)
		for _, place := range rows.places[at.place:] {
			rows.fields = append(rows.fields, view.pages[place])
		}
		at.pages = len(rows.places) - at.place
		rows.reads = append(rows.reads, at)
	}
}

// fetch reads all entities of all groups at once.
func (b *batch) fetch(ctx context.Context, l *Lookups) *Error {
	b.fetched = resize(b.fetched, len(b.requests))
	total := 0
	for i := range b.requests {
		total += len(b.requests[i].Fields)
	}
	b.fields = resize(b.fields, total)
	clear(b.fields)
	total = 0
	for i := range b.requests {
		n := len(b.requests[i].Fields)
		b.fetched[i] = b.fields[total : total+n : total+n]
		total += n
	}
	return l.fetch(ctx, b.requests, b.fetched, &b.memory)
}

// evaluate reads every view of every distinct entity at the reader's clock.
func (b *batch) evaluate(ctx context.Context, l *Lookups) *Error {
	b.again, b.outside = b.again[:0], 0
	torn := 0
	for g := range b.plan.groups {
		group, rows := &b.plan.groups[g], &b.groups[g]
		rows.values = resize(rows.values, rows.n*group.width)
		rows.found = resize(rows.found, rows.n*len(group.views))
		for u := range rows.n {
			for v := range group.views {
				at, r := cell{g, u, v}, &rows.reads[v]
				places := rows.places[r.place : r.place+r.pages]
				err := b.read(at, places, b.fetched[rows.first+u][r.field:r.field+2+r.pages])
				if errors.Is(err, feature.ErrTornBlob) {
					torn++
					b.again = append(b.again, at)
				} else if errors.Is(err, feature.ErrEarlierPage) {
					b.again = append(b.again, at)
				} else if err != nil {
					return b.unreadable(at, err)
				}
			}
		}
	}
	if len(b.again) == 0 {
		return nil
	}
	l.metrics.torn.Add(float64(torn))
	return b.readAgain(ctx, l)
}

// read evaluates one cell from its fields: the head, the tail's first part, and the pages of places.
func (b *batch) read(at cell, places []int, fields [][]byte) error {
	group, rows := &b.plan.groups[at.group], &b.groups[at.group]
	view := &group.views[at.view]
	slot := at.entity*group.width + view.slot
	out := rows.values[slot : slot+len(view.want)]
	st, eventTime, version, err := b.reader.ReadPages(view.view.Layout, fields[0], fields[1], places, fields[2:], b.at, view.want, out)
	if err != nil {
		return err
	}
	b.outside += b.reader.OutOfRange()
	f := found{status: viewStatus(st), time: eventTime}
	if f.status == statusNotFound {
		f.time = 0
	}
	rows.found[at.entity*len(group.views)+at.view] = f
	if newest := &b.version[view.global]; bytes.Compare(version[:], newest[:]) > 0 {
		*newest = version
	}
	return nil
}

// readAgain fetches the cells once more that could not be read, with all pages of their views: a clock far behind needs
// other pages than it asked for, and what some writer left torn may be whole by now. Numbers are never made of parts
// that do not belong together; what is still torn fails the lookup, and a client that tries again will find it whole.
func (b *batch) readAgain(ctx context.Context, l *Lookups) *Error {
	requests := make([]online.FetchRequest, len(b.again))
	fetched := make([][][]byte, len(b.again))
	for i, at := range b.again {
		view := &b.plan.groups[at.group].views[at.view]
		fields := append([]string{view.head, view.tail}, view.pages...)
		requests[i] = online.FetchRequest{Key: b.requests[b.groups[at.group].first+at.entity].Key, Fields: fields}
		fetched[i] = make([][]byte, len(fields))
	}
	if err := l.fetch(ctx, requests, fetched, new(online.Memory)); err != nil {
		return err
	}
	var places []int // all
	for i, at := range b.again {
		for len(places) < len(fetched[i])-2 {
			places = append(places, len(places))
		}
		err := b.read(at, places[:len(fetched[i])-2], fetched[i])
		if errors.Is(err, feature.ErrTornBlob) {
			view := b.plan.groups[at.group].views[at.view].view
			return &Error{Kind: Unavailable, Row: -1, Message: fmt.Sprintf("view %s is being rewritten, try again", view.Name), Err: err}
		}
		if err != nil {
			return b.unreadable(at, err)
		}
	}
	return nil
}

func (b *batch) unreadable(at cell, err error) *Error {
	view := b.plan.groups[at.group].views[at.view].view
	key := b.requests[b.groups[at.group].first+at.entity].Key
	return &Error{
		Kind: Internal, Row: -1, Message: "stored features of view " + view.Name + " cannot be read",
		Err: fmt.Errorf("read view %s of %s: %w", view.Name, key, err),
	}
}

// derive computes the service's derived features of every row.
func (b *batch) derive() {
	pl := b.plan
	b.derived = resize(b.derived, b.rows*len(pl.derived))
	if len(pl.derived) == 0 {
		return
	}
	b.row = resize(b.row, len(pl.gather)+len(pl.request))
	for r := range b.rows {
		for i, o := range pl.gather {
			b.row[i] = *b.value(o, r)
		}
		for i, c := range pl.request {
			b.row[len(pl.gather)+i] = b.columns[c][r]
		}
		for i, d := range pl.derived {
			out := &b.derived[r*len(pl.derived)+i]
			var scratch feature.Value
			v, ok := d.Program.Eval(b.row, &scratch)
			if !ok {
				d.failed.Inc()
				*out = feature.Value{}
				continue
			}
			*out = *v
		}
	}
}

// value returns a stored feature of a row.
func (b *batch) value(o planOutput, row int) *feature.Value {
	rows := &b.groups[o.group]
	return &rows.values[int(rows.index[row])*b.plan.groups[o.group].width+o.slot]
}

// count counts the features read by view and status, and the time of reading by view and worst status.
func (b *batch) count(took time.Duration) {
	for g := range b.plan.groups {
		group, rows := &b.plan.groups[g], &b.groups[g]
		for v := range group.views {
			view := &group.views[v]
			var tally [len(statusNames)]int
			for u := range rows.n {
				null := rows.found[u*len(group.views)+v].status
				for i := range view.want {
					if rows.values[u*group.width+view.slot+i].IsNull() {
						tally[null]++
					} else {
						tally[statusPresent]++
					}
				}
			}
			worst := statusPresent
			for _, s := range slices.Backward(worstFirst[:]) {
				if n := tally[s]; n > 0 {
					worst = s
					view.metrics.features[s].Add(float64(n))
				}
			}
			view.metrics.seconds[worst].Observe(took.Seconds())
		}
	}
}
