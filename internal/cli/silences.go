package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
)

const silenceLong = `Silence mutes what all its matchers match, for a time. It delays messages and changes no state: what still fires when the
silence ends is told then, and what was told before is told to be over, silence or not.

A matcher is FIELD=VALUE, FIELD!=VALUE, or FIELD=~REGEXP, FIELD!~REGEXP for the whole value. Fields are monitor, kind,
class, column, slice, check, group and source. An argument with a = or ! is a matcher, unless a / stands before it; others are files
of the definition.`

func (a *app) silenceCommand() *cobra.Command {
	var place monitorPlace
	var length, comment, author string
	cmd := &cobra.Command{
		Use:   "silence MATCHER... [FILE...] --for TIME --comment TEXT",
		Short: "Delay alerts that match, for a time",
		Long:  silenceLong,
		Example: "  freshet alerts silence monitor=delays 'column=~dep_.*' plane.yaml --for 2h --comment 'airport feed is being replayed'\n" +
			"  freshet alerts silence source=flights plane.yaml --for 1d --comment upgrade --author ann",
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, files, err := newSilence(args, length, time.Now())
			if err != nil {
				return err
			}
			s.Comment, s.Author = comment, cmp.Or(author, a.Getenv("USER"))
			if s.Author == "" {
				return usageError(errors.New("say who you are with --author"))
			}
			return a.withMonitored(cmd.Context(), files, &place, func(m *monitored) error {
				if err := m.writeSilence(cmd.Context(), s); err != nil {
					return err
				}
				a.warn(unknownValues(m.plane, s.Matchers))
				if a.json() {
					return printJSON(a.Stdout, newSilenceRow(s, s.Start))
				}
				fmt.Fprintln(a.Stdout, s.ID)
				return nil
			})
		},
	}
	place.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&length, "for", "", "how long: 30m, 2h, 7d")
	f.StringVar(&comment, "comment", "", "why")
	f.StringVar(&author, "author", "", "who (default $USER)")
	cobra.CheckErr(cmd.MarkFlagRequired("for"))
	cobra.CheckErr(cmd.MarkFlagRequired("comment"))
	return cmd
}

// newSilence reads a command line's matchers and returns the other arguments, which are files.
func newSilence(args []string, length string, now time.Time) (*alert.Silence, []string, error) {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	s := &alert.Silence{ID: "sil_" + hex.EncodeToString(id), Start: now.UnixMicro()}
	var files []string
	for _, arg := range args {
		if i := strings.IndexAny(arg, "=!/"); i < 0 || arg[i] == '/' {
			files = append(files, arg)
			continue
		}
		m, err := alert.ParseMatcher(arg)
		if err != nil {
			return nil, nil, usageError(err)
		}
		s.Matchers = append(s.Matchers, m)
	}
	if len(s.Matchers) == 0 {
		return nil, nil, usageError(errors.New("name what is to be silenced: a matcher such as monitor=NAME"))
	}
	d, err := config.ParseDuration(length)
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("--for: %q is no duration (2h, 7d)", length))
	}
	if d <= 0 {
		return nil, nil, usageError(fmt.Errorf("--for %s is no time", length))
	}
	s.End = now.Add(d).UnixMicro()
	return s, files, nil
}

// unknownValues warns of matchers that want a value that nothing has: such a silence mutes nothing.
func unknownValues(p *config.Plane, matchers []alert.Matcher) (warnings []string) {
	known := map[string][]string{
		"class":   {string(alert.Values), string(alert.Performing), string(alert.Availability)},
		"monitor": {},
	}
	for _, k := range alert.Kinds() {
		known["kind"] = append(known["kind"], string(k))
	}
	for _, m := range p.Monitors {
		known["monitor"] = append(known["monitor"], m.Name)
	}
	for _, m := range matchers {
		if names, ok := known[m.Field]; ok && m.Op == "=" && !slices.Contains(names, m.Value) {
			warnings = append(warnings, fmt.Sprintf("the silence mutes nothing: there is no %s %q%s", m.Field, m.Value, spell.Suggest(m.Value, names)))
		}
	}
	return warnings
}

