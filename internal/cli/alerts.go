package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/topics"
)

const alertsLong = `What monitors tell is kept in the history of alerts, as messages about episodes: of what goes wrong with one upstream
source one firing and one resolved message. These commands read the history, and silence what is known.

The definition is FILE..., or else $FRESHET_PLANE, or else plane.yaml.`

func (a *app) alertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List and show alerts, and silence them",
		Long:  alertsLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.alertsListCommand(), a.alertsShowCommand(), a.silenceCommand(), a.silencesCommand(), a.unsilenceCommand())
	return cmd
}

func (a *app) alertsListCommand() *cobra.Command {
	var place monitorPlace
	var all bool
	var since string
	cmd := &cobra.Command{
		Use:     "list [FILE...]",
		Short:   "List the episodes that are not over, or all",
		Example: "  freshet alerts list plane.yaml\n  freshet alerts list plane.yaml --all --since 7d",
		RunE: func(cmd *cobra.Command, args []string) error {
			var from time.Time
			if since != "" {
				var err error
				if from, err = parseWhen(since, time.Now()); err != nil {
					return usageError(fmt.Errorf("--since: %w", err))
				}
			}
			return a.withMonitored(cmd.Context(), args, &place, func(m *monitored) error {
				episodes, warnings, err := m.episodes(cmd.Context())
				if err != nil {
					return err
				}
				a.warn(warnings)
				return a.printEpisodes(episodes, all, from)
			})
		},
	}
	place.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "those that are over, too")
	cmd.Flags().StringVar(&since, "since", "", "only those of which something was said at this time or later: RFC 3339, or how long ago (2h, 7d)")
	return cmd
}

// episode is what the history says of one.
type episode struct {
	messages []alert.Message
	events   []json.RawMessage
	features map[alert.Series]bool
	row      episodeRow
}

// episodeRow is an episode as printed.
type episodeRow struct {
	Episode    string         `json:"episode"`
	Status     string         `json:"status"` // firing, resolved, muted, or muted_over: over without having been told
	Monitor    string         `json:"monitor"`
	Model      string         `json:"model,omitempty"`
	Class      alert.Class    `json:"class"`
	Group      string         `json:"group,omitempty"`
	StartedAt  alert.Stamp    `json:"started_at"`
	ResolvedAt alert.Stamp    `json:"resolved_at,omitzero"`
	SaidAt     alert.Stamp    `json:"said_at"` // the last message
	MutedBy    string         `json:"muted_by,omitempty"`
	Count      int            `json:"feature_count"`
	Features   []alert.Series `json:"features"`
}

func (r *episodeRow) open() bool { return r.Status == "firing" || r.Status == "muted" }

// add takes the next message of the episode up.
func (e *episode) add(m alert.Message, event []byte) {
	e.messages, e.events = append(e.messages, m), append(e.events, event)
	r := &e.row
	r.Episode, r.Monitor, r.Model, r.Class, r.Group, r.SaidAt = m.Episode, m.Monitor, m.Model, m.Class, m.Group, alert.Stamp(m.At)
	if r.StartedAt == 0 || m.StartedAt < r.StartedAt {
		r.StartedAt = m.StartedAt
	}
	switch m.Type {
	case alert.MutedType:
		r.Status, r.MutedBy = "muted", m.MutedBy
	case alert.UnheardType:
		r.Status, r.ResolvedAt = "muted_over", m.ResolvedAt
	case alert.FiringType:
		r.Status, r.MutedBy = "firing", ""
	case alert.ResolvedType:
		r.Status, r.ResolvedAt = "resolved", m.ResolvedAt
	case alert.UpdatedType:
		if r.Status == "" { // its beginning is not in the history any more
			r.Status = m.Status
		}
	}
	for _, f := range m.Features {
		if !e.features[f.Series] {
			e.features[f.Series] = true
			r.Features = append(r.Features, f.Series)
		}
	}
	r.Count = max(r.Count, m.Count, len(r.Features))
}

// episodes folds the history of alerts, in the order in which the episodes began.
func (m *monitored) episodes(ctx context.Context) (all []*episode, warnings []string, err error) {
	known := map[string]*episode{}
	err = m.read(ctx, topics.Alerts, 0, time.Time{}, func(rec *kgo.Record) error {
		msg, err := alert.ParseEvent(rec.Value)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("the record at offset %d of %s is no message, and left out: %v", rec.Offset, rec.Topic, err))
			return nil
		}
		e := known[msg.Episode]
		if e == nil {
			e = &episode{features: map[alert.Series]bool{}, row: episodeRow{Features: []alert.Series{}}}
			known[msg.Episode], all = e, append(all, e)
		}
		e.add(msg, rec.Value)
		return nil
	})
	return all, warnings, err
}

func (a *app) printEpisodes(episodes []*episode, all bool, since time.Time) error {
	rows := []episodeRow{}
	for _, e := range episodes {
		if (all || e.row.open()) && (since.IsZero() || !e.row.SaidAt.Time().Before(since)) {
			rows = append(rows, e.row)
		}
	}
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	if len(rows) == 0 {
		text := "Nothing is firing."
		if all || !since.IsZero() {
			text = "No such alerts."
		}
		_, err := fmt.Fprintln(a.Stdout, text)
		return err
	}
	columns := []column{left("EPISODE"), left("STATUS"), left("MONITOR"), left("CLASS"), left("GROUP"), left("FEATURES"), left("SINCE"), left("MUTED BY")}
	if all {
		columns = append(columns, left("OVER"))
	}
	t := newTable(columns...)
	for _, r := range rows {
		over := ""
		if r.ResolvedAt != 0 {
			over = instant(int64(r.ResolvedAt))
		}
		t.add(r.Episode, r.Status, r.Monitor, string(r.Class), r.Group, r.names(), instant(int64(r.StartedAt)), r.MutedBy, over)
	}
	return t.print(a.Stdout)
}

// names lists the columns of an episode, the first few of many.
func (r *episodeRow) names() string {
	var names []string
	for _, f := range r.Features {
		name := nameOf(f)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return firstOf(names, r.Count-len(r.Features))
}

// firstOf lists the first few names of many; rest is how many more there are that have none.
func firstOf(names []string, rest int) string {
	const most = 3
	if len(names) > most {
		names, rest = names[:most], rest+len(names)-most
	}
	text := strings.Join(names, ", ")
	if rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

// find returns the episode of an id, or of the beginning of one.
func findEpisode(all []*episode, id string) (*episode, error) {
	var found []*episode
	for _, e := range all {
		if e.row.Episode == id {
			return e, nil
		}
		if id != "" && strings.HasPrefix(e.row.Episode, id) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return nil, notFound(fmt.Errorf("no episode %q in the history; 'freshet alerts list --all' lists them", id))
	case 1:
		return found[0], nil
	}
	return nil, usageError(errors.New("several episodes begin with " + id))
}
