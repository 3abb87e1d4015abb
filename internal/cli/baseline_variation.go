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

// Whether a baseline learns from the model's inferences how rows vary over time.
const (
	variationAuto     = "auto" // if there are enough
	variationRequired = "required"
	variationOff      = "off"
)

const (
	// windowsLearnt is of how many windows inferences are wanted: the longest parts of their time that are compared are then about as
	// long as a window.
	windowsLearnt = 12
	// windowUnknown is how long a window is taken to be while no monitor compares with the baseline.
	windowUnknown = time.Hour
	// mostLearnt is how many records are read where nobody said of what time: of busier topics those of a shorter time, down to
	// that of the windows that are wanted. Of parts of a time it would not be seen how long values last.
	mostLearnt = 5_000_000
	// mostAtAll is how many are read for these windows. More take minutes, which nobody asked for.
	mostAtAll = 50_000_000
	// fewIndependent is to how few independent rows the training rows may come before the command warns.
	fewIndependent = 100
)

// learner lets a baseline know how the model's inferences vary.
type learner struct {
	*monitored
	def             *config.Baseline
	must            bool          // the baseline is not made without
	fixed           bool          // the command said of what time
	stream          bool          // the baseline is made of the inferences
	least           time.Duration // that inferences have to cover
	most, mostAtAll int64         // records
	records         int64         // that were found
	rows            *inferenceRows
	failed          error // why nothing can be learnt, as is known before anything is read
}

// unlearnt is the error of why nothing is known of how rows vary, with what to do about it.
type unlearnt struct{ reason, advice string }

func (e *unlearnt) Error() string { return e.reason }

// newLearner reads the inferences of the time that was asked for, or else of the last day, or of twelve windows if that is longer, and
// asks the topic for them. It is nil if no inferences are to be read. An error is returned if the baseline is not to be made then.
func newLearner(ctx context.Context, m *monitored, def *config.Baseline, f createFlags, now time.Time) (*learner, error) {
	if f.variation == variationOff {
		return nil, nil
	}
	l := &learner{
		monitored: m, def: def, must: f.variation == variationRequired, fixed: f.sinceGiven || f.until != "", stream: f.fromTopic,
		least: windowsLearnt * longestWindow(m.plane, def), most: mostLearnt, mostAtAll: mostAtAll,
	}
	l.rows = &inferenceRows{ctx: ctx, opts: m.opts, model: def.Model}
	if err := l.rows.within(f, now); err != nil {
		return nil, err
	}
	until := l.rows.until
	if until.IsZero() {
		until = now
	}
	if !f.sinceGiven {
		l.rows.since = until.Add(-max(24*time.Hour, l.least))
	}
	l.records, l.failed = l.find(until, !f.sinceGiven)
	if l.failed == nil && l.records == 0 {
		l.failed = l.lack(&baseline.TooLittle{})
	}
	if l.failed != nil && (l.must || ctx.Err() != nil) {
		return nil, l.required(l.failed)
	}
	return l, nil
}

// learnVariation lets a baseline know how the rows of the model's inferences vary over time. What it could not learn it says in
// warnings. Without a learner nothing is asked for.
func (a *app) learnVariation(l *learner, b *baseline.Baseline) (warnings []string, err error) {
	if l == nil {
		return nil, nil
	}
	unlike, err := l.learn(a, b)
	if !l.stream { // else its rows have said it
		warnings = l.rows.warnings()
	}
	if err == nil && b.Variation == nil {
		err = l.nowhere(b, unlike)
	}
	switch {
	case err == nil:
		return append(warnings, learnt(b, unlike)...), nil
	case l.must || l.rows.ctx.Err() != nil:
		return nil, l.required(err)
	}
	return append(warnings, l.unknown(err)), nil
}

// required is the error of a baseline that is not made because of err.
func (l *learner) required(err error) error {
	if few := (*unlearnt)(nil); errors.As(err, &few) {
		return fmt.Errorf("--variation required: %w: %s", few, few.advice)
	}
	return fmt.Errorf("read from %s how rows vary over time (--variation off does without): %w", l.def.Model.Inferences.Topic, err)
}

// unknown is the warning of a baseline that knows nothing of how rows vary because of err.
func (l *learner) unknown(err error) string {
	advice := "create the baseline again when it can be read"
	if few := (*unlearnt)(nil); errors.As(err, &few) {
		advice = few.advice
	} else {
		err = fmt.Errorf("%s cannot be read (--variation off does without): %w", l.def.Model.Inferences.Topic, err)
	}
	return fmt.Sprintf("how rows vary over time is not known: %s. False episodes of inferences that depend on each other may be more than configured: %s", err, advice)
}

// nowhere is the error of a stream of which in no column anything was learnt.
func (l *learner) nowhere(b *baseline.Baseline, unlike []string) error {
	topic := l.def.Model.Inferences.Topic
	if len(unlike) < len(b.Columns) {
		return &unlearnt{"too few inferences of " + topic + " have values", "take a longer time (--since, --until)"}
	}
	return &unlearnt{
		"the inferences of " + topic + " share less than half of their distribution with the training data in every column",
		"see whether these are the data that the model was trained on, in the same units",
	}
}

