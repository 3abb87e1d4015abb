package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
)

func (a *app) dlqListCommand() *cobra.Command {
	var place dlqPlace
	var flags dlqFilter
	var summary bool
	cmd := &cobra.Command{
		Use:   "list FILE...",
		Short: "List dead letters, or count them by reason",
		Example: `  freshet dlq list plane.yaml
  freshet dlq list plane.yaml --source departures --class wrong_type --since 2h
  freshet dlq list plane.yaml --summary --brokers 127.0.0.1:9092`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if summary && !cmd.Flags().Changed("limit") {
				flags.limit = 0
			}
			filter, err := flags.filter(time.Now())
			if err != nil {
				return err
			}
			return a.withDeadLetters(cmd.Context(), args, &place, func(client *kgo.Client, plane *config.Plane) error {
				sources, err := place.sources(plane)
				if err != nil {
					return err
				}
				if summary {
					return a.summarizeLetters(cmd.Context(), client, plane, sources, filter)
				}
				return a.listLetters(cmd.Context(), client, plane, sources, filter)
			})
		},
	}
	place.addFlags(cmd)
	flags.addFlags(cmd, 50)
	cmd.Flags().BoolVar(&summary, "summary", false, "count by source and reason instead of listing")
	return cmd
}

func (a *app) listLetters(ctx context.Context, client *kgo.Client, plane *config.Plane, sources []string, filter ingest.Filter) error {
	rows := []letterRow{}
	for _, s := range sources {
		for l, err := range ingest.List(ctx, client, ingest.DeadLetterTopic(plane, s), filter) {
			if err != nil {
				return err
			}
			rows = append(rows, newLetterRow(&l))
		}
	}
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "No dead letters.")
		return err
	}
	t := newTable(left("AT"), left("TIME"), left("REASON"), left("DETAIL"), left("ORIGIN"))
	for _, r := range rows {
		t.add(r.At, r.Time, r.Class, r.Reason, r.Origin)
	}
	return t.print(a.Stdout)
}

// classCount is one line of the summary.
type classCount struct {
	Source string `json:"source"`
	Class  string `json:"class"`
	Count  int    `json:"count"`
}

func (a *app) summarizeLetters(ctx context.Context, client *kgo.Client, plane *config.Plane, sources []string, filter ingest.Filter) error {
	rows := []classCount{}
	for _, s := range sources {
		sum, err := countLetters(ctx, client, ingest.DeadLetterTopic(plane, s), filter)
		if err != nil {
			return err
		}
		for _, c := range slices.Sorted(maps.Keys(sum.Classes)) {
			rows = append(rows, classCount{Source: s, Class: string(c), Count: sum.Classes[c]})
		}
	}
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "No dead letters.")
		return err
	}
	t := newTable(left("SOURCE"), left("REASON"), right("DEAD LETTERS"))
	for _, r := range rows {
		t.add(r.Source, r.Class, strconv.Itoa(r.Count))
	}
	return t.print(a.Stdout)
}

// countLetters counts the dead letters of one topic.
func countLetters(ctx context.Context, client *kgo.Client, topic string, filter ingest.Filter) (ingest.Summary, error) {
	var sum ingest.Summary
	for l, err := range ingest.List(ctx, client, topic, filter) {
		if err != nil {
			return sum, err
		}
		sum.Add(&l)
	}
	return sum, nil
}
