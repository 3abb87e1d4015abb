package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/change"
)

const applyLong = `Apply makes a running plane fit a definition: it builds new and changed views beside the running ones, from the
offline stores where a topic no longer has the past, and records them when they are whole. Processes that run go on
with the old definition meanwhile; start them with the new one afterwards, one after the other. It also creates and
migrates offline tables.

It may be interrupted and run again. States that no definition has any more are kept until --allow-drop.`

func (a *app) applyCommand() *cobra.Command {
	var connections string
	var o change.Options
	cmd := &cobra.Command{
		Use:     "apply FILE...",
		Short:   "Build what a changed definition needs, beside the running plane",
		Long:    applyLong,
		Example: "  freshet apply plane.yaml\n  freshet apply features/ --connections production.yaml --allow-drop",
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
			done, err := c.Apply(cmd.Context(), p, a.tellBuild())
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.Stdout, done)
			}
			return a.printApplied(done)
		},
	}
	addConnections(cmd, &connections)
	f := cmd.Flags()
	f.BoolVar(&o.AcceptGap, "accept-gap", false, "build although neither a topic nor an offline store has some of the past")
	f.BoolVar(&o.AllowDrop, "allow-drop", false, "delete states that no definition has any more, and columns of offline tables")
	return cmd
}

// tellBuild returns what shows how far the builds are: a line every few seconds, and one when a stage ends.
func (a *app) tellBuild() func(change.Progress) {
	var view, stage string
	var shown time.Time
	return func(p change.Progress) {
		if p.View == view && p.Stage == stage && time.Since(shown) < lineEvery && (p.Total == 0 || p.Done < p.Total) {
			return
		}
		view, stage, shown = p.View, p.Stage, time.Now()
		of, refused := "", ""
		if p.Total > 0 {
			of = " of " + thousands(p.Total)
		}
		if p.Refused > 0 {
			refused = ", " + plural(int(p.Refused), "record refused", "records refused")
		}
		fmt.Fprintf(a.Stderr, "%s: %s: %s%s%s\n", printable(p.View), p.Stage, thousands(p.Done), of, refused)
	}
}

func (a *app) printApplied(done *change.Applied) error {
	for _, v := range done.Built {
		fmt.Fprintf(a.Stdout, "built %s\n", printable(v))
	}
	for _, v := range done.Dropped {
		fmt.Fprintf(a.Stdout, "dropped %s\n", printable(v))
	}
	if n := len(done.Kept); n > 0 {
		fmt.Fprintf(a.Stdout, "%s that no definition has any more kept; --allow-drop deletes them\n", plural(n, "state", "states"))
	}
	if len(done.Built)+len(done.Dropped)+done.Tables == 0 {
		fmt.Fprintln(a.Stdout, "nothing to do")
	}
	return nil
}
