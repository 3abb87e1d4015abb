package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/inputs"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/offline/replay"
	"github.com/freshet-io/freshet/offline/rowbytes"
	"github.com/freshet-io/freshet/offline/spill"
)

// Options say what is made, of what. The zero value of a field without "required" stands for its default.
type Options struct {
	Plane   *config.Plane  // required
	Service string         // required: the feature service
	Spine   Spine          // required; Build closes it
	Store   replay.Scanner // required: where the sources' events are
	Output  Output         // required

	TimeColumn string         // default event_timestamp, else timestamp
	Zone       *time.Location // of times without a zone; nil: they are an error
	FullNames  bool           // features are called view__feature, as lookups do with full_feature_names
	AsServed   bool

	Dir     string // of temporary files; default the system's
	Memory  int64  // bytes; default 160 MiB
	Workers int    // default as many as cores
	Clock   func() time.Time

	// About the run, for the manifest.
	SpineName, StoreName, OutputName string
}

// defaultMemory is that of Options.Memory.
const defaultMemory = 160 << 20

// Set is a training set in the making.
type Set struct {
	o       Options
	service *config.Service
	plan    *plan
	spool   *spill.Queue
	logs    []*replay.Log
	results []*results
	from    int64 // the earliest and the latest time of the spine
	to      int64
	rows    uint64
	groups  []GroupReport
	nulls   []int64 // of each feature

	stage atomic.Int32
	done  atomic.Int64
	total atomic.Int64
	at    atomic.Int32 // the group that is replayed
}

// Stage is what a Set is busy with.
type Stage int32

// The stages.
const (
	ReadSpine Stage = iota
	ReadEvents
	Join
	WriteSet
)

// String names the stage for people.
func (s Stage) String() string {
	return [...]string{"reading the spine", "reading events", "joining", "writing"}[s]
}

// Progress tells how far a Set is: done of total rows or events of the stage; a total of 0 is not known. It may be called
// at any time.
func (s *Set) Progress() (stage Stage, done, total int64) {
	stage = Stage(s.stage.Load())
	done, total = s.done.Load(), s.total.Load()
	if i := int(s.at.Load()); i > 0 {
		switch l := s.logs[i-1]; stage {
		case ReadEvents:
			done = l.Scanned()
		case Join:
			done, total = l.Visited(), l.Kept()
		}
	}
	return stage, done, total
}

func (s *Set) begin(stage Stage, total int64) {
	s.done.Store(0)
	s.total.Store(total)
	s.stage.Store(int32(stage))
}

// New binds a service to a spine.
func New(o Options) (*Set, error) {
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	s := &Set{o: o, from: math.MaxInt64, to: math.MinInt64}
	var names []string
	for _, sv := range o.Plane.Services {
		names = append(names, sv.Name)
		if sv.Name == o.Service {
			s.service = sv
		}
	}
	if s.service == nil {
		return nil, &UnknownServiceError{Name: o.Service, Hint: spell.Suggest(o.Service, names)}
	}
	var err error
	if s.plan, err = newPlan(&o, s.service, o.Spine.Columns()); err != nil {
		return nil, err
	}
	s.spool = spill.NewQueue(o.Dir, o.Memory/8)
	for _, g := range s.plan.groups {
		l, err := s.newLog(g)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.logs = append(s.logs, l)
	}
	s.nulls = make([]int64, len(s.plan.columns))
	return s, nil
}

// UnknownServiceError says that a definition has no feature service of a name.
type UnknownServiceError struct{ Name, Hint string }

// Error implements error.
func (e *UnknownServiceError) Error() string {
	return fmt.Sprintf("there is no feature service %q%s", e.Name, e.Hint)
}

func (s *Set) newLog(g *group) (*replay.Log, error) {
	q := replay.Query{Table: g.table, Key: g.views[0].view.KeyFields, Fields: g.fields(), Direct: g.views[0].view.Direct, Arrival: s.o.AsServed}
	accept := newAcceptor(g)
	q.Accept = accept.accept
	o := replay.Options{Dir: s.o.Dir, Memory: s.o.Memory / 2 / int64(len(s.plan.groups)), Workers: s.o.Workers}
	l, err := replay.New(o, q)
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", g.table.Name, err)
	}
	accept.grow(l.Workers())
	return l, nil
}

// acceptor drops rows that no view of a group counts, as they are read.
type acceptor struct {
	g  *group
	by [][]*inputs.Evaluator // by worker
}

func newAcceptor(g *group) *acceptor { return &acceptor{g: g} }

