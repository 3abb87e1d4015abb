package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/topics"
)

const baselineLong = `A baseline is what a monitor compares inferences with: for each of a model's columns how its values were distributed
in the data that the model was trained on. It is kept in Kafka and replaced as a whole; processes with the role
monitor take a new one up within seconds.

The definition is FILE..., or else $FRESHET_PLANE, or else plane.yaml.`

func (a *app) baselineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "baseline",
		Short: "Make and show what monitors compare with",
		Long:  baselineLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.baselineCreateCommand(), a.baselineListCommand(), a.baselineShowCommand(), a.baselineDiffCommand(), a.baselineDeleteCommand())
	return cmd
}

// baselineInfo is a baseline as printed.
type baselineInfo struct {
	Name    string       `json:"name"`
	Model   string       `json:"model"`
	Version string       `json:"version,omitempty"`
	Made    string       `json:"made,omitempty"` // absent: it has not been made
	From    string       `json:"from,omitempty"`
	Rows    uint64       `json:"rows"`
	Columns []columnInfo `json:"columns,omitempty"`
	Slices  []sliceInfo  `json:"slices,omitempty"`
	// Variation is of what inferences it is known how rows vary over time; absent if it is not.
	Variation *variationInfo `json:"variation,omitempty"`
}

type variationInfo struct {
	Since      string `json:"since,omitempty"` // absent: of the baseline's own rows
	Until      string `json:"until,omitempty"`
	Inferences uint64 `json:"inferences,omitempty"`
	Version    string `json:"version,omitempty"` // absent: any
}

