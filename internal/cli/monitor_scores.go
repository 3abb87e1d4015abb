package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/report"
	"github.com/freshet-io/freshet/monitors/topics"
	"github.com/freshet-io/freshet/monitors/watch"
)

// Slices that are none: allSlices asks for the scores of every slice, noSlice for those of all rows alone.
const (
	allSlices = "all"
	noSlice   = "none"
)

// scoreFlags select scores.
type scoreFlags struct {
	column, slice string
	kind, check   string
	since, until  string
	windows       int
}

func (f *scoreFlags) addFlags(cmd *cobra.Command, windows int) {
	fs := cmd.Flags()
	fs.StringVar(&f.column, "column", "", "only this column")
	fs.StringVar(&f.slice, "slice", "", "only this slice, as region=eu, or 'all', or 'none' for all rows together (default: all rows, and the slices that have changed)")
	fs.StringVar(&f.kind, "kind", "", "only what watches this: skew, drift, ...")
	fs.StringVar(&f.check, "check", "", "only this check of a kind, as null_share")
	fs.StringVar(&f.since, "since", "", "only windows that end at this time or later: RFC 3339, or how long ago (2h, 7d)")
	fs.StringVar(&f.until, "until", "", "only windows that end at this time or earlier")
	fs.IntVar(&f.windows, "windows", windows, "at most so many windows, the last; 0 for all")
}

// scoreFilter selects scores of one monitor. Times are those of windows' ends, in microseconds.
type scoreFilter struct {
	column, slice string
	kind          alert.Kind
	check         string
	since, until  int64 // 0: any
	windows       int   // 0: all
}

func (f *scoreFlags) filter(mon *config.Monitor, now time.Time) (scoreFilter, error) {
	out := scoreFilter{column: f.column, slice: f.slice, kind: alert.Kind(f.kind), check: f.check, windows: f.windows}
	for _, t := range []struct {
		flag, text string
		to         *int64
	}{{"since", f.since, &out.since}, {"until", f.until, &out.until}} {
		if t.text == "" {
			continue
		}
		at, err := parseWhen(t.text, now)
		if err != nil {
			return out, usageError(fmt.Errorf("--%s: %w", t.flag, err))
		}
		*t.to = at.UnixMicro()
	}
	if f.slice != "" && f.slice != allSlices && f.slice != noSlice && !strings.Contains(f.slice, "=") {
		return out, usageError(fmt.Errorf("--slice: %q is neither FIELD=VALUE nor %s nor %s", f.slice, allSlices, noSlice))
	}
	var kinds []string
	for _, k := range alert.Kinds() {
		kinds = append(kinds, string(k))
	}
	if f.kind != "" && !slices.Contains(kinds, f.kind) {
		return out, usageError(fmt.Errorf("--kind: there is no %q%s", f.kind, spell.Suggest(f.kind, kinds)))
	}
	var names []string
	for _, c := range mon.Columns {
		names = append(names, mon.Model.Columns[c.Column].Name)
	}
	compared := out.kind == "" || out.kind == alert.Skew || out.kind == alert.Drift // others are of sources too
	if f.column != "" && compared && !slices.Contains(names, f.column) {
		return out, notFound(fmt.Errorf("the monitor %s watches no column %q%s", mon.Name, f.column, spell.Suggest(f.column, names)))
	}
	return out, nil
}

func (f *scoreFilter) selects(s *watch.Score) bool {
	switch {
	case f.column != "" && s.Column != f.column, f.kind != "" && s.Kind != f.kind, f.check != "" && s.Check != f.check:
		return false
	case f.slice == noSlice:
		return s.Slice == ""
	case f.slice == "":
		return s.Slice == "" || s.Changed()
	}
	return f.slice == allSlices || s.Slice == f.slice
}

// scores returns the selected scores of a monitor, ordered by window, column, kind and slice.
func (m *monitored) scores(ctx context.Context, mon *config.Monitor, f scoreFilter) ([]watch.Score, error) {
	// Windows are judged after their end, mostly soon: as a rule it does to read what was written lately.
	if f.windows > 0 {
		end := time.Now()
		if f.until > 0 && f.until < end.UnixMicro() {
			end = time.UnixMicro(f.until)
		}
		step := mon.Every
		if mon.Volume != nil {
			step = max(step, time.Hour)
		}
		back := time.Duration(f.windows+1)*step + mon.Grace + time.Minute
		by, err := m.readScores(ctx, mon, f, end.Add(-back))
		if err != nil || len(ends(by, "")) == f.windows {
			return ordered(by), err
		}
	}
	from := time.Time{}
	if f.since > 0 {
		from = time.UnixMicro(f.since)
	}
	by, err := m.readScores(ctx, mon, f, from)
	return ordered(by), err
}

// scoreWindow is the end of a window, in the sequence of windows that its kind is judged in.
type scoreWindow struct {
	end      int64
	sequence string
}

// sequenceOf tells kinds apart that are judged in windows of their own: hours of volume, ticks of freshness.
func sequenceOf(k alert.Kind) string {
	if k == alert.Volume || k == alert.Freshness {
		return string(k)
	}
	return ""
}

