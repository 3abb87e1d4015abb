package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/baseline"
)

// Whether a baseline of training data learns from the model's inferences how rows vary over time.
const (
	variationAuto     = "auto" // if there are enough
	variationRequired = "required"
	variationOff      = "off"
)

const (
	// windowsLearnt is of how many windows inferences are wanted: the longest parts of their time that are compared are then no
	// shorter than a window.
	windowsLearnt = 12
	// windowUnknown is how long a window is taken to be while no monitor compares with the baseline.
	windowUnknown = time.Hour
	// mostLearnt is how many records are read where nobody said of what time: of busier topics a shorter time.
	mostLearnt = 5_000_000
)

// learner lets a baseline of training data know how the model's inferences vary.
type learner struct {
	*monitored
	def   *config.Baseline
	must  bool          // the baseline is not made without
	least time.Duration // that inferences have to cover
	most  int64         // records; 0: any number
	rows  *inferenceRows
}

// learnVariation lets a baseline know how the rows of the model's inferences vary over time. What it could not learn it says in
// warnings. Without a learner nothing is asked for.
func (a *app) learnVariation(l *learner, b *baseline.Baseline) (warnings []string, err error) {
	if l == nil {
		return nil, nil
	}
	unlike, err := l.learn(a, b)
	topic := l.def.Model.Inferences.Topic
	if few := (*baseline.TooLittle)(nil); errors.As(err, &few) {
		since := instant(l.rows.since.UnixMicro())
		if l.must {
			return nil, fmt.Errorf("--variation required: of %s since %s %w", topic, since, few)
		}
		return []string{fmt.Sprintf("how rows vary over time is not known: of %s since %s %s. False episodes of inferences that depend on each other may be more than configured: "+
			"create the baseline again once the model has served for %s", topic, since, few, windowText(max(l.least, 24*time.Hour)))}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read from %s how rows vary over time (--variation off does without): %w", topic, err)
	}
	if len(unlike) == len(b.Columns) && l.must {
		return nil, fmt.Errorf("--variation required: the inferences of %s share less than half of their distribution with the training data in every column", topic)
	}
	return append(l.rows.warnings(), learnt(b, unlike)...), nil
}

// learnt says what a baseline has not learnt, or not well.
func learnt(b *baseline.Baseline, unlike []string) (warnings []string) {
	if len(unlike) > 0 {
		warnings = append(warnings, fmt.Sprintf("how rows vary over time is not known of %s: inferences share less than half of their distribution with the training data", strings.Join(unlike, ", ")))
	}
	var unsettled []string
	for _, c := range b.Columns {
		if d := c.Dispersion; d != nil && d.Unsettled {
			unsettled = append(unsettled, c.Name)
		}
	}
	if len(unsettled) > 0 {
		warnings = append(warnings, fmt.Sprintf("values of %s stay alike for a good part of the time that was looked at, or for longer: learn from a longer one (--since)", strings.Join(unsettled, ", ")))
	}
	return warnings
}

// newLearner reads the inferences of the time that was asked for, or else of the last day, or of twelve windows if that is longer. It
// is nil if no inferences are to be read, or they make the baseline themselves.
func newLearner(ctx context.Context, m *monitored, def *config.Baseline, f createFlags, now time.Time) (*learner, error) {
	if f.fromTopic || f.variation == variationOff {
		return nil, nil
	}
	l := &learner{monitored: m, def: def, must: f.variation == variationRequired, least: windowsLearnt * longestWindow(m.plane, def)}
	l.rows = &inferenceRows{ctx: ctx, opts: m.opts, model: def.Model}
	if err := l.rows.within(f, now); err != nil {
		return nil, err
	}
	if !f.sinceGiven {
		l.most = mostLearnt
		l.rows.since = l.until(now).Add(-max(24*time.Hour, l.least))
	}
	return l, nil
}

func (l *learner) until(now time.Time) time.Time {
	if l.rows.until.IsZero() {
		return now
	}
	return l.rows.until
}

// longestWindow is the longest window that a monitor compares with a baseline, or with another one on its bins.
func longestWindow(p *config.Plane, def *config.Baseline) (longest time.Duration) {
	for _, m := range p.Monitors {
		if m.Bins == def && (m.Skew || m.Against > 0) {
			longest = max(longest, m.Size)
		}
	}
	if longest == 0 {
		return windowUnknown
	}
	return longest
}

func (l *learner) learn(a *app, b *baseline.Baseline) (unlike []string, err error) {
	records, err := l.find(l.until(time.Now()))
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil, &baseline.TooLittle{Reason: "there is no topic yet"}
	}
	if err != nil {
		return nil, err
	}
	bar := newProgressOf(a.Stderr, a.Terminal, "inferences", "records", records)
	defer bar.finish()
	l.rows.seen = bar.set
	columns := make([]int, len(b.Columns)) // of the inferences
	for i, c := range b.Columns {
		at := slices.IndexFunc(l.def.Model.Columns, func(of config.Column) bool { return of.Name == c.Name })
		columns[i] = l.def.Model.Columns[at].Field
	}
	values := make([]feature.Value, len(columns))
	return b.Learn(baseline.Stream{Least: l.least, Rows: func(fn func(values []feature.Value, at int64, version string) error) error {
		return l.rows.events(func(row []feature.Value, at int64) error {
			for i, field := range columns {
				values[i] = row[field]
			}
			return fn(values, at, l.rows.of)
		})
	}})
}

// find fixes what is read: the newest part of the time, as long as that is enough, if all of it has too many records.
func (l *learner) find(until time.Time) (int64, error) {
	for {
		records, err := l.rows.find(l.client)
		if err != nil || l.most == 0 || records <= l.most {
			return records, err
		}
		span := until.Sub(l.rows.since)
		next := time.Duration(0.9 * float64(span) * float64(l.most) / float64(records))
		if next < l.least {
			return 0, &baseline.TooLittle{Reason: fmt.Sprintf("there are %d records, of which %d are read unless --since says of what time, and these are of less than %s", records, l.most, windowText(l.least))}
		}
		l.rows.since = until.Add(-next)
	}
}

// variationText says of what inferences it is known how a baseline's rows vary.
func variationText(v *baseline.Variation) string {
	switch {
	case v == nil:
		return "how rows vary over time is not known"
	case v.Rows == 0:
		return "how rows vary over time is known of its own rows"
	}
	of := "any version"
	if v.Version != "" {
		of = "version " + printable(v.Version)
	}
	return fmt.Sprintf("how rows vary over time is known of %s of %s, %s to %s", plural(int(v.Rows), "inference", "inferences"), of, instant(v.Since), instant(v.Until))
}
