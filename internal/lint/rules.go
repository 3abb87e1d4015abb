package lint

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxLines bounds a file; past it a file has two subjects.
const maxLines = 600

// bannedImports names what not to import, and why or what instead. The key ends a path: a version may follow.
var bannedImports = map[string]string{
	"log":                         "use log/slog with the logger that was passed in",
	"encoding/gob":                "its encoding is not ours to keep readable",
	"io/ioutil":                   "use io and os",
	"math/rand":                   "use math/rand/v2 with a seed, or crypto/rand",
	"github.com/pkg/errors":       "use errors and fmt",
	"github.com/sirupsen/logrus":  "use log/slog",
	"github.com/google/cel-go":    "it moved to cel.dev/cel-go",
	"github.com/stretchr/testify": "compare and say what differs",
	"github.com/golang/protobuf":  "use google.golang.org/protobuf",
	"github.com/hamba/avro":       "it is no longer maintained",
}

// vagueFolders are names that say nothing of what is in them.
var vagueFolders = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "lib"}

// unfinished are words of code that is not done, and paths of one machine.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|HACK|XXX)\b|(?i:\bfor now\b|\bnot implemented yet\b)|"?/(home|Users|work)/[a-z]`)

// checkFile returns what is wrong with one file.
func checkFile(f *file) []string {
	var out []string
	if f.lines > maxLines {
		out = append(out, fmt.Sprintf("%s: %d lines; split it by subject (at most %d)", f.path, f.lines, maxLines))
	}
	for _, name := range strings.Split(f.pkg(), "/") {
		if slices.Contains(vagueFolders, name) {
			out = append(out, fmt.Sprintf("%s: a folder called %q; name what it knows", f.path, name))
		}
	}
	out = append(out, checkBannedImports(f)...)
	out = append(out, checkWords(f)...)
	out = append(out, checkCalls(f)...)
	return append(out, checkDirection(f)...)
}

func checkBannedImports(f *file) []string {
	var out []string
	ban := func(n ast.Node, name, why string) {
		out = append(out, fmt.Sprintf("%s:%d: imports %s: %s", f.path, f.line(n), name, why))
	}
	f.imports(func(n ast.Node, name string) {
		for banned, why := range bannedImports {
			if name == banned || strings.Contains(banned, ".") && within(name, banned) {
				ban(n, name, why)
			}
		}
		if name == "testing" && !f.test && !within(f.pkg(), "internal/testenv") && !strings.HasSuffix(f.pkg(), "test") {
			ban(n, name, "only tests do")
		}
		if !f.test && isCore(f.pkg()) && slices.Contains([]string{"os", "net", "net/http", "math/rand/v2", "crypto/rand"}, name) {
			ban(n, name, "the core has no input, output or chance")
		}
	})
	return out
}

// isCore tells the packages whose results depend on their arguments alone.
func isCore(pkg string) bool { return within(pkg, "internal/feature") || within(pkg, "internal/expr") }

func checkWords(f *file) []string {
	if f.pkg() == "internal/lint" {
		return nil // it spells out what it looks for
	}
	var out []string
	for i, line := range strings.Split(f.text, "\n") {
		if word := unfinished.FindString(line); word != "" {
			out = append(out, fmt.Sprintf("%s:%d: %q", f.path, i+1, word))
		}
	}
	return out
}

// checkCalls finds calls of what a package must not do.
func checkCalls(f *file) []string {
	if f.test {
		return nil
	}
	command := f.tree.Name.Name == "main" || within(f.pkg(), "internal/cli")
	var out []string
	ban := func(n ast.Node, call, why string) {
		out = append(out, fmt.Sprintf("%s:%d: calls %s: %s", f.path, f.line(n), call, why))
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := callName(call)
		switch {
		case !command && slices.Contains([]string{"fmt.Print", "fmt.Println", "fmt.Printf", "print", "println"}, name):
			ban(n, name, "a library writes to what it was given")
		case !command && name == "os.Exit":
			ban(n, name, "return an error")
		case isCore(f.pkg()) && slices.Contains([]string{"time.Now", "time.Since", "time.Until", "time.Sleep"}, name):
			ban(n, name, "time is an argument of the core")
		}
		return true
	})
	return out
}

func callName(call *ast.CallExpr) string {
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		return fn.Name
	case *ast.SelectorExpr:
		if pkg, ok := fn.X.(*ast.Ident); ok {
			return pkg.Name + "." + fn.Sel.Name
		}
	}
	return ""
}

// checkPackages finds packages that do not say what they are for.
func checkPackages(files []*file) []string {
	documented := map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		doc := ast.CommentGroup{}
		if f.tree.Doc != nil {
			doc = *f.tree.Doc
		}
		want := "Package " + f.tree.Name.Name + " "
		if f.tree.Name.Name == "main" {
			want = "Command "
		}
		documented[f.pkg()] = documented[f.pkg()] || strings.HasPrefix(doc.Text(), want)
	}
	var out []string
	for pkg, ok := range documented {
		if !ok {
			out = append(out, fmt.Sprintf("%s: no comment that begins with what the package is (%q)", pkg, "Package "+path.Base(pkg)))
		}
	}
	slices.Sort(out)
	return out
}
