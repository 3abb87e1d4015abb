package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/notify/deliver"
	"github.com/freshet-io/freshet/monitors/notify/kafkastore"
)

const channelLong = `A channel is where alerts are sent. These commands try one, list what channels have been sent, and send again what was
given up.

The definition is FILE..., or else $FRESHET_PLANE, or else plane.yaml.`

func (a *app) channelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "channel",
		Short: "Try channels, and see what they were sent",
		Long:  channelLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.channelTestCommand(), a.channelListCommand(), a.channelReplayCommand(), a.channelEnableCommand())
	return cmd
}

// channelNamed returns the definition's channel of a name.
func channelNamed(p *config.Plane, name string) (*config.Channel, error) {
	var names []string
	for _, c := range p.Channels {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return nil, notFound(fmt.Errorf("no channel %q in the definition%s", name, spell.Suggest(name, names)))
}

func (a *app) channelTestCommand() *cobra.Command {
	var connections string
	cmd := &cobra.Command{
		Use:     "test NAME [FILE...]",
		Short:   "Send a firing and a resolved message of a made-up episode",
		Long:    "Test sends a firing and a resolved message of a made-up episode through a channel, once each. It needs no Kafka.",
		Example: "  freshet channel test oncall plane.yaml",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := a.planeFiles(args[1:])
			if err != nil {
				return err
			}
			plane, err := a.loadPlane(files, connections)
			if err != nil {
				return err
			}
			c, err := channelNamed(plane, args[0])
			if err != nil {
				return err
			}
			channel, err := deliver.NewChannel(c)
			if err != nil {
				return err
			}
			defer channel.Close()
			if err := notify.Try(cmd.Context(), channel, "/freshet/"+plane.Project, time.Now()); err != nil {
				return unreachable(err)
			}
			if a.json() {
				return printJSON(a.Stdout, map[string]any{"channel": c.Name, "kind": c.Kind, "delivered": 2})
			}
			_, err = fmt.Fprintf(a.Stdout, "channel %s (%s) took a firing and a resolved message\n", c.Name, c.Kind)
			return err
		},
	}
	addConnections(cmd, &connections)
	return cmd
}

func (a *app) channelListCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:     "list [FILE...]",
		Short:   "List the channels, and what waits or was given up",
		Example: "  freshet channel list plane.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args, &place, func(m *monitored) error {
				state, err := kafkastore.Read(cmd.Context(), m.opts, m.plane)
				if err != nil && !errors.Is(err, kafka.ErrNoTopic) {
					return err
				}
				deliveries, endpoints, err := notify.Inspect(state.Records)
				if err != nil {
					return err
				}
				return a.printChannels(channelRows(m.plane, deliveries, endpoints))
			})
		},
	}
	place.addFlags(cmd)
	return cmd
}

// channelRow is a channel as printed.
type channelRow struct {
	Name       string         `json:"name"`
	Kind       string         `json:"kind,omitempty"` // absent: the definition does not have it
	State      string         `json:"state"`          // ok, failing, disabled, incomplete or undefined
	Reason     string         `json:"reason,omitempty"`
	Counts     map[string]int `json:"counts"`     // of deliveries by stage, delivered ones of the last week
	Deliveries []deliveryRow  `json:"deliveries"` // that wait or were given up
}

type deliveryRow struct {
	Message  string     `json:"message"`
	Episode  string     `json:"episode"`
	Stage    string     `json:"stage"`
	Attempts int        `json:"attempts"`
	Next     *time.Time `json:"next,omitempty"`
	Error    string     `json:"error,omitempty"`
}

func channelRows(p *config.Plane, deliveries []notify.Delivery, endpoints []notify.Endpoint) []channelRow {
	rows := []channelRow{}
	row := func(name string) *channelRow {
		i := slices.IndexFunc(rows, func(r channelRow) bool { return r.Name == name })
		if i < 0 {
			i, rows = len(rows), append(rows, channelRow{Name: name, State: "undefined", Counts: map[string]int{}, Deliveries: []deliveryRow{}})
		}
		return &rows[i]
	}
	for _, c := range p.Channels {
		r := row(c.Name)
		r.Kind, r.State = c.Kind, "ok"
		if made, err := deliver.NewChannel(c); err != nil {
			r.State, r.Reason = "incomplete", err.Error()
		} else {
			made.Close()
		}
	}
	for _, e := range endpoints {
		switch r := row(e.Channel); {
		case r.State != "ok":
		case e.Disabled:
			r.State, r.Reason = "disabled", e.Reason
		case e.Failures > 0:
			r.State, r.Reason = "failing", plural(e.Failures, "failure", "failures")+" in a row"
		}
	}
	for _, d := range deliveries {
		r := row(d.Channel)
		r.Counts[d.Stage]++
		if d.Stage != "waiting" && d.Stage != "dead" {
			continue
		}
		out := deliveryRow{Message: d.Message, Episode: d.Episode, Stage: d.Stage, Attempts: d.Attempts, Error: d.Error}
		if !d.Next.IsZero() {
			out.Next = &d.Next
		}
		r.Deliveries = append(r.Deliveries, out)
	}
	return rows
}