// writeSilence records a silence, or replaces the one with its ID.
func (m *monitored) writeSilence(ctx context.Context, s *alert.Silence) error {
	value, err := s.Encode()
	if err != nil {
		return usageError(err)
	}
	topic := topics.Name(m.plane, topics.Silences)
	if _, err := kafka.DescribeTopic(ctx, kadm.NewClient(m.client), topic); err != nil {
		if errors.Is(err, kafka.ErrNoTopic) {
			return fmt.Errorf("%w: a process with the role monitor creates it", err)
		}
		return err
	}
	if err := m.client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(s.ID), Value: value}).FirstErr(); err != nil {
		return fmt.Errorf("write to %s: %w", topic, err)
	}
	return nil
}

// silences returns those that are recorded, in the order of their starts, and what is wrong with others.
func (m *monitored) silences(ctx context.Context) (all []alert.Silence, warnings []string, err error) {
	known := map[string]alert.Silence{}
	err = m.read(ctx, topics.Silences, 0, time.Time{}, func(rec *kgo.Record) error {
		if rec.Value == nil {
			delete(known, string(rec.Key))
			return nil
		}
		s, err := alert.DecodeSilence(rec.Value)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("the record at offset %d of %s is left out: %v", rec.Offset, rec.Topic, err))
			return nil
		}
		known[s.ID] = s
		return nil
	})
	for _, s := range known {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b alert.Silence) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
	return all, warnings, err
}

// silenceRow is a silence as printed.
type silenceRow struct {
	ID       string      `json:"id"`
	Active   bool        `json:"active"`
	Matchers []string    `json:"matchers"`
	Start    alert.Stamp `json:"start"`
	End      alert.Stamp `json:"end"`
	Author   string      `json:"author"`
	Comment  string      `json:"comment"`
}

func newSilenceRow(s *alert.Silence, now int64) silenceRow {
	r := silenceRow{ID: s.ID, Active: s.Start <= now && now < s.End, Start: alert.Stamp(s.Start), End: alert.Stamp(s.End), Author: s.Author, Comment: s.Comment}
	for _, m := range s.Matchers {
		r.Matchers = append(r.Matchers, m.String())
	}
	return r
}

func (a *app) silencesCommand() *cobra.Command {
	var place monitorPlace
	var all bool
	cmd := &cobra.Command{
		Use:     "silences [FILE...]",
		Short:   "List the silences that are not over, or all",
		Example: "  freshet alerts silences plane.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args, &place, func(m *monitored) error {
				silences, warnings, err := m.silences(cmd.Context())
				if err != nil {
					return err
				}
				a.warn(warnings)
				now, rows := time.Now().UnixMicro(), []silenceRow{}
				for _, s := range silences {
					if all || s.End > now {
						rows = append(rows, newSilenceRow(&s, now))
					}
				}
				return a.printSilences(rows)
			})
		},
	}
	place.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "those that are over, too")
	return cmd
}

func (a *app) printSilences(rows []silenceRow) error {
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "No silences.")
		return err
	}
	t := newTable(left("SILENCE"), left("MATCHERS"), left("START"), left("END"), left("AUTHOR"), left("COMMENT"))
	for _, r := range rows {
		t.add(r.ID, strings.Join(r.Matchers, " "), instant(int64(r.Start)), instant(int64(r.End)), r.Author, r.Comment)
	}
	return t.print(a.Stdout)
}

func (a *app) unsilenceCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:     "unsilence ID [FILE...]",
		Short:   "End a silence",
		Example: "  freshet alerts unsilence sil_5c0fa1b2c3d4e5f6 plane.yaml",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				silences, warnings, err := m.silences(cmd.Context())
				if err != nil {
					return err
				}
				a.warn(warnings)
				i := slices.IndexFunc(silences, func(s alert.Silence) bool { return s.ID == args[0] })
				if i < 0 {
					return notFound(fmt.Errorf("no silence %q; 'freshet alerts silences' lists them", args[0]))
				}
				s, now := silences[i], time.Now().UnixMicro()
				if s.End <= now {
					return fmt.Errorf("silence %s has been over since %s", s.ID, instant(s.End))
				}
				s.End = max(now, s.Start+1) // one that lasts no time is none
				if err := m.writeSilence(cmd.Context(), &s); err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.Stdout, newSilenceRow(&s, now))
				}
				fmt.Fprintf(a.Stdout, "silence %s is over\n", s.ID)
				return nil
			})
		},
	}
	place.addFlags(cmd)
	return cmd
}