func (a *acceptor) grow(workers int) {
	for range workers {
		var es []*inputs.Evaluator
		for _, v := range a.g.views {
			es = append(es, inputs.New(v.view))
		}
		a.by = append(a.by, es)
	}
}

func (a *acceptor) accept(worker int, row []feature.Value) bool {
	return slices.ContainsFunc(a.by[worker], func(e *inputs.Evaluator) bool { return e.Accepts(row) })
}

// Build makes the training set. It is called once, and leaves no temporary files behind.
func (s *Set) Build(ctx context.Context) (m *Manifest, err error) {
	began := s.o.Clock()
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.readSpine(ctx); err != nil {
		return nil, err
	}
	for i := range s.plan.groups {
		if err := s.replay(ctx, i); err != nil {
			return nil, err
		}
	}
	m = s.manifest(began)
	if err := s.write(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

func (s *Set) close() error {
	err := errors.Join(s.o.Spine.Close(), s.spool.Close())
	for _, l := range s.logs {
		err = errors.Join(err, l.Close())
	}
	for _, r := range s.results {
		err = errors.Join(err, r.sorter.Close())
	}
	return err
}

// readSpine checks every row, puts it aside and makes it a probe of every replay.
func (s *Set) readSpine(ctx context.Context) error {
	s.begin(ReadSpine, 0)
	p := s.plan
	row := make([]feature.Value, len(p.cols))
	var rec, key []byte
	for ; ; s.rows++ {
		if s.rows%1024 == 0 {
			s.done.Store(int64(s.rows))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := s.o.Spine.Next(row); isEnd(err) {
			break
		} else if err != nil {
			return err
		}
		at, err := p.time(row)
		if err == nil {
			key, err = s.probe(key, row, at)
		}
		if err == nil {
			err = p.checkRequest(row)
		}
		if err != nil {
			return fmt.Errorf("row %d of the spine: %w", s.rows+1, err)
		}
		s.from, s.to = min(s.from, at), max(s.to, at)
		rec = rec[:0]
		for i := range row {
			rec = rowbytes.Append(rec, &row[i])
		}
		if err := s.spool.Add(rec); err != nil {
			return err
		}
	}
	if s.rows == 0 {
		return errNoRows
	}
	return nil
}

var errNoRows = errors.New("the spine has no rows")

func (p *plan) time(row []feature.Value) (int64, error) {
	t, err := p.at.instant(&row[p.atCol])
	if err != nil {
		return 0, fmt.Errorf("column %q: %w", p.cols[p.atCol].Name, err)
	}
	return t, nil
}

// probe asks every replay about a row.
func (s *Set) probe(key []byte, row []feature.Value, at int64) ([]byte, error) {
	for i, g := range s.plan.groups {
		key = key[:0]
		for _, k := range g.keys {
			name := s.plan.cols[k.col].Name
			v, err := k.conv.read(&row[k.col])
			if err != nil {
				return key, fmt.Errorf("column %q: %w", name, err)
			}
			if v.IsNull() {
				return key, fmt.Errorf("column %q: the join key of entity %s is null", name, g.entity.Name)
			}
			if key, err = feature.AppendKey(key, v); err != nil {
				return key, fmt.Errorf("column %q: %w", name, err)
			}
		}
		if err := s.logs[i].Probe(key, at, s.rows); err != nil {
			return key, err
		}
	}
	return key, nil
}

func (p *plan) checkRequest(row []feature.Value) error {
	for _, r := range p.request {
		if _, err := r.conv.read(&row[r.col]); err != nil {
			return fmt.Errorf("column %q: %w", p.cols[r.col].Name, err)
		}
	}
	return nil
}

// resultBuckets is over how many ranges of rows results are spread.
const resultBuckets = 64

// replay computes one group's features of every row.
func (s *Set) replay(ctx context.Context, i int) error {
	g, l := s.plan.groups[i], s.logs[i]
	s.at.Store(int32(i + 1))
	defer s.at.Store(0)
	covered, err := s.o.Store.Covered(ctx, g.table)
	if err != nil {
		return fmt.Errorf("what is stored of %s: %w", g.table.Name, err)
	}
	var records int64
	for _, r := range covered {
		records += r.End - r.First
	}
	s.begin(ReadEvents, records)
	from, to := g.span(s.from, s.to, s.o.AsServed)
	l.Span(from, to)
	if err := l.Load(ctx, s.o.Store); err != nil {
		return err
	}
	s.begin(Join, 0)
	sorter := spill.New(spill.Options{Dir: s.o.Dir, Memory: s.o.Memory / 4 / int64(len(s.plan.groups)), Buckets: resultBuckets})
	res := &results{sorter: sorter, reader: sorter.Reader()}
	s.results = append(s.results, res)
	rows := s.rows
	bucket := func(row uint64) int { return int(row * resultBuckets / rows) }
	var writers []*spill.Writer
	for range l.Workers() {
		writers = append(writers, sorter.Writer())
	}
	err = l.Each(ctx, func(worker int) replay.Visitor { return newJoiner(g, writers[worker], bucket) })
	if err != nil {
		return fmt.Errorf("features of entity %s from %s: %w", g.entity.Name, g.table.Name, err)
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			return err
		}
	}
	s.groups = append(s.groups, s.report(g, l, from, to, covered))
	return l.Close()
}

func errLost(row uint64) error { return fmt.Errorf("row %d of the spine has no result", row+1) }

// write reads the spine back beside its features, and writes both.
func (s *Set) write(ctx context.Context, m *Manifest) (err error) {
	p, out := s.plan, s.o.Output
	cols, typed := s.outputColumns()
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Abort())
		}
	}()
	if err := out.Begin(ctx, cols, p.columns); err != nil {
		return err
	}
	s.begin(WriteSet, int64(s.rows))
	row := make([]feature.Value, len(p.cols))
	shown := make([]feature.Value, len(p.cols))
	values := make([][]feature.Value, len(p.groups))
	for i, g := range p.groups {
		values[i] = make([]feature.Value, g.width)
	}
	d := newDeriver(p)
	for n := range s.rows {
		if n%1024 == 0 {
			s.done.Store(int64(n))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		rec, err := s.spool.Next()
		if err != nil {
			return err
		}
		for i := range row {
			if rec, err = rowbytes.Parse(rec, &row[i]); err != nil {
				return err
			}
		}
		for i := range p.groups {
			if err := s.results[i].next(n, values[i]); err != nil {
				return err
			}
		}
		features, err := d.features(values, row)
		if err != nil {
			return fmt.Errorf("row %d of the spine: %w", n+1, err)
		}
		for i := range features {
			if features[i].IsNull() {
				s.nulls[i]++
			}
		}
		if err := show(shown, row, typed); err != nil {
			return fmt.Errorf("row %d of the spine: %w", n+1, err)
		}
		if err := out.Write(shown, features); err != nil {
			return err
		}
	}
	m.finish(s)
	return out.Commit(ctx, m)
}

