package expr

import (
	"fmt"
	"regexp"

	"cel.dev/cel-go/cel"
	"github.com/freshet-io/freshet/internal/feature"
)

// Variable is a value that an expression may read.
type Variable struct {
	Name    string // may be dotted: "request.distance"
	Type    feature.Type
	Unknown bool // the type is not known: what reads the variable can be checked and not compiled
}

// Env is the set of variables that expressions are compiled against. It is immutable and safe for concurrent use.
type Env struct {
	cel     *cel.Env
	vars    []Variable
	index   map[string]int
	unknown bool // a variable's type is not known
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// NewEnv returns an environment in which variable i is read from row[i]. A variable whose name is a word of the
// language (`in`, `true`, `return`) is allowed and cannot be read.
func NewEnv(vars []Variable) (*Env, error) {
	base, err := dialect()
	if err != nil {
		return nil, fmt.Errorf("expression dialect: %w", err)
	}
	e := &Env{vars: append([]Variable(nil), vars...), index: make(map[string]int, len(vars))}
	var opts []cel.EnvOption
	for i, v := range vars {
		if !variableName.MatchString(v.Name) {
			return nil, fmt.Errorf("%q is not a variable name: letters, digits and _ only, not starting with a digit", v.Name)
		}
		if _, dup := e.index[v.Name]; dup {
			return nil, fmt.Errorf("variable %q is declared twice", v.Name)
		}
		t, ok := celType(v.Type)
		if v.Unknown {
			t, ok, e.unknown = cel.DynType, true, true
		}
		if !ok {
			return nil, fmt.Errorf("variable %q: %s is not the type of a variable", v.Name, v.Type)
		}
		e.index[v.Name] = i
		opts = append(opts, cel.Variable(v.Name, t))
	}
	if e.cel, err = base.Extend(opts...); err != nil {
		return nil, fmt.Errorf("expression variables: %w", err)
	}
	return e, nil
}

// Partly reports whether the type of a variable is not known, so that expressions can only be checked.
func (e *Env) Partly() bool { return e.unknown }

// Names returns the names of the variables in order.
func (e *Env) Names() []string {
	names := make([]string, len(e.vars))
	for i, v := range e.vars {
		names[i] = v.Name
	}
	return names
}
