package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/change"
)

const forgetLong = `Forget erases entities from a running plane: from the state that the processors keep and its changelog, from Redis, and
from the offline tables. The processors have to run: they do it, each for its partitions, and forget waits for them.

Topics keep their records as long as their retention says: what must age out is listed. A view that is built anew before
then (apply, backfill) counts what is still there; forget again afterwards.`

func (a *app) forgetCommand() *cobra.Command {
	var connections string
	var entities []string
	wait := time.Minute
	cmd := &cobra.Command{
		Use:   "forget FILE... --entity NAME=KEY",
		Short: "Erase entities from state, Redis and offline stores",
		Long:  forgetLong,
		Example: "  freshet forget plane.yaml --entity user=42\n" +
			"  freshet forget plane.yaml --entity user=42 --entity 'seat=[\"12A\",7]'   # several join keys: a JSON array",
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(entities) == 0 {
				return usageError(errors.New("name what is to be forgotten with --entity"))
			}
			c, err := a.openChange(cmd, args, connections, change.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			all := []*change.Forgotten{}
			for _, e := range entities {
				name, key, ok := strings.Cut(e, "=")
				if !ok {
					return usageError(fmt.Errorf("--entity %q is not of the form NAME=KEY", e))
				}
				done, err := c.Forget(cmd.Context(), name, key, wait)
				if errors.Is(err, change.ErrNoEntity) {
					return notFound(err)
				}
				if err != nil {
					return fmt.Errorf("forget %s: %w", e, err)
				}
				all = append(all, done)
			}
			if a.json() {
				return printJSON(a.Stdout, all)
			}
			return a.printForgotten(all)
		},
	}
	addConnections(cmd, &connections)
	f := cmd.Flags()
	f.StringArrayVar(&entities, "entity", nil, "the entity's name and its key, as NAME=KEY; may be given several times")
	f.DurationVar(&wait, "wait", wait, "how long to wait for the processors")
	return cmd
}

func (a *app) printForgotten(all []*change.Forgotten) error {
	t := newTable(left("ENTITY"), left("DELETED FROM"), right("ROWS"))
	residue := newTable(left("MUST AGE OUT"), left("KIND"), left("RETENTION"))
	seen := map[string]bool{}
	for _, f := range all {
		name := f.Entity + "=" + f.Key
		t.add(name, "state, changelog, Redis", "")
		for _, table := range slices.Sorted(maps.Keys(f.Rows)) {
			t.add(name, table, thousands(f.Rows[table]))
		}
		for _, r := range f.Residue {
			if !seen[r.Topic] {
				seen[r.Topic] = true
				residue.add(r.Topic, r.Kind, r.Retention)
			}
		}
	}
	if err := t.print(a.Stdout); err != nil {
		return err
	}
	for _, f := range all {
		for _, table := range f.Kept {
			fmt.Fprintf(a.Stderr, "freshet: warning: %s does not say whose its rows are; name the join keys of %s in the model (inferences.entities)\n", table, printable(f.Entity))
		}
	}
	fmt.Fprintln(a.Stdout)
	return residue.print(a.Stdout)
}
