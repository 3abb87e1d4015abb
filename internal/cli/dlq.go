package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/spell"
)

const dlqLong = `A record that cannot be used is put aside in its source's dead-letter topic, as it was and with the reason.
These commands read the topics, and send records back to where they came from once the reason is gone.`

func (a *app) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List, show and replay dead letters",
		Long:  dlqLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dlqListCommand(), a.dlqShowCommand(), a.dlqReplayCommand())
	return cmd
}

// dlqPlace says which plane's dead letters are meant and where they are.
type dlqPlace struct {
	connections string
	brokers     []string
	source      string
}

func (p *dlqPlace) addFlags(cmd *cobra.Command) {
	addConnections(cmd, &p.connections)
	cmd.Flags().StringSliceVar(&p.brokers, "brokers", nil, "Kafka to read instead of the definition's, as for a plane of 'freshet dev'")
	cmd.Flags().StringVar(&p.source, "source", "", "only dead letters of this source or model")
}

// sources returns the sources that are meant: one, or all.
func (p *dlqPlace) sources(plane *config.Plane) ([]string, error) {
	var names []string
	for _, s := range plane.Intakes() {
		names = append(names, s.Name)
	}
	if p.source == "" {
		return names, nil
	}
	if !slices.Contains(names, p.source) {
		return nil, notFound(fmt.Errorf("no source %q in the definition%s", p.source, spell.Suggest(p.source, names)))
	}
	return []string{p.source}, nil
}

// reachKafka bounds how long a command waits for a broker that does not answer.
const reachKafka = 10 * time.Second

// withDeadLetters loads the plane and calls fn with a client of its Kafka.
func (a *app) withDeadLetters(ctx context.Context, files []string, p *dlqPlace, fn func(*kgo.Client, *config.Plane) error) error {
	plane, err := a.loadPlane(files, p.connections)
	if err != nil {
		return err
	}
	var conn config.Kafka
	if plane.Connections.Kafka != nil {
		conn = *plane.Connections.Kafka
	}
	if len(p.brokers) > 0 {
		conn.Brokers = p.brokers
	}
	if len(conn.Brokers) == 0 {
		return usageError(errors.New("the definition names no Kafka: give --brokers or --connections"))
	}
	logger, err := a.logger()
	if err != nil {
		return err
	}
	opts, err := kafka.Options(conn, "freshet-dlq")
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(append(opts, ingest.DeadLetterOptions()...), kgo.WithLogger(kafka.Logger(logger)))...)
	if err != nil {
		return err
	}
	defer client.Close()
	reach, cancel := context.WithTimeout(ctx, reachKafka)
	defer cancel()
	if err := kafka.WaitReachable(reach, client, conn.Brokers, logger); err != nil {
		return err
	}
	return fn(client, plane)
}

// dlqFilter is the flags that select dead letters.
type dlqFilter struct {
	classes      []string
	since, until string
	origin       string
	contains     string
	limit        int
}

func (f *dlqFilter) addFlags(cmd *cobra.Command, limit int) {
	var names []string
	for _, c := range ingest.Classes() {
		names = append(names, string(c))
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.classes, "class", nil, "only these reasons: "+strings.Join(names, ", "))
	fs.StringVar(&f.since, "since", "", "only those put aside at this time or later: RFC 3339, or how long ago (2h, 7d)")
	fs.StringVar(&f.until, "until", "", "only those put aside before this time: RFC 3339, or how long ago")
	fs.StringVar(&f.origin, "origin", "", "only the one of this record, as topic/partition/offset")
	fs.StringVar(&f.contains, "contains", "", "only those whose reason contains this")
	fs.IntVar(&f.limit, "limit", limit, "at most so many of each source; 0 for all")
}

// filter returns the selection; now is what times ago are counted from.
func (f *dlqFilter) filter(now time.Time) (ingest.Filter, error) {
	out := ingest.Filter{Contains: f.contains, Limit: f.limit}
	known := make([]string, 0, 9)
	for _, c := range ingest.Classes() {
		known = append(known, string(c))
	}
	for _, name := range f.classes {
		if !slices.Contains(known, name) {
			return out, usageError(fmt.Errorf("--class: unknown reason %q; reasons are %s", name, strings.Join(known, ", ")))
		}
		out.Classes = append(out.Classes, ingest.Class(name))
	}
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", f.since, &out.Since}, {"until", f.until, &out.Until}} {
		if t.text == "" {
			continue
		}
		at, err := parseWhen(t.text, now)
		if err != nil {
			return out, usageError(fmt.Errorf("--%s: %w", t.flag, err))
		}
		*t.to = at
	}
	if f.origin != "" {
		at, err := ingest.ParseCoordinates(f.origin)
		if err != nil {
			return out, usageError(fmt.Errorf("--origin: %w", err))
		}
		out.Origin = &at
	}
	return out, nil
}

// parseWhen reads an absolute time, a day, which begins at midnight UTC, or how long ago.
func parseWhen(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	ago, err := config.ParseDuration(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time (2026-01-02T15:04:05Z), a day (2026-01-02) nor a duration (2h, 7d)", s)
	}
	return now.Add(-ago), nil
}

// letterRow is a dead letter as printed.
type letterRow struct {
	At     string `json:"at"`
	Source string `json:"source"`
	Class  string `json:"class"`
	Reason string `json:"reason"`
	Origin string `json:"origin"`
	Time   string `json:"time"`
}

func newLetterRow(l *ingest.Letter) letterRow {
	return letterRow{
		At: l.At.String(), Source: l.Source, Class: string(l.Class), Reason: l.Reason, Origin: l.Origin.String(),
		Time: l.Time.UTC().Format(time.RFC3339),
	}
}