type columnInfo struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Nulls    uint64   `json:"nulls"`
	Mistyped uint64   `json:"mistyped"`
	Bins     int      `json:"bins"`
	Mean     *float64 `json:"mean,omitempty"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	// DesignEffect is for how many rows one independent one stands; absent if that is not known.
	DesignEffect *float64 `json:"design_effect,omitempty"`
}

type sliceInfo struct {
	Field string `json:"field"`
	Value string `json:"value"`
	Rows  uint64 `json:"rows"`
}

func newBaselineInfo(b *baseline.Baseline) baselineInfo {
	out := baselineInfo{Name: b.Name, Model: b.Model, Version: b.Version, Made: instant(b.Build), From: b.From, Rows: b.Rows}
	for _, c := range b.Columns {
		info := columnInfo{Name: c.Name, Type: c.Type.String(), Nulls: c.Profile.Of(profile.Null), Mistyped: c.Profile.Of(profile.Mistyped), Bins: c.Profile.Bins().Regular()}
		if m := c.Profile.Moments(); c.Profile.Bins().Kind() == profile.Numeric && m.N > 0 {
			info.Mean, info.Min, info.Max = &m.Mean, &m.Min, &m.Max
		}
		if c.Dispersion != nil {
			info.DesignEffect = &c.Dispersion.Effect
		}
		out.Columns = append(out.Columns, info)
	}
	for _, s := range b.Slices {
		out.Slices = append(out.Slices, sliceInfo{s.Field, s.Value, s.Rows})
	}
	if v := b.Variation; v != nil {
		out.Variation = &variationInfo{Inferences: v.Rows, Version: v.Version}
		if v.Rows > 0 {
			out.Variation.Since, out.Variation.Until = instant(v.Since), instant(v.Until)
		}
	}
	return out
}

func (a *app) baselineListCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:     "list [FILE...]",
		Short:   "List the baselines of the definition, and those that have been made",
		Example: "  freshet baseline list plane.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args, &place, func(m *monitored) error { return a.listBaselines(cmd.Context(), m) })
		},
	}
	place.addFlags(cmd)
	return cmd
}

func (a *app) listBaselines(ctx context.Context, m *monitored) error {
	made, warnings, err := m.baselines(ctx)
	if err != nil {
		return err
	}
	a.warn(warnings)
	if _, err := a.unbaselined(ctx, m, made); err != nil {
		return err
	}
	rows := []baselineInfo{}
	for _, d := range m.plane.Baselines {
		if b := made[d.Name]; b != nil {
			rows = append(rows, newBaselineInfo(b))
		} else {
			rows = append(rows, baselineInfo{Name: d.Name, Model: d.Model.Name, Version: d.Version})
		}
		delete(made, d.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(made)) { // no longer, or not yet, in the definition
		rows = append(rows, newBaselineInfo(made[name]))
	}
	if a.json() {
		return printJSON(a.Stdout, rows)
	}
	t := newTable(left("BASELINE"), left("MODEL"), left("VERSION"), left("MADE"), right("ROWS"), right("COLUMNS"), right("SLICES"), left("FROM"))
	for _, r := range rows {
		if r.Made == "" {
			t.add(r.Name, r.Model, r.Version, "not yet")
			continue
		}
		t.add(r.Name, r.Model, r.Version, r.Made, thousands(int64(r.Rows)), strconv.Itoa(len(r.Columns)), strconv.Itoa(len(r.Slices)), r.From)
	}
	return t.print(a.Stdout)
}

func (a *app) baselineDeleteCommand() *cobra.Command {
	var place monitorPlace
	cmd := &cobra.Command{
		Use:     "delete NAME [FILE...]",
		Short:   "Delete a baseline: what needs it is not watched any more",
		Example: "  freshet baseline delete delays_1 plane.yaml",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				b, err := m.baseline(cmd.Context(), a, args[0])
				if err != nil {
					return err
				}
				if err := m.produce(cmd.Context(), baseline.Deletion(b.Name)); err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.Stdout, map[string]any{"deleted": b.Name})
				}
				_, err = fmt.Fprintf(a.Stdout, "Deleted %s.\n", b.Name)
				return err
			})
		},
	}
	place.addFlags(cmd)
	return cmd
}

// baseline returns a baseline that has been made.
func (m *monitored) baseline(ctx context.Context, a *app, name string) (*baseline.Baseline, error) {
	made, warnings, err := m.baselines(ctx)
	if err != nil {
		return nil, err
	}
	a.warn(warnings)
	if b := made[name]; b != nil {
		return b, nil
	}
	for _, d := range m.plane.Baselines {
		if d.Name == name {
			return nil, notFound(fmt.Errorf("the baseline %s has not been made yet: freshet baseline create %s --from FILE", name, name))
		}
	}
	return nil, notFound(fmt.Errorf("there is no baseline %q%s", name, spell.Suggest(name, slices.Collect(maps.Keys(made)))))
}

// produce writes records of baselines one after the other, into topics that are there then.
func (m *monitored) produce(ctx context.Context, records []baseline.Record) error {
	if err := kafka.EnsureTopics(ctx, kadm.NewClient(m.client), m.conn, topics.Specs(m.plane)); err != nil {
		return err
	}
	topic := topics.Name(m.plane, topics.Baselines)
	for _, r := range records {
		if err := m.client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value}).FirstErr(); err != nil {
			return fmt.Errorf("write the record %s to %s: %w", r.Key, topic, err)
		}
	}
	return nil
}

// printBaseline prints a baseline whole, without its bins.
func (a *app) printBaseline(b *baseline.Baseline) error {
	info := newBaselineInfo(b)
	if a.json() {
		return printJSON(a.Stdout, info)
	}
	fmt.Fprintf(a.Stdout, "%s: %s of %s, made %s\n", info.Name, plural(int(info.Rows), "row", "rows"), printable(info.From), info.Made)
	headings := []column{left("COLUMN"), left("TYPE"), right("NULL"), right("OTHER TYPE"), right("BINS"), right("MEAN"), right("MIN"), right("MAX")}
	if info.Variation != nil {
		headings = append(headings, right("DESIGN EFFECT"))
	}
	t := newTable(headings...)
	for _, c := range info.Columns {
		cells := []string{c.Name, c.Type, share(c.Nulls, info.Rows), share(c.Mistyped, info.Rows), strconv.Itoa(c.Bins), figure(c.Mean), figure(c.Min), figure(c.Max)}
		if info.Variation != nil {
			cells = append(cells, effectText(c.DesignEffect))
		}
		t.add(cells...)
	}
	if err := t.print(a.Stdout); err != nil {
		return err
	}
	fields := map[string][]string{}
	for _, s := range info.Slices {
		fields[s.Field] = append(fields[s.Field], fmt.Sprintf("%s (%s)", s.Value, thousands(int64(s.Rows))))
	}
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(a.Stdout, "slices by %s: %s\n", printable(f), printable(strings.Join(fields[f], ", ")))
	}
	_, err := fmt.Fprintln(a.Stdout, variationText(b.Variation))
	return err
}

func effectText(effect *float64) string {
	if effect == nil {
		return ""
	}
	return strconv.FormatFloat(*effect, 'f', 1, 64)
}

// share writes a part of a whole as a percentage, nothing for none.
func share(part, whole uint64) string {
	if part == 0 || whole == 0 {
		return ""
	}
	return percentText(float64(part) / float64(whole))
}

func percentText(share float64) string {
	if share > 0 && share < 0.001 {
		return fmt.Sprintf("%.2g %%", 100*share)
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

func figure(x *float64) string {
	if x == nil {
		return ""
	}
	return strconv.FormatFloat(*x, 'g', 5, 64)
}
