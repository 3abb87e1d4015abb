package lint

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// metricName is the whole of a metric's name, in code and in the manual, where "_*" at the end stands for a family.
var metricName = regexp.MustCompile(`^freshet_[a-z0-9_]+(\*)?$`)

// TestManualNamesEveryMetric holds the table of docs/operate.md to the names in the code, both ways.
func TestManualNamesEveryMetric(t *testing.T) {
	files, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	var code []string
	for _, f := range files {
		if f.test || within(f.path, "deploy/bench") || within(f.path, "internal/testenv") { // readers of metrics, and services for tests
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				if s, err := strconv.Unquote(lit.Value); err == nil && metricName.MatchString(s) {
					code = append(code, s)
				}
			}
			return true
		})
	}
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	var manual []string
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "| `freshet_") {
			names, _, _ := strings.Cut(line[1:], "|")
			for _, name := range strings.Split(names, ",") {
				if name = strings.Trim(name, " `"); strings.HasPrefix(name, "freshet_") { // others are the Go runtime's
					manual = append(manual, name)
				}
			}
		}
	}
	if len(code) < 50 || len(manual) < 50 {
		t.Fatalf("found only %d metrics in the code and %d in the manual", len(code), len(manual))
	}
	for _, name := range code {
		if !slices.Contains(manual, name) && !slices.Contains(manual, name+"_*") {
			t.Errorf("docs/operate.md has no row for the metric %s", name)
		}
	}
	for _, name := range manual {
		if !metricName.MatchString(name) {
			t.Errorf("docs/operate.md: %q is no name of a metric", name)
		} else if !slices.Contains(code, strings.TrimSuffix(name, "_*")) {
			t.Errorf("docs/operate.md has a row for %s, which the code does not know", name)
		}
	}
}
