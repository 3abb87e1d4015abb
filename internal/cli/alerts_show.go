package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/report"
)

func (a *app) alertsShowCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:   "show EPISODE [FILE...]",
		Short: "Show all that was said of an episode, with its evidence",
		Long: `Show prints the messages of an episode with their evidence. EPISODE is its id, or the beginning of one. As JSON they are
the CloudEvents, as they were delivered.`,
		Example: "  freshet alerts show ep_1424f9a5f02c3afabd43aeb2ff27201e plane.yaml",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				episodes, warnings, err := m.episodes(cmd.Context())
				if err != nil {
					return err
				}
				a.warn(warnings)
				e, err := findEpisode(episodes, args[0])
				if err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.Stdout, e.events)
				}
				return a.printEpisode(e)
			})
		},
	}
	place.addFlags(cmd)
	return cmd
}

func (a *app) printEpisode(e *episode) error {
	t := newTable(left("EPISODE"), left(e.row.Episode))
	t.add("status", e.row.Status)
	t.add("monitor", e.row.Monitor)
	t.add("model", e.row.Model)
	t.add("class", string(e.row.Class))
	t.add("group", e.row.Group)
	t.add("since", instant(int64(e.row.StartedAt)))
	if err := t.print(a.Stdout); err != nil {
		return err
	}
	for i := range e.messages {
		if err := a.printMessage(&e.messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printMessage(m *alert.Message) error {
	fmt.Fprintf(a.Stdout, "\n%s  %s  %s\n", instant(m.At), strings.TrimPrefix(string(m.Type), "io.freshet.alert."), printable(m.ID))
	fmt.Fprintf(a.Stdout, "%s\n", printable(m.Summary))
	if m.Reason != "" {
		fmt.Fprintf(a.Stdout, "reason: %s\n", printable(m.Reason))
	}
	if m.MutedBy != "" {
		fmt.Fprintf(a.Stdout, "muted by: %s\n", printable(m.MutedBy))
	}
	fmt.Fprintln(a.Stdout)
	features := newTable(left("KIND"), left("COLUMN"), left("SINCE"), left("UNTIL"), right("EFFECT"), right("THRESHOLD"))
	for _, f := range m.Features {
		until := ""
		if f.Until != 0 {
			until = instant(int64(f.Until))
		}
		features.add(kindOf(f.Series), seriesName(f.Column, f.Slice), instant(int64(f.Since)), until, report.Number(float64(f.Effect)), fmt.Sprint(f.Threshold))
	}
	if err := features.print(a.Stdout); err != nil {
		return err
	}
	if m.LeftOut > 0 {
		fmt.Fprintf(a.Stdout, "and %s more\n", plural(m.LeftOut, "column", "columns"))
	}
	if len(m.Evidence) == 0 {
		return nil
	}
	fmt.Fprintln(a.Stdout)
	return a.printEvidence(m.Evidence)
}

func (a *app) printEvidence(all []alert.Evidence) error {
	t := newTable(left("EVIDENCE"), left("METHOD"), right("EFFECT"), right("SCORE"), right("P"), right("N"), right("N EFF"), right("REF N"), left("WINDOW"), left("AGAINST"), left("MOVED MOST"))
	for _, e := range all {
		var moved []string
		for _, mv := range e.Movers {
			moved = append(moved, fmt.Sprintf("%s: %s -> %s", mv.Bin, percentText(float64(mv.Reference)), percentText(float64(mv.Current))))
		}
		t.add(nameOf(e.Series), e.Method, report.Number(float64(e.Effect)), report.Number(float64(e.Score)), report.Number(float64(e.P)),
			thousands(e.Current.N), rowsText(float64(e.Current.NEff)), thousands(e.Reference.N),
			instant(e.Window.Start)+" to "+instant(e.Window.End), e.Against, strings.Join(moved, ", "))
	}
	if err := t.print(a.Stdout); err != nil {
		return err
	}
	for _, e := range all {
		if e.Note != "" {
			fmt.Fprintf(a.Stdout, "%s: %s\n", printable(nameOf(e.Series)), printable(e.Note))
		}
	}
	for _, e := range all {
		if e.Query != "" {
			fmt.Fprintf(a.Stdout, "See: %s\n", printable(e.Query))
		}
	}
	return nil
}
