package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// result is what one command line did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command line without a terminal and without an environment.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runEnv(t, nil, args...)
}

func runEnv(t *testing.T, environ map[string]string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Run(t.Context(), args, Env{
		Program: "freshet", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return environ[k] },
	})
	return result{code, out.String(), errs.String()}
}

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestHelpOfEveryCommand(t *testing.T) {
	files := map[string]bool{}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		args := strings.Fields(c.CommandPath())[1:]
		file := strings.Join(append([]string{"help"}, args...), "_") + ".golden"
		files[file] = true
		t.Run(c.CommandPath(), func(t *testing.T) {
			r := run(t, append(args, "--help")...)
			if r.code != exitOK || r.stderr != "" {
				t.Fatalf("exit %d, stderr %q", r.code, r.stderr)
			}
			golden(t, file, r.stdout)
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{}).rootCommand())
	there, err := filepath.Glob("testdata/help*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if !files[filepath.Base(file)] {
			t.Errorf("%s is of no command", file)
		}
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"chekc"}, "unknown command \"chekc\""},
		{[]string{"check"}, "something is missing: freshet check FILE... [flags]"},
		{[]string{"check", "--frobnicate", "x"}, "unknown flag: --frobnicate"},
		{[]string{"version", "--output", "xml"}, "unknown --output \"xml\"; use table or json"},
		{[]string{"version", "--log-level", "loud"}, "--log-level"},
		{[]string{"version", "--log-format", "csv"}, "--log-format"},
		{[]string{"get", "carrier=UA"}, "give one of --service and --features"},
		{[]string{"get", "--service", "s", "--features", "v:f", "carrier=UA"}, "give one of --service and --features"},
		{[]string{"get", "--service", "s"}, "no entity is named"},
		{[]string{"get", "--service", "s", "carrier"}, "\"carrier\" is not name=value"},
		{[]string{"get", "--service", "s", "a=1", "a=2", "a=3", "b=1", "b=2"}, "b is given 2 times, others 3 times"},
		{[]string{"run", "--roles", "serve,cook", "plane.yaml"}, "unknown role \"cook\""},
		{[]string{"demo", "--flights", "7"}, "send at least 10000"},
		{[]string{"demo", "--http", "nowhere"}, "\"nowhere\" is not host:port"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := run(t, c.args...)
			if r.code != exitUsage {
				t.Errorf("exit %d, want %d", r.code, exitUsage)
			}
			if !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, "--help'") {
				t.Errorf("stderr %q does not contain %q and where to look", r.stderr, c.want)
			}
			if r.stdout != "" {
				t.Errorf("stdout %q", r.stdout)
			}
		})
	}
}

func TestVersionAsJSONNamesTheToolchain(t *testing.T) {
	r := run(t, "version", "--output", "json")
	if r.code != exitOK || !strings.Contains(r.stdout, `"version": `) || !strings.Contains(r.stdout, `"go": "go1.`) {
		t.Errorf("exit %d, stdout %s", r.code, r.stdout)
	}
}

func TestCompletionKnowsTheCommands(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := run(t, "completion", shell); r.code != exitOK || !strings.Contains(r.stdout, "freshet") {
			t.Errorf("completion %s: exit %d", shell, r.code)
		}
	}
}

func TestMainEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"get", "--server", "127.0.0.1:1", "--service", "s", "a=1"}, Env{
		Program: "freshet", Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
	})
	if code == exitOK {
		t.Error("a cancelled command claims success")
	}
}