// ends returns the ends of a sequence's windows.
func ends(by map[scoreWindow][]watch.Score, sequence string) (out []int64) {
	for w := range by {
		if w.sequence == sequence {
			out = append(out, w.end)
		}
	}
	return out
}

// readScores returns the scores that were written at a time or later, by their windows.
func (m *monitored) readScores(ctx context.Context, mon *config.Monitor, f scoreFilter, from time.Time) (map[scoreWindow][]watch.Score, error) {
	by := map[scoreWindow][]watch.Score{}
	err := m.read(ctx, topics.Scores, modelPartition(mon.Model), from, func(rec *kgo.Record) error {
		if string(rec.Key) != mon.Name {
			return nil
		}
		s, err := watch.DecodeScore(rec.Value)
		if err != nil {
			return fmt.Errorf("%s/%d, offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
		}
		key := scoreWindow{s.Window.End, sequenceOf(s.Kind)}
		if key.end < f.since || f.until > 0 && key.end > f.until {
			return nil
		}
		of := by[key]
		if f.selects(&s) {
			of = revised(of, &s)
		}
		by[key] = of
		if f.windows > 0 {
			if all := ends(by, key.sequence); len(all) > f.windows {
				delete(by, scoreWindow{slices.Min(all), key.sequence})
			}
		}
		return nil
	})
	return by, err
}

// revised adds a score to those of its window, in the place of one that it corrects, unless it is corrected itself.
func revised(of []watch.Score, s *watch.Score) []watch.Score {
	for i := range of {
		if of[i].Series() == s.Series() && of[i].Window == s.Window {
			if s.Revision >= of[i].Revision {
				of[i] = *s
			}
			return of
		}
	}
	return append(of, *s)
}

func ordered(by map[scoreWindow][]watch.Score) (out []watch.Score) {
	keys := slices.SortedFunc(maps.Keys(by), func(a, b scoreWindow) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.sequence, b.sequence))
	})
	for _, key := range keys {
		of := by[key]
		slices.SortStableFunc(of, func(a, b watch.Score) int {
			return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Slice, b.Slice))
		})
		out = append(out, of...)
	}
	return out
}

// notJudged says what to look at where there are no scores.
func notJudged(f scoreFilter) error {
	if f.slice != "" && f.slice != "all" && f.slice != "none" {
		return fmt.Errorf("no scores of the slice %q: name it as \"monitor scores --slice all\" prints it, if that prints any (freshet monitor list says which monitors have judged a window)", f.slice)
	}
	return errors.New("no window has been judged: is a process with the role monitor running, has the baseline been made, and are there inferences? (freshet monitor list)")
}

func (a *app) monitorScoresCommand() *cobra.Command {
	var place monitorPlace
	var flags scoreFlags
	cmd := &cobra.Command{
		Use:   "scores NAME [FILE...]",
		Short: "Show what windows came to",
		Example: `  freshet monitor scores delays plane.yaml
  freshet monitor scores delays --kind skew --column distance --slice carrier=AA --windows 1 --until 2026-03-01T14:00:00Z
  freshet monitor scores delays plane.yaml --column distance --slice all --since 24h --windows 0 --output json`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMonitored(cmd.Context(), args[1:], &place, func(m *monitored) error {
				mon, err := m.monitorNamed(args[0])
				if err != nil {
					return err
				}
				f, err := flags.filter(mon, time.Now())
				if err != nil {
					return err
				}
				scores, err := m.scores(cmd.Context(), mon, f)
				if err != nil {
					return err
				}
				return a.printScores(scores, f)
			})
		},
	}
	place.addFlags(cmd)
	flags.addFlags(cmd, 12)
	return cmd
}

func (a *app) printScores(scores []watch.Score, f scoreFilter) error {
	if a.json() {
		if scores == nil {
			scores = []watch.Score{}
		}
		return printJSON(a.Stdout, scores)
	}
	if len(scores) == 0 {
		return notFound(notJudged(f))
	}
	t := newTable(left("WINDOW ENDS"), left("COLUMN"), left("SLICE"), left("KIND"), left("VERDICT"), left("METHOD"), right("SCORE"), right("EFFECT"), right("THRESHOLD"), right("P"), right("N"), right("N EFF"), left("MOVED MOST"))
	for i := range scores {
		s := &scores[i]
		t.add(instant(s.Window.End), s.Column, s.Slice, kindOf(s.Series()), s.Outcome, s.Method, report.Number(float64(s.Score)), report.Number(float64(s.Effect)),
			fmt.Sprint(s.Threshold), report.P(float64(s.PAdjusted)), countOf(s, s.NCur), rowsText(float64(s.NEffCur)), moved(s))
	}
	return t.print(a.Stdout)
}

// moved says what moved most in a column that has changed; of a score by labels how many of them there are.
func moved(s *watch.Score) string {
	if s.Coverage != nil {
		return fmt.Sprintf("%s labelled, revision %d", percentText(float64(*s.Coverage)), s.Revision)
	}
	if len(s.Movers) == 0 || !s.Changed() {
		return ""
	}
	m := s.Movers[0]
	return fmt.Sprintf("%s: %s -> %s", m.Bin, percentText(m.Ref), percentText(m.Cur))
}
