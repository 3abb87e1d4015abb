package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/change"
)

const planLong = `Plan compares a definition with what runs and prints what apply would do: views that are built, and of which
history; definitions that changed; states that nobody defines any more; offline tables. It changes nothing.

The exit code is 0 if there is nothing to do and 6 if there is.`

func (a *app) planCommand() *cobra.Command {
	var connections string
	var o change.Options
	cmd := &cobra.Command{
		Use:     "plan FILE...",
		Short:   "Show what a changed definition would do to a running plane",
		Long:    planLong,
		Example: "  freshet plan plane.yaml\n  freshet plan features/ --connections production.yaml --output json",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.openChange(cmd, args, connections, o)
			if err != nil {
				return err
			}
			defer c.Close()
			p, err := c.Plan(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				err = printJSON(a.Stdout, p)
			} else {
				err = printPlan(a.Stdout, p)
			}
			if err == nil && p.Changes(o.AllowDrop) {
				return &exitError{code: exitChanges}
			}
			return err
		},
	}
	addConnections(cmd, &connections)
	cmd.Flags().BoolVar(&o.AllowDrop, "allow-drop", false, "plan what apply --allow-drop would do: it deletes states and columns that no definition has any more")
	return cmd
}

// openChange connects to the services of a plane that is to be changed.
func (a *app) openChange(cmd *cobra.Command, args []string, connections string, o change.Options) (*change.Change, error) {
	plane, err := a.loadPlane(args, connections)
	if err != nil {
		return nil, err
	}
	return a.openChangeOf(cmd.Context(), plane, o)
}

func (a *app) openChangeOf(ctx context.Context, plane *config.Plane, o change.Options) (_ *change.Change, err error) {
	if o.Logger, err = a.logger(); err != nil {
		return nil, err
	}
	o.Plane = plane
	return change.Open(ctx, o)
}

func printPlan(w io.Writer, p *change.Plan) error {
	t := newTable(left("FEATURE VIEW"), left("ACTION"), right("GENERATION"))
	for _, v := range p.Views {
		t.add(v.View, string(v.Action), strconv.FormatUint(uint64(v.Generation), 10))
	}
	if err := t.print(w); err != nil {
		return err
	}
	for i, v := range p.Views {
		if v.Action == change.Keep || i > 0 && v.Action == change.Drop && v.View == p.Views[i-1].View && v.Reason == p.Views[i-1].Reason {
			continue // what is to be said of the generations of a state is said once
		}
		fmt.Fprintf(w, "\n%s %s\n", v.Action, printable(v.View))
		printLines(w, "", v.Diff)
		if v.Reason != "" {
			printLines(w, "", []string{v.Reason})
		}
		printLines(w, "history: ", folded(v.History))
		printLines(w, "GAP: ", v.Gaps)
	}
	for _, t := range p.Tables {
		fmt.Fprintf(w, "\n%s table %s\n", t.Store, printable(t.Table))
		printLines(w, "", heads(t.Statements))
		if t.Refusal != "" {
			printLines(w, "REFUSED: ", []string{t.Refusal})
		}
	}
	return nil
}

// folded joins lines of consecutive partitions that say the same: orders/0-11 from its beginning.
func folded(lines []string) []string {
	var out []string
	var before, after string // the line's partition, of the last ones joined
	first, last := -1, -1
	for _, line := range lines {
		topic, rest, _ := strings.Cut(line, "/")
		number, rest, _ := strings.Cut(rest, " from ")
		p, err := strconv.Atoi(number)
		switch {
		case err != nil:
			first, last = -1, -1
			out = append(out, line)
			continue
		case first >= 0 && p == last+1 && topic == before && rest == after:
			last = p
			out[len(out)-1] = fmt.Sprintf("%s/%d-%d from %s", topic, first, last, rest)
			continue
		}
		before, after, first, last = topic, rest, p, p
		out = append(out, line)
	}
	return out
}

// heads are the first lines of statements; what follows is the columns, which the definition says.
func heads(statements []string) []string {
	out := make([]string, len(statements))
	for i, s := range statements {
		out[i], _, _ = strings.Cut(s, "\n")
	}
	return out
}

func printLines(w io.Writer, label string, lines []string) {
	for _, l := range lines {
		fmt.Fprintf(w, "  %s%s\n", label, printable(l))
	}
}
