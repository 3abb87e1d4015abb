package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/playback"
	"github.com/freshet-io/freshet/monitors/report"
	"github.com/freshet-io/freshet/monitors/watch"
)

const backtestLong = `Backtest runs a monitor over inferences that have happened and says when it would have fired, without telling
anyone: the way to choose thresholds before somebody is woken. Of each column it prints how its effect was
distributed over the windows, beside the threshold.

The inferences are those of the model's topic, or with --events those of a .ndjson file as the model's server logs them, of
a .csv or .parquet file with a column for each field, or of a SELECT. The baseline is the one that has been made, or with
--baseline one of a file of training rows. With both no Kafka is asked. Windows are judged as if each
inference had come at its event time.`

// backtestFlags are what the command was asked.
type backtestFlags struct {
	from, to, events, baseline, parquet string
	threshold                           float64
	windows                             int
	minSample                           int
	falseAlarms                         string
	perMonth                            float64 // what falseAlarms says, for 30 days; 0: the definition's
}

func (a *app) monitorBacktestCommand() *cobra.Command {
	var place monitorPlace
	var flags backtestFlags
	cmd := &cobra.Command{
		Use:   "backtest NAME [FILE...]",
		Short: "Say when a monitor would have fired in the past",
		Long:  backtestLong,
		Example: `  freshet monitor backtest delays plane.yaml --from 30d
  freshet monitor backtest delays plane.yaml --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --threshold 0.2 --for 3
  freshet monitor backtest delays plane.yaml --events inferences.parquet --baseline train.parquet`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backtest(cmd.Context(), args[0], args[1:], &place, flags)
		},
	}
	place.addFlags(cmd)
	addParquet(cmd, &flags.parquet)
	f := cmd.Flags()
	f.StringVar(&flags.from, "from", "", "only inferences of this time or later: RFC 3339, or how long ago (2h, 30d); default all")
	f.StringVar(&flags.to, "to", "", "only inferences before this time; default all")
	f.StringVar(&flags.events, "events", "", "a .ndjson, .csv or .parquet file of inferences, or a SELECT, instead of the topic")
	f.StringVar(&flags.baseline, "baseline", "", "a .csv or .parquet file of training rows, or a SELECT, instead of the baseline that has been made")
	f.Float64Var(&flags.threshold, "threshold", 0, "threshold of every column, instead of the definition's")
	f.IntVar(&flags.windows, "for", 0, "disjoint windows in a row that must be too far, instead of the definition's")
	f.IntVar(&flags.minSample, "min-sample", 0, "fewest inferences that are judged, instead of the definition's")
	f.StringVar(&flags.falseAlarms, "false-alarms", "", "expected false episodes in a time, as 1/30d, instead of the definition's")
	return cmd
}

func (a *app) backtest(ctx context.Context, name string, files []string, place *monitorPlace, f backtestFlags) error {
	b := backtest{app: a, ctx: ctx, flags: f}
	if err := b.times(time.Now()); err != nil {
		return usageError(err)
	}
	if f.events == "" || f.baseline == "" {
		return a.withMonitored(ctx, files, place, func(m *monitored) error {
			b.monitored = m
			return b.run(m.plane, name)
		})
	}
	files, err := a.planeFiles(files)
	if err != nil {
		return err
	}
	plane, err := a.loadPlane(files, place.connections)
	if err != nil {
		return err
	}
	return b.run(plane, name)
}

// backtest is one run of a monitor over the past.
type backtest struct {
	app       *app
	ctx       context.Context
	flags     backtestFlags
	from, to  time.Time  // zero: any
	monitored *monitored // nil if files are all that is asked

	first, last int64 // times of the inferences that were played
	result      backtestResult
	effects     map[alert.Series][]watch.Score
	minSample   int // the monitor's, as the flags change it
}

// backtestResult is what is printed.
type backtestResult struct {
	Monitor    string           `json:"monitor"`
	From       string           `json:"from"` // of the first inference
	To         string           `json:"to"`   // of the last
	Inferences uint64           `json:"inferences"`
	Windows    int              `json:"windows"`
	Expected   float64          `json:"expected_false_episodes"` // in that time, by false_alarms
	Episodes   []pastEpisode    `json:"episodes"`
	Columns    []pastColumn     `json:"columns"`
	Strays     map[string]int64 `json:"versions_without_baseline,omitempty"`
}