// outputColumns returns the columns of the spine as they are written, and what converts the values of those that are
// not written as they are.
func (s *Set) outputColumns() ([]SpineColumn, []*converter) {
	cols := slices.Clone(s.plan.cols)
	typed := make([]*converter, len(cols))
	for i := range cols {
		if !cols[i].Text || s.o.Output.Text() {
			continue
		}
		cols[i].Text = false
		if c := s.plan.typed[i]; c != nil {
			cols[i].Type, typed[i] = c.to, c
		}
	}
	return cols, typed
}

func show(dst, row []feature.Value, typed []*converter) error {
	for i := range row {
		if typed[i] == nil {
			dst[i] = row[i]
			continue
		}
		var err error
		if dst[i], err = typed[i].read(&row[i]); err != nil {
			return err
		}
	}
	return nil
}

// deriver puts a row's features together: stored ones, then derived ones.
type deriver struct {
	p   *plan
	in  []feature.Value // of the derived features' programs
	out []feature.Value
}

func newDeriver(p *plan) *deriver {
	return &deriver{p: p, in: make([]feature.Value, len(p.outputs)+len(p.request)), out: make([]feature.Value, len(p.columns))}
}

func (d *deriver) features(values [][]feature.Value, row []feature.Value) ([]feature.Value, error) {
	for i, o := range d.p.outputs {
		d.out[i] = values[o.group][o.slot]
	}
	derived := d.p.service.Derived
	if len(derived) == 0 {
		return d.out, nil
	}
	n := copy(d.in, d.out[:len(d.p.outputs)])
	for i, r := range d.p.request {
		var err error
		if d.in[n+i], err = r.conv.read(&row[r.col]); err != nil {
			return nil, fmt.Errorf("column %q: %w", d.p.cols[r.col].Name, err)
		}
	}
	for i := range derived {
		out := &d.out[n+i]
		*out = feature.Value{}
		var scratch feature.Value
		if v, ok := derived[i].Program.Eval(d.in, &scratch); ok {
			*out = *v
		}
	}
	return d.out, nil
}
