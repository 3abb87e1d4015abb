package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
)

func addConnections(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "connections", "", "file with the sections connections, listen and processing, where they are not in the definition")
}

// loadPlane loads a definition. Its mistakes, if any, are printed to standard output, as --output says; the error then
// only carries the exit code.
func (a *app) loadPlane(paths []string, connections string) (*config.Plane, error) {
	if connections != "" {
		paths = append(paths[:len(paths):len(paths)], connections)
	}
	plane, err := config.Load(paths...)
	var issues config.Issues
	if !errors.As(err, &issues) {
		return plane, err
	}
	mistakes, warnings := issueRows(issues, config.Error), issueRows(issues, config.Warning)
	if a.json() {
		if err := printJSON(a.Stdout, checkResult{Issues: mistakes, Warnings: warnings}); err != nil {
			return nil, err
		}
	} else {
		printIssues(a.Stdout, "", mistakes)
		printIssues(a.Stdout, "warning: ", warnings)
		fmt.Fprintf(a.Stderr, "freshet: %s in the definition\n", plural(len(mistakes), "mistake", "mistakes"))
	}
	return nil, &exitError{code: exitDefinition}
}

// issueRow is a mistake or a warning as printed.
type issueRow struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// issueRows returns the issues of one severity.
func issueRows(issues []config.Issue, severity config.Severity) []issueRow {
	rows := []issueRow{}
	for _, is := range issues {
		if is.Severity == severity {
			rows = append(rows, issueRow{File: is.File, Line: is.Line, Column: is.Column, Message: is.Message})
		}
	}
	return rows
}

func printIssues(w io.Writer, label string, rows []issueRow) {
	for _, r := range rows {
		fmt.Fprintf(w, "%s%s%s\n", r.place(), label, printable(r.Message))
	}
}

// place returns "file:line:column: ", as much of it as is known.
func (r issueRow) place() string {
	switch {
	case r.File == "":
		return ""
	case r.Line == 0:
		return r.File + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", r.File, r.Line, r.Column)
}