// pastEpisode is an episode that would have been told.
type pastEpisode struct {
	Class    string   `json:"class"`
	Group    string   `json:"group,omitempty"`
	Started  string   `json:"started"`            // begin of the first window that was too far
	Told     string   `json:"told"`               // end of the window that told it
	Resolved string   `json:"resolved,omitempty"` // end of the window that ended it; absent: it had not ended
	Features []string `json:"features"`
	id       string
}

// pastColumn is what a series came to over all windows.
type pastColumn struct {
	Column    string       `json:"column"`
	Kind      string       `json:"kind"`
	Check     string       `json:"check,omitempty"`
	Slice     string       `json:"slice,omitempty"`
	Windows   int          `json:"windows"` // that were judged; without any the effects are null
	Changed   int          `json:"changed"` // of them: over the threshold and significant
	Median    alert.Number `json:"effect_p50"`
	P95       alert.Number `json:"effect_p95"`
	P99       alert.Number `json:"effect_p99"`
	Max       alert.Number `json:"effect_max"`
	Threshold float64      `json:"threshold"`
}

func (b *backtest) times(now time.Time) (err error) {
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"from", b.flags.from, &b.from}, {"to", b.flags.to, &b.to}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = parseWhen(t.text, now); err != nil {
			return fmt.Errorf("--%s: %w", t.flag, err)
		}
	}
	if !b.to.IsZero() && !b.from.Before(b.to) {
		return errors.New("--to is not after --from")
	}
	return b.checkOverrides()
}

func (b *backtest) checkOverrides() error {
	f := &b.flags
	switch {
	case f.threshold < 0:
		return errors.New("--threshold is below 0")
	case f.windows < 0 || f.windows > 100:
		return errors.New("--for is from 1 to 100")
	case f.minSample < 0:
		return errors.New("--min-sample is below 0")
	}
	if f.falseAlarms != "" {
		var ok bool
		if f.perMonth, ok = config.ParseFalseAlarms(f.falseAlarms); !ok {
			return fmt.Errorf("--false-alarms: %q is no number of episodes in a time; write 1/30d or 2/7d", f.falseAlarms)
		}
	}
	return nil
}

func (b *backtest) run(plane *config.Plane, name string) error {
	mon, err := monitorNamed(plane, name)
	if err != nil {
		return err
	}
	if err := b.checkThreshold(mon); err != nil {
		return usageError(err)
	}
	mon = b.override(mon)
	b.minSample = mon.MinSample
	alone := *plane
	alone.Monitors = []*config.Monitor{mon}
	made, err := b.baselines(plane, mon)
	if err != nil {
		return err
	}
	b.effects = map[alert.Series][]watch.Score{}
	b.result = backtestResult{Monitor: mon.Name, Episodes: []pastEpisode{}, Columns: []pastColumn{}}
	player, err := playback.New(playback.Options{Plane: &alone, Model: mon.Model, Baselines: made, Judged: b.judged})
	if err != nil {
		return err
	}
	if err := b.play(plane, mon.Model, player); err != nil {
		return err
	}
	if player.Rows() == 0 {
		return notFound(errors.New("there are no inferences of that time"))
	}
	b.result.Inferences, b.result.From, b.result.To = player.Rows(), instant(b.first), instant(b.last)
	b.result.Expected = mon.FalseAlarms * float64(b.last-b.first) / float64((30 * 24 * time.Hour).Microseconds())
	for v, n := range player.Strays() {
		if b.result.Strays == nil {
			b.result.Strays = map[string]int64{}
		}
		b.result.Strays[v] = int64(n)
	}
	if of := made[mon.Bins.Name]; len(b.result.Episodes) > 0 && of.Variation == nil {
		b.app.warn([]string{fmt.Sprintf("the baseline %s does not know how rows vary over time: of inferences that depend on each other there are more episodes than with one that does", of.Name)})
	}
	b.columns()
	return b.print()
}

