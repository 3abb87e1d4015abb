package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// mayImport lists what the packages of a folder import of the project's own, besides packages of the same folder. The
// first entry whose folder holds the package counts; "" is anything. Tests may import what they like: they wire.
var mayImport = []struct {
	folder  string
	allowed []string
}{
	{"internal/feature", nil},
	{"internal/spell", nil},
	{"internal/expr", []string{"internal/feature", "internal/spell"}},
	{"config", []string{"internal/feature", "internal/expr", "internal/spell"}},
	{"ingest", []string{"config", "internal"}},
	{"processors", []string{"config", "ingest", "monitors", "internal"}},
	{"serving", []string{"config", "internal"}},
	{"offline", []string{"config", "ingest", "internal"}},
	{"monitors", []string{"config", "internal"}},
	{"deploy", []string{""}},
	{"internal/cli", []string{""}},
	{"internal", []string{"config", "internal"}},
	{".", []string{"internal/cli"}},
}

// wiring is what only wiring may import, whatever the table says of "internal".
var wiring = []string{"internal/cli", "deploy"}

func checkDirection(f *file) []string {
	if f.test {
		return nil
	}
	folder, allowed := rule(f.pkg())
	var out []string
	f.imports(func(n ast.Node, name string) {
		own, ok := strings.CutPrefix(name, Module+"/")
		if !ok || within(own, folder) && folder != "." {
			return
		}
		may := slices.ContainsFunc(allowed, func(a string) bool { return a == "" || within(own, a) })
		if may && slices.ContainsFunc(wiring, func(w string) bool { return within(own, w) }) {
			may = slices.ContainsFunc(allowed, func(a string) bool { return a == "" || slices.Contains(wiring, a) })
		}
		if within(own, "internal/testenv") {
			may = false // tests alone
		}
		if !may {
			out = append(out, fmt.Sprintf("%s:%d: %s may not import %s", f.path, f.line(n), f.pkg(), own))
		}
	})
	return out
}

func rule(pkg string) (folder string, allowed []string) {
	for _, r := range mayImport {
		if within(pkg, r.folder) {
			return r.folder, r.allowed
		}
	}
	return pkg, nil
}

func within(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}
