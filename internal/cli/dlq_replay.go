package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
)

const dlqReplayLong = `Replay sends the records of dead letters back to the topic and partition that they came from, as they were.
The dead letters stay. Each replayed record is a new one: what is replayed twice counts twice, unless the
source has an event_id. A record that still cannot be used becomes a dead letter again.

Select what to replay, or say --all. With --dry-run nothing is sent.`

func (a *app) dlqReplayCommand() *cobra.Command {
	var place dlqPlace
	var flags dlqFilter
	var all, dryRun bool
	cmd := &cobra.Command{
		Use:   "replay FILE... --source NAME",
		Short: "Send dead letters back to their source",
		Long:  dlqReplayLong,
		Example: `  freshet dlq replay plane.yaml --source departures --class too_far_ahead --dry-run
  freshet dlq replay plane.yaml --source departures --origin flights.departures/3/1207`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := flags.filter(time.Now())
			if err != nil {
				return err
			}
			if filter.Empty() && !all {
				return usageError(fmt.Errorf("nothing is selected: give --class, --since, --until, --origin or --contains, or --all"))
			}
			return a.withDeadLetters(cmd.Context(), args, &place, func(client *kgo.Client, plane *config.Plane) error {
				if _, err := place.sources(plane); err != nil {
					return err
				}
				topic := ingest.DeadLetterTopic(plane, place.source)
				if dryRun {
					sum, err := countLetters(cmd.Context(), client, topic, filter)
					return a.printReplay(ingest.ReplayReport{Replayed: sum}, true, err)
				}
				report, err := ingest.Replay(cmd.Context(), client, topic, filter, all)
				return a.printReplay(report, false, err)
			})
		},
	}
	place.addFlags(cmd)
	flags.addFlags(cmd, 0)
	cmd.Flags().BoolVar(&all, "all", false, "replay every dead letter of the source")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count what would be replayed")
	cobra.CheckErr(cmd.MarkFlagRequired("source"))
	return cmd
}

// printReplay prints what was done, also when it ended in an error, which it returns.
func (a *app) printReplay(r ingest.ReplayReport, dryRun bool, err error) error {
	if a.json() {
		classes := map[string]int{}
		for c, n := range r.Replayed.Classes {
			classes[string(c)] = n
		}
		if perr := printJSON(a.Stdout, map[string]any{
			"replayed": r.Replayed.Total, "failed": len(r.Failed), "by_reason": classes, "dry_run": dryRun,
		}); perr != nil {
			return perr
		}
		return err
	}
	verb := "Replayed"
	if dryRun {
		verb = "Would replay"
	}
	fmt.Fprintf(a.Stdout, "%s %s.\n", verb, plural(r.Replayed.Total, "record", "records"))
	return err
}
