package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/serving"
)

// bareServer does the least that any net/http server has to do for a lookup, so that the rest of what a lookup costs is
// known to be Freshet's. It reads the request, asks Redis for the fields that the real server asks for, in one round
// trip with the same client, checks that all of them came, and writes an answer that the real server gave once to such a
// request: header and body, in one write as there.
//
// It decodes no blob, merges no tile, looks at no TTL and formats no value. It has no plans, deadlines or metrics of its
// own, and knows the requests of lookupCases alone.
type bareServer struct {
	plane   *config.Plane
	store   serving.Fetcher
	clock   func() time.Time
	lookups string // URL of the real server's
	client  *http.Client
	cases   []*bareCase
	buffers sync.Pool // of *bareBuffers
}

// bareCase is a kind of request, with the real server's answer to the first one.
type bareCase struct {
	lookupCase
	view   *config.View
	answer atomic.Pointer[bareAnswer]
}

// bareAnswer is written as it is, by many at once.
type bareAnswer struct {
	header http.Header
	body   []byte
}

// bareBuffers are what one request needs, reused.
type bareBuffers struct {
	in       []byte
	ids      []int
	keys     []byte
	ends     []int
	requests []online.FetchRequest
	fetched  [][][]byte
	memory   online.Memory
	fields   []*viewFields // of each case
}

// newBareServer returns the handler. lookups is the URL of the real server's, which is asked once for each case.
func newBareServer(plane *config.Plane, store serving.Fetcher, clock func() time.Time, lookups string) (*bareServer, error) {
	s := &bareServer{plane: plane, store: store, clock: clock, lookups: lookups, client: &http.Client{Timeout: 10 * time.Second}}
	for _, c := range lookupCases() {
		v, err := c.viewIn(plane)
		if err != nil {
			return nil, err
		}
		s.cases = append(s.cases, &bareCase{lookupCase: c, view: v})
	}
	s.buffers.New = func() any {
		b := new(bareBuffers)
		for _, c := range s.cases {
			b.fields = append(b.fields, newViewFields(c.view, allOf(c.view)))
		}
		return b
	}
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *bareServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b := s.buffers.Get().(*bareBuffers)
	defer s.buffers.Put(b)
	answer, err := s.answer(r, b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	maps.Copy(w.Header(), answer.header)
	serving.WriteAnswer(w, r, answer.body)
}

// answer returns what a request is answered with, once everything has come that its answer would be made of.
func (s *bareServer) answer(r *http.Request, b *bareBuffers) (*bareAnswer, error) {
	const most = 64 << 10
	if r.ContentLength < 0 || r.ContentLength > most {
		return nil, fmt.Errorf("a body of %d bytes; at most %d", r.ContentLength, most)
	}
	b.in = slices.Grow(b.in[:0], int(r.ContentLength))[:r.ContentLength]
	if _, err := io.ReadFull(r.Body, b.in); err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	service, ids, err := parseBareRequest(b.in, b.ids[:0])
	b.ids = ids
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(s.cases, func(c *bareCase) bool { return c.service == string(service) && c.entities == len(ids) })
	if at < 0 {
		return nil, fmt.Errorf("no case of service %s and %d entities", service, len(ids))
	}
	if err := s.fetch(r.Context(), b, at); err != nil {
		return nil, err
	}
	c := s.cases[at]
	answer := c.answer.Load()
	if answer == nil { // several may come here at once, and the last one's stays
		if answer, err = s.ask(r.Context(), b.in); err != nil {
			return nil, fmt.Errorf("the real server's answer: %w", err)
		}
		c.answer.Store(answer)
	}
	return answer, nil
}

var errBareForm = errors.New("the body has not the one form that is read here")

// parseBareRequest reads a body as lookupCase.body writes it and appends its entities to ids. Any other form is refused,
// also what is the same in JSON: white space, another order, escapes. So it needs none of a JSON parser's work, which is
// more with encoding/json than with the real server's own.
func parseBareRequest(body []byte, ids []int) (service []byte, _ []int, err error) {
	rest, opened := bytes.CutPrefix(body, []byte(`{"feature_service":"`))
	service, rest, named := bytes.Cut(rest, []byte(`","entities":{"user_id":[`))
	list, closed := bytes.CutSuffix(rest, []byte(`]}}`))
	if !opened || !named || !closed {
		return nil, ids, errBareForm
	}
	for more := true; more; {
		var digits []byte
		digits, list, more = bytes.Cut(list, []byte{','})
		id, err := strconv.Atoi(string(digits))
		if err != nil {
			return nil, ids, errBareForm
		}
		ids = append(ids, id)
	}
	return service, ids, nil
}

// fetch reads the fields of each distinct entity of b.ids for a case, and checks that they are there.
func (s *bareServer) fetch(ctx context.Context, b *bareBuffers, at int) error {
	slices.Sort(b.ids)
	b.ids = slices.Compact(b.ids)
	b.keys, b.ends = b.keys[:0], b.ends[:0]
	for _, id := range b.ids {
		b.keys = appendEntityKey(b.keys, s.plane, s.cases[at].view, id)
		b.ends = append(b.ends, len(b.keys))
	}
	keys, from := string(b.keys), 0
	fields := b.fields[at].at(s.clock())
	b.requests = b.requests[:0]
	for _, end := range b.ends {
		b.requests = append(b.requests, online.FetchRequest{Key: keys[from:end], Fields: fields})
		from = end
	}
	b.fetched = slices.Grow(b.fetched[:0], len(b.requests))[:len(b.requests)]
	if err := s.store.FetchInto(ctx, b.requests, b.fetched, &b.memory); err != nil {
		return err
	}
	for i, entity := range b.fetched {
		for f := range fields {
			if f >= len(entity) || entity[f] == nil {
				return fmt.Errorf("field %s of %s is not in Redis", fields[f], b.requests[i].Key)
			}
		}
	}
	return nil
}

// ask returns the real server's answer to a request.
func (s *bareServer) ask(ctx context.Context, body []byte) (*bareAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.lookups, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &bareAnswer{header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, a.body)
	}
	a.header.Del("Date") // net/http writes its own
	return a, nil
}
