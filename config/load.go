package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Load reads a plane from files and folders; of a folder, the *.yaml and *.yml files directly in it. Together they are
// one definition. What is wrong is returned as Issues, all of it; what is only worth knowing is in Plane.Warnings.
func Load(paths ...string) (*Plane, error) {
	files, err := readFiles(paths)
	if err != nil {
		return nil, err
	}
	return Parse(files, os.LookupEnv)
}

// Parse is Load for files in memory; lookup finds environment variables.
func Parse(files []File, lookup func(string) (string, bool)) (*Plane, error) {
	is := &issues{}
	spec, ok := decodeFiles(files, is)
	if !ok {
		found, _ := is.sorted()
		return nil, found
	}
	if len(files) == 0 {
		return nil, errors.New("read definition: no files")
	}
	r := &resolver{first: files[0].Name, issues: is, spec: spec, env: expander{lookup: lookup, is: is}, plane: &Plane{}}
	r.resolve()
	found, warnings := is.sorted()
	if len(found) > 0 {
		return nil, append(found, warnings...)
	}
	r.plane.Warnings = warnings
	return r.plane, nil
}

// readFiles reads what the paths name, in order, folders sorted by name.
func readFiles(paths []string) ([]File, error) {
	var names []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		if !info.IsDir() {
			names = append(names, p)
			continue
		}
		entries, err := os.ReadDir(p) // sorted
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		before := len(names)
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && (ext == ".yaml" || ext == ".yml") {
				names = append(names, filepath.Join(p, e.Name()))
			}
		}
		if len(names) == before {
			return nil, fmt.Errorf("read definition: no *.yaml or *.yml file in %s", p)
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("read definition: %d files; at most %d", len(names), maxFiles)
	}
	files := make([]File, len(names))
	for i, n := range names {
		data, err := readBounded(n, maxFileBytes)
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		files[i] = File{Name: n, Data: data}
	}
	return files, nil
}

// decodeFiles decodes all files into one form. It returns false if one is not YAML: then what the others say cannot be
// judged.
func decodeFiles(files []File, is *issues) (all *planeSpec, ok bool) {
	all, ok = &planeSpec{}, true
	nodes := 0
	for _, f := range files {
		doc := parseFile(f, is)
		if doc == nil || doc.root == nil {
			ok = ok && doc != nil
			continue
		}
		var one planeSpec
		d := &decoder{doc: doc, is: is, nodes: &nodes}
		d.value(doc.root, reflect.ValueOf(&one).Elem(), field{name: "the definition"}, 0)
		mergeSpec(reflect.ValueOf(all).Elem(), reflect.ValueOf(&one).Elem(), is)
	}
	return all, ok
}

// mergeSpec adds one file's sections to those of the others: lists are joined, everything else may be given once.
func mergeSpec(to, from reflect.Value, is *issues) {
	for _, f := range fieldsOf(to.Type()) {
		dst, src := to.Field(f.index), from.Field(f.index)
		switch {
		case src.IsZero():
		case src.Kind() == reflect.Slice:
			dst.Set(reflect.AppendSlice(dst, src))
		case dst.IsZero():
			dst.Set(src)
		case f.name == "connections":
			mergeSpec(dst.Elem(), src.Elem(), is)
		default:
			is.errorf(placeOf(src), "%s is given twice; first in %s", f.name, seenFrom(placeOf(dst), placeOf(src)))
		}
	}
}

// placeOf returns the first place found in a decoded value.
func placeOf(v reflect.Value) Pos {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return Pos{}
	}
	if p, ok := v.Interface().(Pos); ok {
		return p
	}
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		if p := placeOf(v.Field(i)); p.Line > 0 {
			return p
		}
	}
	return Pos{}
}

// seenFrom names a place in a message about another: by its line alone in the same file.
func seenFrom(p, from Pos) string {
	if p.File == from.File {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// names collects the names of a section and says which are given twice.
type names struct {
	kind  string
	first map[string]Pos
	order []string
}

func (n *names) add(is *issues, a At[string]) bool {
	if !a.Set {
		return false
	}
	if n.first == nil {
		n.first = map[string]Pos{}
	}
	if p, dup := n.first[a.V]; dup {
		is.errorf(a.Pos, "%s %q is defined twice; first in %s", n.kind, a.V, seenFrom(p, a.Pos))
		return false
	}
	n.first[a.V] = a.Pos
	n.order = append(n.order, a.V)
	return true
}

func (n *names) sorted() []string { return slices.Sorted(slices.Values(n.order)) }
