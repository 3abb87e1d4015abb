package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/freshet-io/freshet/internal/spell"
)

// A decoder turns YAML nodes into the structs of spec.go. It goes on after a mistake, so that all are found.
type decoder struct {
	doc   *document
	is    *issues
	nodes *int // visited so far, over all files
}

// scalar is implemented by the types of single values.
type scalar interface {
	// decodeScalar sets the value; problem says what is wrong in a sentence that starts with what was expected.
	decodeScalar(d *decoder, n ast.Node) (problem string)
	refuse()
	want() string
	jsonSchema() map[string]any
}

// At is a value and where it stands. Set is false where the file says nothing, and where what it says is refused: then
// Bad is true, and what follows from it is not reported again.
type At[T any] struct {
	V        T
	Set, Bad bool
	Pos
}

// field is one field of a spec struct, by its tags.
type field struct {
	name     string
	index    int
	doc      string
	enum     []string
	required bool
	typ      reflect.Type
}

// fieldsOf returns the fields of a spec struct in order. The form is: `yaml:"name" doc:"..."`, optionally `enum:"a,b"`
// and `required:"true"`.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name := sf.Tag.Get("yaml")
		if name == "" {
			continue
		}
		f := field{name: name, index: i, doc: sf.Tag.Get("doc"), required: sf.Tag.Get("required") == "true", typ: sf.Type}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		fs = append(fs, f)
	}
	return fs
}

// follow resolves anchors and aliases, counting every step against the bound on nodes. It returns nil after a mistake.
func (d *decoder) follow(n ast.Node) ast.Node {
	for depth := 0; ; depth++ {
		*d.nodes++
		if *d.nodes > maxNodes {
			if *d.nodes == maxNodes+1 {
				d.is.errorf(d.doc.pos(n), "the definition is too large: more than %d values, aliases followed", maxNodes)
			}
			return nil
		}
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.AliasNode:
			name := x.Value.GetToken().Value
			target, ok := d.doc.anchors[name]
			if !ok || depth > maxDepth {
				d.is.errorf(d.doc.pos(n), "alias *%s has no anchor &%s before it", name, name)
				return nil
			}
			n = target
		case nil:
			return nil
		default:
			return n
		}
	}
}

// value decodes n into v, a struct, a slice, a pointer to a struct, or a scalar. what names the place in messages.
func (d *decoder) value(n ast.Node, v reflect.Value, f field, depth int) {
	at := n
	if n = d.follow(n); n == nil {
		return
	}
	if depth > maxDepth {
		d.is.errorf(d.doc.pos(at), "nested too deeply; at most %d levels", maxDepth)
		return
	}
	if s, ok := v.Addr().Interface().(scalar); ok {
		d.scalar(n, s, f)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.mapping(n, v.Elem(), f.name, depth)
	case reflect.Struct:
		d.mapping(n, v, f.name, depth)
	case reflect.Slice:
		d.sequence(n, v, f, depth)
	}
}

func (d *decoder) scalar(n ast.Node, s scalar, f field) {
	pos := d.doc.pos(n)
	if n.Type() == ast.NullType {
		s.refuse()
		d.is.errorf(pos, "%s has no value", f.name)
		return
	}
	if problem := s.decodeScalar(d, n); problem != "" {
		s.refuse()
		d.is.errorf(pos, "%s must be %s, not %s", f.name, problem, describe(n))
		return
	}
	if t, ok := s.(*At[string]); ok && f.enum != nil && !slices.Contains(f.enum, t.V) {
		d.is.errorf(pos, "%s must be one of %s, not %q%s", f.name, strings.Join(f.enum, ", "), t.V, spell.Suggest(t.V, f.enum))
		t.Set, t.Bad = false, true
	}
}

// sequence decodes a list. One that is there without elements is not nil: what needs some says so, where a list that is missing
// is told of as a field.
func (d *decoder) sequence(n ast.Node, v reflect.Value, f field, depth int) {
	if n.Type() == ast.NullType {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.is.errorf(d.doc.pos(n), "%s must be a list, not %s", f.name, describe(n))
		return
	}
	f.name = "an element of " + f.name
	v.Set(reflect.MakeSlice(v.Type(), 0, len(seq.Values)))
	for _, el := range seq.Values {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(el, item, f, depth+1)
		v.Set(reflect.Append(v, item))
	}
}

// mapping decodes the fields of a struct, and says which are unknown, repeated or missing.
func (d *decoder) mapping(n ast.Node, v reflect.Value, what string, depth int) {
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if p := v.FieldByName("Pos"); p.IsValid() {
		p.Set(reflect.ValueOf(d.doc.pos(n)))
	}
	if n.Type() == ast.NullType {
		d.is.errorf(d.doc.pos(n), "%s has no value", what)
		return
	}
	entries, ok := d.entries(n, what, depth)
	if !ok {
		return
	}
	seen := make(map[string]Pos, len(entries))
	var misspelt []string // what unknown fields were most likely meant to be: not missing as well
	for _, e := range entries {
		key, pos := e.Key.GetToken().Value, d.doc.pos(e.Key)
		i := slices.Index(names, key)
		first, dup := seen[key]
		switch {
		case i < 0:
			d.is.errorf(pos, "%s has no field %q%s", what, key, spell.Suggest(key, names))
			if meant, ok := spell.Nearest(key, names); ok {
				misspelt = append(misspelt, meant)
			}
			continue
		case dup:
			d.is.errorf(pos, "%s is given twice; first in line %d", key, first.Line)
			continue
		}
		seen[key] = pos
		d.value(e.Value, v.Field(fields[i].index), fields[i], depth+1)
	}
	for _, f := range fields {
		if _, ok := seen[f.name]; !ok && f.required && !slices.Contains(misspelt, f.name) {
			d.is.errorf(d.doc.pos(n), "%s has no %s", what, f.name)
		}
	}
}

// entries returns the keys and values of a mapping. Merge keys add those that the mapping does not have itself.
func (d *decoder) entries(n ast.Node, what string, depth int) ([]*ast.MappingValueNode, bool) {
	var own []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		own = m.Values
	case *ast.MappingValueNode:
		own = []*ast.MappingValueNode{m}
	default:
		d.is.errorf(d.doc.pos(n), "%s must be a mapping, not %s", what, describe(n))
		return nil, false
	}
	var out, merged []*ast.MappingValueNode
	for _, e := range own {
		if !e.Key.IsMergeKey() {
			out = append(out, e)
			continue
		}
		from := d.follow(e.Value)
		if from == nil || depth > maxDepth {
			continue
		}
		more, ok := d.entries(from, "what is merged", depth+1)
		if !ok {
			continue
		}
		merged = append(merged, more...)
	}
	for _, e := range merged {
		key := e.Key.GetToken().Value
		if *d.nodes++; *d.nodes > maxNodes {
			d.follow(n) // reports it once
			return nil, false
		}
		if !slices.ContainsFunc(out, func(o *ast.MappingValueNode) bool { return o.Key.GetToken().Value == key }) {
			out = append(out, e)
		}
	}
	return out, true
}