func (a *app) printChannels(rows []channelRow) error {
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "The definition has no channels.")
		return err
	}
	t := newTable(left("CHANNEL"), left("KIND"), left("STATE"), right("WAITING"), right("SENT"), right("GIVEN UP"), left("REASON"))
	open := newTable(left("CHANNEL"), left("MESSAGE"), left("STATE"), right("ATTEMPTS"), left("NEXT"), left("ERROR"))
	for _, r := range rows {
		sent := r.Counts["delivered"] + r.Counts["resending"]
		t.add(r.Name, r.Kind, r.State, strconv.Itoa(r.Counts["waiting"]), strconv.Itoa(sent), strconv.Itoa(r.Counts["dead"]), r.Reason)
		for _, d := range r.Deliveries {
			stage, next := d.Stage, ""
			if stage == "dead" {
				stage = "given up"
			}
			if d.Next != nil {
				next = d.Next.UTC().Format(time.RFC3339)
			}
			open.add(r.Name, d.Message, stage, strconv.Itoa(d.Attempts), next, d.Error)
		}
	}
	if err := t.print(a.Stdout); err != nil || len(open.rows) == 0 {
		return err
	}
	fmt.Fprintln(a.Stdout)
	return open.print(a.Stdout)
}

const takenUp = "The process that delivers takes it up within seconds, or when one is started."

func (a *app) channelReplayCommand() *cobra.Command {
	var place monitorPlace
	var messages []string
	var all bool
	cmd := &cobra.Command{
		Use:   "replay NAME [FILE...] --message ID",
		Short: "Deliver messages again that were given up",
		Long: `Replay delivers messages again that were given up, under their ids. It may be used while the plane runs: it takes the state
of deliveries over for a moment, so that an attempt that is under way may be made twice, under the same id.
All channels of the definition must be complete.`,
		Example: "  freshet channel replay oncall plane.yaml --message ep_1424f9a5f02c3afabd43aeb2ff27201e-firing\n  freshet channel replay oncall plane.yaml --all",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(messages) > 0) {
				return usageError(errors.New("say what to deliver again: --message ID, or --all"))
			}
			name := args[0]
			var done []string
			err := a.changeDeliveries(cmd.Context(), args, &place, func(d *notify.Dispatcher) error {
				for _, x := range d.Deliveries() {
					if all && x.Channel == name && x.Stage == "dead" {
						messages = append(messages, x.Message)
					}
				}
				for _, id := range messages {
					if err := d.Replay(cmd.Context(), name, id); err != nil {
						return err
					}
					done = append(done, id)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.Stdout, map[string]any{"channel": name, "replayed": append([]string{}, done...)})
			}
			if len(done) == 0 {
				_, err = fmt.Fprintln(a.Stdout, "Nothing was given up.")
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "%s will be delivered again. %s\n", plural(len(done), "message", "messages"), takenUp)
			return err
		},
	}
	place.addFlags(cmd)
	cmd.Flags().StringArrayVar(&messages, "message", nil, "the message's id, as 'freshet channel list' prints it; may be given several times")
	cmd.Flags().BoolVar(&all, "all", false, "all that the channel has not taken")
	return cmd
}

func (a *app) channelEnableCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:   "enable NAME [FILE...]",
		Short: "Send to a channel again that said it wants no messages",
		Long: `Enable lets a channel have messages again whose receiver has answered 410. What was given up stays so until it is replayed.
It may be used while the plane runs, as replay.`,
		Example: "  freshet channel enable oncall plane.yaml",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.changeDeliveries(cmd.Context(), args, &place, func(d *notify.Dispatcher) error { return d.Enable(cmd.Context(), args[0]) })
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.Stdout, map[string]any{"channel": args[0], "enabled": true})
			}
			_, err = fmt.Fprintf(a.Stdout, "channel %s is enabled. %s\n", args[0], takenUp)
			return err
		},
	}
	place.addFlags(cmd)
	return cmd
}

// changeDeliveries calls fn with the deliveries of the plane that args name behind a channel's name.
func (a *app) changeDeliveries(ctx context.Context, args []string, place *monitorPlace, fn func(*notify.Dispatcher) error) error {
	return a.withMonitored(ctx, args[1:], place, func(m *monitored) error {
		if _, err := channelNamed(m.plane, args[0]); err != nil {
			return err
		}
		return deliver.Change(ctx, m.opts, m.plane, fn)
	})
}
