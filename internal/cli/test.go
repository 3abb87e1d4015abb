package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/scenario"
)

const testLong = `Test runs tests of your own monitors, without services: a file says which inferences come, described or recorded,
and which messages are expected of them. Time is that of the inferences, so that a day of them takes a moment, and the
same file gives the same result every time.

Every message that is sent must be expected, and every expected one sent. docs/monitors.md has the form of the file.`

func (a *app) testCommand() *cobra.Command {
	var only string
	cmd := &cobra.Command{
		Use:     "test FILE...",
		Short:   "Test monitors: inferences in, expected alerts out",
		Long:    testLong,
		Example: "  freshet test monitors_test.yaml\n  freshet test monitors_test.yaml --run kilometres",
		Args:    atLeast(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.testMonitors(cmd.Context(), args, only) },
	}
	cmd.Flags().StringVar(&only, "run", "", "only tests whose names have this in them")
	return cmd
}

// testRow is a test as printed for programs.
type testRow struct {
	File     string     `json:"file"`
	Name     string     `json:"name"`
	OK       bool       `json:"ok"`
	Failures []string   `json:"failures"`
	Messages []sentLine `json:"messages"`
	Rows     uint64     `json:"inferences"`
	Windows  int        `json:"windows"`
	Seconds  float64    `json:"seconds"`
}

type sentLine struct {
	At      string `json:"at"` // counted from the start
	Message string `json:"message"`
}

// errTestsFailed carries the exit code: what failed has been printed.
var errTestsFailed = errors.New("tests have failed")

func (a *app) testMonitors(ctx context.Context, files []string, only string) error {
	rows := []testRow{}
	failed := false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		f, err := scenario.Parse(file, text)
		if err != nil {
			return &exitError{code: exitDefinition, err: err}
		}
		dir := filepath.Dir(file)
		plane, err := a.loadPlane(within(dir, f.Plane), "")
		if err != nil {
			return err
		}
		for i := range f.Tests {
			if !strings.Contains(f.Tests[i].Name, only) {
				continue
			}
			row, err := a.testMonitor(ctx, plane, file, &f.Tests[i])
			if err != nil {
				return fmt.Errorf("%s: test %q: %w", file, f.Tests[i].Name, err)
			}
			failed = failed || !row.OK
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return notFound(fmt.Errorf("no test has %q in its name", only))
	}
	if a.json() {
		if err := printJSON(a.Stdout, rows); err != nil {
			return err
		}
	}
	if failed {
		return errTestsFailed
	}
	return nil
}

func (a *app) testMonitor(ctx context.Context, plane *config.Plane, file string, t *scenario.Test) (testRow, error) {
	began := time.Now()
	r, err := scenario.Run(plane, t, testFiles{ctx: ctx, app: a, dir: filepath.Dir(file), plane: plane})
	if err != nil {
		return testRow{}, err
	}
	row := testRow{
		File: file, Name: t.Name, OK: len(r.Failures) == 0, Failures: r.Failures, Messages: []sentLine{}, Rows: r.Rows, Windows: r.Windows, Seconds: time.Since(began).Seconds(),
	}
	if row.Failures == nil {
		row.Failures = []string{}
	}
	for i := range r.Messages {
		row.Messages = append(row.Messages, sentLine{scenario.Duration(r.Messages[i].At).String(), r.Messages[i].String()})
	}
	if a.json() {
		return row, nil
	}
	verdict := "ok  "
	if !row.OK {
		verdict = "FAIL"
	}
	fmt.Fprintf(a.Stdout, "%s  %s (%s, %s, %s, %.1f s)\n", verdict, t.Name, plural(int(r.Rows), "inference", "inferences"), plural(r.Windows, "window", "windows"),
		plural(len(r.Messages), "message", "messages"), row.Seconds)
	for _, what := range r.Failures {
		fmt.Fprintf(a.Stdout, "      %s\n", printable(what))
	}
	return row, nil
}

// within are paths that are relative to a folder.
func within(dir string, paths []string) (out []string) {
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		out = append(out, p)
	}
	return out
}

// testFiles opens what a test names, relative to the file that it is in.
type testFiles struct {
	ctx   context.Context
	app   *app
	dir   string
	plane *config.Plane
}

func (f testFiles) Training(path string, d baseline.Definition, model *config.Model) (*baseline.Baseline, error) {
	return f.app.trainedOn(f.ctx, f.plane, model, d, "", within(f.dir, []string{path})[0])
}

func (f testFiles) Inferences(path string, model *config.Model, fn eventFunc) error {
	p, err := f.app.openPast(f.ctx, f.plane, model, "", within(f.dir, []string{path})[0])
	if err != nil {
		return err
	}
	err = inOrder(p, fn)
	f.app.warn(p.warnings())
	return err
}
