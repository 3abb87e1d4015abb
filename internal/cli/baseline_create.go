package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/profile"
)

const baselineCreateLong = `Create makes a baseline of the definition from the data that the model was trained on, and replaces the one of that
name. Columns are found by the names that the model has them under (or view__feature); fields of the model's slices
make slices. Columns that are not there are named in a warning and not watched; values of another type count as such.

--from takes a .parquet or .csv file of any size (the first line names the columns; an empty field is null), or a
SELECT, which the engine answers that 'freshet sql' asks. --from-topic takes the model's own inferences of a time instead, of
the baseline's version where it has one.

How much served rows depend on each other is learnt from the model's inferences of a time (--since, --until), whatever the baseline
is made from: of those of the baseline's version, or else of the one that has most. --variation says what becomes of a baseline
where there are not enough: auto makes it with a warning, required makes none, off does not look at them.`

// createFlags are what the command was asked.
type createFlags struct {
	from         string
	parquet      string // where the definition names no Parquet files
	fromTopic    bool
	since, until string
	sinceGiven   bool
	variation    string
	rows         uint64
	nulls        []string
}

func (a *app) baselineCreateCommand() *cobra.Command {
	var place monitorPlace
	var flags createFlags
	cmd := &cobra.Command{
		Use:   "create NAME [FILE...]",
		Short: "Make a baseline from training data, or from inferences",
		Long:  baselineCreateLong,
		Example: `  freshet baseline create delays_1 plane.yaml --from train.parquet
  freshet baseline create delays_1 plane.yaml --from train.csv --null NA
  freshet baseline create delays_1 plane.yaml --from-topic --since 24h`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(cmd.Flags().Changed); err != nil {
				return usageError(err)
			}
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				return a.createBaseline(cmd.Context(), m, args[0], flags)
			})
		},
	}
	place.addFlags(cmd)
	addParquet(cmd, &flags.parquet)
	f := cmd.Flags()
	f.StringVar(&flags.from, "from", "", "a .parquet or .csv file, or a SELECT")
	f.BoolVar(&flags.fromTopic, "from-topic", false, "the model's inferences")
	f.StringVar(&flags.since, "since", "24h", "only inferences of this time or later: RFC 3339, or how long ago (2h, 7d)")
	f.StringVar(&flags.until, "until", "", "only inferences before this time")
	f.StringVar(&flags.variation, "variation", variationAuto, "whether the baseline learns from inferences how rows vary over time: auto, required or off")
	f.Uint64Var(&flags.rows, "rows", 0, "at most so many rows, the first; 0 for all")
	f.StringSliceVar(&flags.nulls, "null", nil, "texts that are null in a CSV file, besides nothing: NA,NULL")
	return cmd
}

func (f *createFlags) check(given func(string) bool) error {
	switch {
	case (f.from == "") == !f.fromTopic:
		return errors.New("give one of --from and --from-topic")
	case f.variation != variationAuto && f.variation != variationRequired && f.variation != variationOff:
		return fmt.Errorf("--variation %q is none of auto, required and off", f.variation)
	case !f.fromTopic && f.variation == variationOff && (given("since") || given("until")):
		return errors.New("--since and --until say which inferences are read, and --variation off reads none")
	}
	f.sinceGiven = given("since")
	return nil
}

// baselineRows is where a baseline comes from: a file, a query or a topic.
type baselineRows interface {
	definition(d baseline.Definition) baseline.Definition
	each(fn rowFunc) error
}

func (a *app) createBaseline(ctx context.Context, m *monitored, name string, f createFlags) (err error) {
	def, err := m.baselineNamed(name)
	if err != nil {
		return err
	}
	made, warnings, err := m.baselines(ctx)
	if err != nil {
		return err
	}
	a.warn(warnings)
	// A clock that was set back does not make a new baseline older than the one that it replaces.
	build := time.Now().UnixMicro()
	if old := made[name]; old != nil {
		build = max(build, old.Build+1)
	}
	d := baseline.Definition{Name: name, Model: def.Model.Name, Version: def.Version, Build: build}
	l, err := newLearner(ctx, m, def, f, time.Now())
	if err != nil {
		return err
	}
	source, err := a.openRows(ctx, m.plane, f.parquet, f.from)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	rows, after, err := a.rowsOf(ctx, m, def, source, f, &d)
	if err != nil {
		return err
	}
	b, err := baseline.Make(rows.definition(d), rows.each)
	a.warn(after())
	if err != nil {
		return err
	}
	a.warn(append(otherTypes(b), tooFewRows(m.plane, def, b)...))
	if warnings, err = a.learnVariation(l, b); err != nil {
		return err
	}
	a.warn(warnings)
	records, err := baseline.Records(b)
	if err != nil {
		return err
	}
	if err := m.produce(ctx, records); err != nil {
		return err
	}
	return a.printBaseline(b)
}

// rowsOf opens what a baseline is made from and says so in d; after ends the progress and returns what was left out.
func (a *app) rowsOf(ctx context.Context, m *monitored, def *config.Baseline, source *rowSource, f createFlags, d *baseline.Definition) (rows baselineRows, after func() []string, err error) {
	if f.fromTopic {
		r := &inferenceRows{ctx: ctx, opts: m.opts, model: def.Model, version: def.Version, limit: f.rows}
		if err := r.within(f, time.Now()); err != nil {
			return nil, nil, err
		}
		records, err := r.find(m.client)
		if err != nil {
			return nil, nil, err
		}
		d.From = "inferences of " + def.Model.Inferences.Topic + " since " + r.since.UTC().Format(time.RFC3339)
		bar := newProgressOf(a.Stderr, a.Terminal, "inferences", "records", records)
		r.seen = bar.set
		return r, func() []string { bar.finish(); return r.warnings() }, nil
	}
	r := &trainingRows{ctx: ctx, limit: f.rows, nulls: f.nulls, open: source.open}
	total := int64(f.rows)
	if isQuery(f.from) {
		d.From = "a query"
	} else {
		d.From = filepath.Base(f.from)
		if n, err := countRows(f.from); err != nil {
			return nil, nil, err
		} else if total == 0 || n < total {
			total = n
		}
	}
	missing, err := r.bind(def.Model)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.From, err)
	}
	if len(missing) > 0 {
		a.warn([]string{fmt.Sprintf("%s does not have %s: not watched", d.From, strings.Join(missing, ", "))})
	}
	bar := newProgressOf(a.Stderr, a.Terminal, "rows", "rows", total)
	r.seen = bar.grow
	return r, func() []string { bar.finish(); return nil }, nil
}

// tooFewRows says which monitors can never judge anything by a baseline of so few rows.
func tooFewRows(p *config.Plane, def *config.Baseline, b *baseline.Baseline) (out []string) {
	for _, m := range p.Monitors {
		if m.Bins == def && (m.Skew || len(m.Quality) > 0) && b.Rows < uint64(m.MinSample) {
			out = append(out, fmt.Sprintf("monitor %s judges no window by %s rows: its min_sample is %s", m.Name, thousands(int64(b.Rows)), thousands(int64(m.MinSample))))
		}
	}
	return out
}

// otherTypes says which columns have values that are not of the model's type.
func otherTypes(b *baseline.Baseline) (out []string) {
	for _, c := range b.Columns {
		if n := c.Profile.Of(profile.Mistyped); n > 0 {
			out = append(out, fmt.Sprintf("column %s: %s of %s values are no %s", c.Name, thousands(int64(n)), thousands(int64(b.Rows)), c.Type))
		}
	}
	return out
}
