package train_test

import (
	"context"
	"io"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/train"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"), // the services' own processes
		goleak.IgnoreAnyFunction("github.com/freshet-io/freshet/internal/testenv.start.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

func parsePlane(tb testing.TB, text string) *config.Plane {
	tb.Helper()
	p, err := config.Parse([]config.File{{Name: "plane.yaml", Data: []byte(text)}}, func(string) (string, bool) { return "", false })
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// rowsSpine is a spine in memory.
type rowsSpine struct {
	cols []train.SpineColumn
	rows [][]feature.Value
	next int
}

func (s *rowsSpine) Columns() []train.SpineColumn { return s.cols }
func (s *rowsSpine) Close() error                 { return nil }
func (s *rowsSpine) Next(row []feature.Value) error {
	if s.next == len(s.rows) {
		return io.EOF
	}
	copy(row, s.rows[s.next])
	s.next++
	return nil
}

// rowsOutput is a training set in memory.
type rowsOutput struct {
	features  []offline.Column
	spine     [][]feature.Value
	values    [][]feature.Value
	manifest  *train.Manifest
	committed bool
	aborted   bool
}

func (o *rowsOutput) Text() bool { return false }
func (o *rowsOutput) Begin(_ context.Context, _ []train.SpineColumn, features []offline.Column) error {
	o.features = features
	return nil
}

func (o *rowsOutput) Write(spine, features []feature.Value) error {
	clone := func(vs []feature.Value) []feature.Value {
		vs = slices.Clone(vs)
		for i := range vs {
			vs[i] = vs[i].Clone()
		}
		return vs
	}
	o.spine = append(o.spine, clone(spine))
	o.values = append(o.values, clone(features))
	return nil
}

func (o *rowsOutput) Commit(_ context.Context, m *train.Manifest) error {
	o.manifest, o.committed = m, true
	return nil
}
func (o *rowsOutput) Abort() error { o.aborted = true; return nil }

// column returns a feature's values.
func (o *rowsOutput) column(tb interface{ Fatalf(string, ...any) }, name string) []feature.Value {
	i := slices.IndexFunc(o.features, func(c offline.Column) bool { return c.Name == name })
	if i < 0 {
		tb.Fatalf("no feature %s", name)
	}
	out := make([]feature.Value, len(o.values))
	for r := range o.values {
		out[r] = o.values[r][i]
	}
	return out
}

// build makes a training set in memory.
func build(tb interface {
	Fatal(...any)
	Context() context.Context
}, o train.Options,
) *rowsOutput {
	out := &rowsOutput{}
	o.Output = out
	s, err := train.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Build(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return out
}