// checkThreshold refuses a threshold that no distance of the monitor can reach.
func (b *backtest) checkThreshold(mon *config.Monitor) error {
	reached := func(w config.Watched) bool { return !config.Bounded(w.Method) }
	if b.flags.threshold < 1 || len(mon.Columns) == 0 || slices.ContainsFunc(mon.Columns, reached) {
		return nil
	}
	return errors.New("--threshold must be below 1, which a distance of this monitor never exceeds")
}

// override returns the monitor as the flags change it.
func (b *backtest) override(mon *config.Monitor) *config.Monitor {
	m := *mon
	f := &b.flags
	m.Columns = slices.Clone(m.Columns)
	for i := range m.Columns {
		m.Columns[i].Threshold = cmp.Or(f.threshold, m.Columns[i].Threshold)
	}
	m.For, m.MinSample, m.FalseAlarms = cmp.Or(f.windows, m.For), cmp.Or(f.minSample, m.MinSample), cmp.Or(f.perMonth, m.FalseAlarms)
	return &m
}

// baselines are those of the model that have been made, or the monitor's of a file.
func (b *backtest) baselines(plane *config.Plane, mon *config.Monitor) (map[string]*baseline.Baseline, error) {
	if b.flags.baseline != "" {
		d := baseline.Definition{Name: mon.Bins.Name, Model: mon.Model.Name, Version: mon.Bins.Version, Build: 1}
		made, err := b.app.trainedOn(b.ctx, plane, mon.Model, d, b.flags.parquet, b.flags.baseline)
		if err != nil {
			return nil, fmt.Errorf("--baseline: %w", err)
		}
		return map[string]*baseline.Baseline{d.Name: made}, nil
	}
	made, warnings, err := b.monitored.baselines(b.ctx)
	if err != nil {
		return nil, err
	}
	b.app.warn(warnings)
	if made[mon.Bins.Name] == nil {
		return nil, notFound(fmt.Errorf("the baseline %s has not been made; make it (freshet baseline create), or name a file of training rows (--baseline)", mon.Bins.Name))
	}
	return made, nil
}

func (b *backtest) judged(j watch.Judgement) error {
	b.result.Windows++
	for _, s := range j.Scores {
		of := alert.Series{Kind: s.Kind, Check: s.Check, Column: s.Column, Slice: s.Slice}
		s.Movers, s.Notes = nil, nil // of thousands of windows
		b.effects[of] = append(b.effects[of], s)
	}
	for i := range j.Messages {
		b.told(&j.Messages[i], j.Window.End)
	}
	return nil
}

// told notes a message that would have been sent.
func (b *backtest) told(m *alert.Message, end int64) {
	switch m.Type {
	case alert.FiringType:
		e := pastEpisode{Class: string(m.Class), Group: m.Group, Started: instant(int64(m.StartedAt)), Told: instant(end), id: m.Episode}
		for _, f := range m.Features {
			name := seriesName(f.Column, f.Slice)
			if f.Column == "" {
				name = string(f.Kind)
			}
			e.Features = append(e.Features, name)
		}
		b.result.Episodes = append(b.result.Episodes, e)
	case alert.ResolvedType:
		if i := slices.IndexFunc(b.result.Episodes, func(e pastEpisode) bool { return e.id == m.Episode }); i >= 0 {
			b.result.Episodes[i].Resolved = instant(end)
		}
	}
}

// play gives the player the inferences of the time, in order.
func (b *backtest) play(plane *config.Plane, model *config.Model, player *playback.Player) error {
	p, total, err := b.open(plane, model)
	if err != nil {
		return err
	}
	bar := newProgressOf(b.app.Stderr, b.app.Terminal, "inferences", "inferences", total)
	err = inOrder(p, func(row []feature.Value, at int64) error {
		if !b.from.IsZero() && at < b.from.UnixMicro() || !b.to.IsZero() && at >= b.to.UnixMicro() {
			return nil
		}
		if player.Rows() == 0 {
			b.first = at
		}
		b.last = at
		if player.Rows()%1024 == 0 {
			bar.grow(int64(player.Rows()))
		}
		return player.Add(row, at)
	})
	if err == nil {
		err = player.End(0)
	}
	bar.finish()
	b.app.warn(p.warnings())
	return err
}