// lack says what the inferences are too few for.
func (l *learner) lack(few *baseline.TooLittle) *unlearnt {
	topic, when := l.def.Model.Inferences.Topic, "since "+instant(l.rows.since.UnixMicro())
	if !l.rows.until.IsZero() {
		when += " until " + instant(l.rows.until.UnixMicro())
	}
	n := plural(int(few.Inferences), "inference", "inferences")
	if few.Version != "" {
		n += " of version " + printable(few.Version)
	}
	var why unlearnt
	switch few.Lack {
	case baseline.LacksInferences:
		why.reason = fmt.Sprintf("%s has %s %s, and it takes %s", topic, n, when, thousands(baseline.LeastInferences))
		why.advice = "create the baseline again once there are so many, of a longer time if few come in a day (--since)"
	case baseline.LacksTime:
		why.reason = fmt.Sprintf("the %s of %s %s are of %s, and it takes %s", n, topic, when, coveredText(few.Covered), windowText(few.Least))
		why.advice = fmt.Sprintf("create the baseline again once they are, of a longer time if they come for a part of the day only (--since %s)", windowText(2*max(24*time.Hour, l.least)))
	case baseline.LacksParts:
		why.reason = fmt.Sprintf("the %s of %s %s are in %d of %d parts of their time, and it takes %d", n, topic, when, few.Parts, baseline.TimeParts, baseline.LeastParts)
		why.advice = "take a time with fewer pauses (--since, --until)"
	default:
		why.reason = fmt.Sprintf("%s has no inferences %s", topic, when)
		why.advice = "create the baseline again once the model has served for " + windowText(max(24*time.Hour, l.least))
	}
	if l.fixed && few.Lack != baseline.LacksParts {
		why.advice = "take a longer time (--since, --until)"
	}
	return &why
}

// coveredText writes how much time inferences cover, to the minute if it is any.
func coveredText(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// learnt says what a baseline has not learnt, or not well.
func learnt(b *baseline.Baseline, unlike []string) (warnings []string) {
	if len(unlike) > 0 {
		warnings = append(warnings, fmt.Sprintf("how rows vary over time is not known of %s: inferences share less than half of their distribution with the training data", strings.Join(unlike, ", ")))
	}
	var empty, unsettled, few []string
	for _, c := range b.Columns {
		d := c.Dispersion
		if d == nil {
			if !slices.Contains(unlike, c.Name) {
				empty = append(empty, c.Name)
			}
			continue
		}
		if d.Unsettled {
			unsettled = append(unsettled, c.Name)
		}
		if float64(b.Rows) < fewIndependent*d.Effect {
			few = append(few, c.Name)
		}
	}
	if len(empty) > 0 {
		warnings = append(warnings, fmt.Sprintf("how rows vary over time is not known of %s: too few inferences have a value", strings.Join(empty, ", ")))
	}
	if len(unsettled) > 0 {
		warnings = append(warnings, fmt.Sprintf("values of %s stay alike for a good part of the time that was looked at, or for longer: learn from a longer one (--since)", strings.Join(unsettled, ", ")))
	}
	if len(few) > 0 {
		warnings = append(warnings, fmt.Sprintf("%s count for fewer than %d independent ones in %s: only large changes will be found; make the baseline of more", plural(int(b.Rows), "row", "rows"), fewIndependent, strings.Join(few, ", ")))
	}
	return warnings
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
	if l.failed != nil {
		return nil, l.failed
	}
	bar := newProgressOf(a.Stderr, a.Terminal, "inferences", "records", l.records)
	defer bar.finish()
	l.rows.seen = bar.set
	columns := make([]int, len(b.Columns)) // of the inferences
	for i, c := range b.Columns {
		at := slices.IndexFunc(l.def.Model.Columns, func(of config.Column) bool { return of.Name == c.Name })
		columns[i] = l.def.Model.Columns[at].Field
	}
	values := make([]feature.Value, len(columns))
	unlike, err = b.Learn(baseline.Stream{Least: l.least, Rows: func(fn func(values []feature.Value, at int64, version string) error) error {
		return l.rows.events(func(row []feature.Value, at int64) error {
			for i, field := range columns {
				values[i] = row[field]
			}
			return fn(values, at, l.rows.of)
		})
	}})
	if few := (*baseline.TooLittle)(nil); errors.As(err, &few) {
		err = l.lack(few)
	}
	return unlike, err
}

// find fixes what is read and returns how many records that is: where nobody said since when, the newest part of the time if all of it
// has too many, but no less than is wanted.
func (l *learner) find(until time.Time, shorten bool) (records int64, err error) {
	topic, shortest := l.def.Model.Inferences.Topic, l.least+l.least/10
	for {
		records, err = l.rows.find(l.client)
		if err == nil && records > l.most && !l.rows.until.IsZero() {
			records, err = l.rows.cut(l.client)
		}
		if errors.Is(err, kafka.ErrNoTopic) {
			return 0, &unlearnt{"there is no topic " + topic + " yet", "create the baseline again once the model has served for " + windowText(max(24*time.Hour, l.least))}
		}
		span := until.Sub(l.rows.since)
		if err != nil || records <= l.most || !shorten {
			return records, err
		}
		if span <= shortest {
			if records > l.mostAtAll {
				since := windowText(shortest.Round(time.Second))
				return 0, &unlearnt{
					fmt.Sprintf("%s has %s records in %s, and it is no more than %s that are read unasked", topic, thousands(records), since, thousands(l.mostAtAll)),
					fmt.Sprintf("--since %s reads them all, which takes its time", since),
				}
			}
			return records, nil
		}
		l.rows.since = until.Add(-max(shortest, time.Duration(0.9*float64(span)*float64(l.most)/float64(records))))
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
	of := ""
	if v.Version != "" {
		of = " of version " + printable(v.Version)
	}
	return fmt.Sprintf("how rows vary over time is known of %s%s, %s to %s", plural(int(v.Rows), "inference", "inferences"), of, instant(v.Since), instant(v.Until))
}
