package lint

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTree holds the project's own source to the rules.
func TestTree(t *testing.T) {
	files, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d files: is this the root?", len(files))
	}
	for _, f := range files {
		for _, complaint := range checkFile(f) {
			t.Error(complaint)
		}
	}
	for _, complaint := range checkPackages(files) {
		t.Error(complaint)
	}
}

func TestRulesFind(t *testing.T) {
	own := func(pkgs ...string) string {
		var b strings.Builder
		for _, p := range pkgs {
			fmt.Fprintf(&b, "import _ %q\n", Module+"/"+p)
		}
		return b.String()
	}
	for _, tc := range []struct {
		name, path, source string
		want               string // part of the one complaint; empty: none
	}{
		{"a room imports config", "serving/a.go", own("config", "internal/online"), ""},
		{"a room imports a room", "serving/a.go", own("ingest"), "serving may not import ingest"},
		{"processors import ingest", "processors/runtime/a.go", own("ingest", "processors/store"), ""},
		{"the core imports", "internal/feature/a.go", own("config"), "internal/feature may not import config"},
		{"config imports the core", "config/a.go", own("internal/feature", "internal/expr"), ""},
		{"config imports a client", "config/a.go", own("internal/kafka"), "config may not import internal/kafka"},
		{"a room imports the commands", "ingest/a.go", own("internal/cli"), "ingest may not import internal/cli"},
		{"a room imports the wiring", "ingest/a.go", own("deploy/embedded"), "ingest may not import deploy/embedded"},
		{"an internal package imports a room", "internal/online/a.go", own("serving"), "may not import serving"},
		{"the commands import anything", "internal/cli/a.go", own("serving", "deploy/embedded"), ""},
		{"main imports the commands", "main.go", own("internal/cli"), ""},
		{"main imports a room", "main.go", own("serving"), ". may not import serving"},
		{"a test imports the services", "serving/a_test.go", own("internal/testenv", "ingest"), ""},
		{"code imports the services", "deploy/a.go", own("internal/testenv"), "may not import internal/testenv"},
		{"log", "ingest/a.go", `import "log"`, "use log/slog"},
		{"slog", "ingest/a.go", `import "log/slog"`, ""},
		{"gob", "ingest/a_test.go", `import "encoding/gob"`, "encoding/gob"},
		{"a banned module's package", "ingest/a_test.go", `import "github.com/stretchr/testify/require"`, "testify"},
		{"testing in code", "ingest/a.go", `import "testing"`, "only tests do"},
		{"os in the core", "internal/expr/a.go", `import "os"`, "the core has no"},
		{"printing", "ingest/a.go", "import \"fmt\"\nfunc f() { fmt.Println() }", "fmt.Println"},
		{"printing to a writer", "ingest/a.go", "import \"fmt\"\nfunc f() { fmt.Fprintln(nil) }", ""},
		{"a command prints", "internal/cli/a.go", "import \"fmt\"\nfunc f() { fmt.Println() }", ""},
		{"exit", "serving/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", "os.Exit"},
		{"the clock in the core", "internal/feature/a.go", "import \"time\"\nvar t = time.Now()", "time is an argument"},
		{"the clock elsewhere", "serving/a.go", "import \"time\"\nvar t = time.Now()", ""},
		{"unfinished", "serving/a.go", "// TODO: more", "TODO"},
		{"one machine's path", "serving/a.go", `const p = "/home/ann/x"`, "/home/"},
		{"a vague folder", "internal/utils/a.go", "", `"utils"`},
		{"too long", "serving/a.go", strings.Repeat("\n", maxLines), "lines; split it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parse(tc.path, "package p\n"+tc.source)
			if err != nil {
				t.Fatal(err)
			}
			got := checkFile(f)
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("complains: %v", got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
				t.Errorf("got %q, want one complaint with %q", got, tc.want)
			}
		})
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, tc := range []struct {
		name string
		doc  string
		ok   bool
	}{
		{"said", "// Package p keeps things.\n", true},
		{"silent", "", false},
		{"beside the point", "// Things are kept here.\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var files []*file
			for name, text := range map[string]string{"q/p/a.go": tc.doc + "package p\n", "q/p/b.go": "package p\n", "q/p/a_test.go": "package p_test\n"} {
				f, err := parse(name, text)
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
			}
			if got := checkPackages(files); (len(got) == 0) != tc.ok {
				t.Errorf("complaints: %q", got)
			}
		})
	}
}
