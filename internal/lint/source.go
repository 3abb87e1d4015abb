package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// Module is the path that the project's own imports begin with.
const Module = "github.com/freshet-io/freshet"

// file is a parsed source file.
type file struct {
	path  string // from the root, with slashes
	test  bool
	lines int
	text  string
	set   *token.FileSet
	tree  *ast.File
}

// pkg is the file's package, as a path from the root: "." is the root itself.
func (f *file) pkg() string { return path.Dir(f.path) }

func (f *file) line(n ast.Node) int { return f.set.Position(n.Pos()).Line }

// imports calls fn with each import's path.
func (f *file) imports(fn func(n ast.Node, name string)) {
	for _, spec := range f.tree.Imports {
		fn(spec, strings.Trim(spec.Path.Value, `"`))
	}
}

// load parses every Go file under the root of fsys that a person wrote: generated files and folders that begin with a
// dot or are called testdata are left out.
func load(fsys fs.FS) ([]*file, error) {
	var files []*file
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parse(name, string(text))
		if err != nil {
			return err
		}
		if !ast.IsGenerated(f.tree) {
			files = append(files, f)
		}
		return nil
	})
	return files, err
}

func parse(name, text string) (*file, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &file{
		path: name, test: strings.HasSuffix(name, "_test.go"), lines: strings.Count(text, "\n"),
		text: text, set: set, tree: tree,
	}, nil
}