// open finds the inferences, and about how many there are.
func (b *backtest) open(plane *config.Plane, model *config.Model) (past, int64, error) {
	if b.flags.events != "" {
		p, err := b.app.openPast(b.ctx, plane, model, b.flags.parquet, b.flags.events)
		return p, 0, err
	}
	rows := &inferenceRows{ctx: b.ctx, opts: b.monitored.opts, model: model, since: b.from, until: b.to, seen: func(int64) {}}
	n, err := rows.find(b.monitored.client)
	return topicEvents{rows}, n, err
}

// columns sums up what every series came to.
func (b *backtest) columns() {
	for of, scores := range b.effects {
		none := alert.Number(math.NaN())
		c := pastColumn{Column: of.Column, Kind: string(of.Kind), Check: of.Check, Slice: of.Slice, Median: none, P95: none, P99: none, Max: none, Threshold: scores[0].Threshold}
		var effects []float64
		for _, s := range scores {
			if o := drift.Outcome(s.Outcome); o == drift.TooFewRows || o == drift.NoRows {
				continue
			}
			c.Windows++
			if s.Changed() {
				c.Changed++
			}
			if x := float64(s.Effect); x == x {
				effects = append(effects, x)
			}
		}
		if len(effects) > 0 {
			slices.Sort(effects)
			at := func(q float64) alert.Number { return alert.Number(effects[int(q*float64(len(effects)-1)+0.5)]) }
			c.Median, c.P95, c.P99, c.Max = at(0.5), at(0.95), at(0.99), at(1)
		}
		b.result.Columns = append(b.result.Columns, c)
	}
	slices.SortFunc(b.result.Columns, func(x, y pastColumn) int {
		return cmp.Or(cmp.Compare(min(len(x.Slice), 1), min(len(y.Slice), 1)) /* all rows first */, cmp.Compare(float64(y.Max)/y.Threshold, float64(x.Max)/x.Threshold), // NaN last
			cmp.Compare(x.Column, y.Column), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Check, y.Check), cmp.Compare(x.Slice, y.Slice))
	})
}

func (b *backtest) print() error {
	r, w := &b.result, b.app.Stdout
	if b.app.json() {
		return printJSON(w, r)
	}
	fmt.Fprintf(w, "%s over %s inferences from %s to %s: %s, %s; by chance %.2g were to be expected.\n", r.Monitor, thousands(int64(r.Inferences)), r.From, r.To,
		plural(r.Windows, "window", "windows"), plural(len(r.Episodes), "episode", "episodes"), r.Expected)
	for v, n := range r.Strays {
		fmt.Fprintf(w, "%s of version %q have no baseline and were not judged.\n", plural(int(n), "inference", "inferences"), v)
	}
	if len(r.Columns) > 0 && !slices.ContainsFunc(r.Columns, func(c pastColumn) bool { return c.Windows > 0 }) {
		fmt.Fprintf(w, "No window was judged: all had fewer inferences than %s.\n", thousands(int64(b.minSample)))
	}
	if len(r.Episodes) > 0 {
		t := newTable(left("STARTED"), left("TOLD"), left("RESOLVED"), left("CLASS"), left("GROUP"), left("FEATURES"))
		for _, e := range r.Episodes {
			t.add(e.Started, e.Told, cmp.Or(e.Resolved, "not yet"), e.Class, e.Group, strings.Join(e.Features, ", "))
		}
		fmt.Fprintln(w)
		if err := t.print(w); err != nil {
			return err
		}
	}
	t := newTable(left("COLUMN"), left("SLICE"), left("KIND"), right("WINDOWS"), right("CHANGED"), right("EFFECT P50"), right("P95"), right("P99"), right("MAX"), right("THRESHOLD"))
	for _, c := range r.Columns {
		if c.Slice != "" && c.Changed == 0 {
			continue
		}
		kind := c.Kind
		if c.Check != "" {
			kind += " " + c.Check
		}
		n := func(x alert.Number) string { return report.Number(float64(x)) }
		t.add(c.Column, c.Slice, kind, thousands(int64(c.Windows)), thousands(int64(c.Changed)), n(c.Median), n(c.P95), n(c.P99), n(c.Max), fmt.Sprint(c.Threshold))
	}
	fmt.Fprintln(w)
	return t.print(w)
}
