package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/drift"
	"github.com/freshet-io/freshet/monitors/watch"
)

const (
	runMonths    = 5  // that a stream goes on without a change: alarms come late in a month that begins with nothing
	delayDays    = 60 // after which a change counts as not found
	quietDays    = 10 // before a change
	delayStreams = 20 // that change, a column of the table
)

// thin is a stream of few values an hour that a sequential test watches.
type thin struct {
	name   string
	open   func(*rand.Rand) stream
	hourly int     // values
	sigma  float64 // standard deviation
}

// drawn is a stream of a shape.
type drawn struct {
	r *rand.Rand
	s shape
}

func (d drawn) next() float64 { return d.s.draw(d.r) }

func thins() []thin {
	var out []thin
	for _, s := range shapes() {
		if s.categories == 0 {
			probe := s.sample(rand.New(rand.NewPCG(1, 1)), 100_000)
			out = append(out, thin{s.name + ", 6 an hour", func(r *rand.Rand) stream { return drawn{r, s} }, 6, deviation(probe)})
		}
	}
	normal := func(r *rand.Rand) stream { return independent{r} }
	ar := func(r *rand.Rand) stream { return &autoregressive{r: r, coefficient: 0.5, at: r.NormFloat64()} }
	return append(out, thin{"normal, 1 an hour", normal, 1, 1}, thin{"normal, 60 an hour", normal, 60, 1}, thin{"AR(1), 0.5, 6 an hour", ar, 6, 1})
}

// Sequential counts false alarms of the sequential tests of monitors as they run, and how long it takes them to find shifts.
func (e Experiment) Sequential() (Table, error) {
	t := Table{
		Title: "Sequential tests of thin streams", Decimals: 2,
		Note: fmt.Sprintf("Configured is 1 false alarm in 30 days at most, of one column. The accumulator and the watch as they run in a plane, windows of an hour; %d months a line, of streams that go on for %d, each with a new baseline of %d rows. "+
			"Then the mean number of days until a shift is told, of %d streams each that had not changed for %d days (%d days: not found). Values of the last line depend on each other, which the guarantee does not cover.",
			e.Months, runMonths, e.Reference, min(delayStreams, e.Months), quietDays, delayDays),
		Columns: []string{"alarms", "standard error", "days until 0.5 σ", "days until 1 σ"},
	}
	for _, s := range thins() {
		r := e.random("sequential " + s.name)
		runs := max(1, e.Months/runMonths)
		var alarms, months float64
		for range runs {
			n, _, err := e.thinRun(r, s, 30*runMonths, 0, 0)
			if err != nil {
				return t, fmt.Errorf("%s: %w", s.name, err)
			}
			alarms, months = alarms+float64(n), months+runMonths
		}
		values := []float64{alarms / months, max(1, math.Sqrt(alarms)) / months}
		for _, by := range []float64{0.5, 1} {
			var days float64
			streams := min(delayStreams, e.Months)
			for range streams {
				_, d, err := e.thinRun(r, s, quietDays, delayDays, by)
				if err != nil {
					return t, fmt.Errorf("%s: %w", s.name, err)
				}
				days += d / float64(streams)
			}
			values = append(values, days)
		}
		e.done(&t, s.name, values...)
	}
	return t, nil
}

// thinPlane is a monitor of one column whose sequential test may be wrong once in 30 days; the windows themselves are not judged.
func thinPlane() *config.Plane {
	p := production{columns: make([]source, 1), every: time.Hour, windows: 1}.plane(2) // half of which the windows' own tests have
	p.Monitors[0].Sequential, p.Monitors[0].MinSample = true, math.MaxInt32
	return p
}

// thinRun watches a stream for some days, and then with a shift until it is found. It returns how many alarms began before the
// shift, and days from there to the first after it.
func (e Experiment) thinRun(r *rand.Rand, s thin, days, changedDays int, by float64) (alarms int, found float64, err error) {
	plane := thinPlane()
	values := s.open(r)
	b, err := baseline.Make(baseline.Definition{Name: "b", Model: "m", Build: 1, Columns: []baseline.Column{{Name: "x0", Type: feature.Float64}}}, sampled(values, e.Reference))
	if err != nil {
		return 0, 0, err
	}
	w, acc, err := watching(plane, b)
	if err != nil {
		return 0, 0, err
	}
	hour, over := time.Hour.Microseconds(), true
	for h := range int64(24 * (days + changedDays)) {
		shift := 0.0
		if h >= int64(24*days) {
			shift = by * s.sigma
		}
		alarm, err := thinHour(acc, w, values, h*hour, s.hourly, shift)
		if err != nil {
			return 0, 0, err
		}
		if alarm && h >= int64(24*days) {
			return alarms, float64(h+1)/24 - float64(days), nil
		}
		if alarm && over {
			alarms++
		}
		over = !alarm
	}
	return alarms, float64(changedDays), nil
}

// sampled draws the rows of a reference once and gives them as often as they are asked for.
func sampled(values stream, n int) baseline.Rows {
	rows := make([]feature.Value, n)
	for i := range rows {
		rows[i] = feature.Float64Value(values.next())
	}
	return func(fn func(values, fields []feature.Value) error) error {
		for i := range rows {
			if err := fn(rows[i:i+1], nil); err != nil {
				return err
			}
		}
		return nil
	}
}

// thinHour counts an hour's values, and reports whether the test says that there is an alarm in the windows that are then judged.
func thinHour(acc *watch.Accumulator, w *watch.Watch, values stream, start int64, n int, shift float64) (alarm bool, err error) {
	for i := range int64(n) {
		acc.Add(0, []feature.Value{feature.Float64Value(values.next() + shift)}, start+i*time.Hour.Microseconds()/int64(n))
	}
	for _, d := range acc.Flush(start + time.Hour.Microseconds()) {
		if err := w.Add(d); err != nil {
			return false, err
		}
	}
	acc.Committed()
	judged, _, err := w.Advance(10)
	if err != nil {
		return false, err
	}
	if _, err := w.Changes(); err != nil {
		return false, err
	}
	for i := range judged {
		for k := range judged[i].Scores {
			s := &judged[i].Scores[k]
			alarm = alarm || s.Check == "sequential" && drift.Outcome(s.Outcome) == drift.Exceeded
		}
	}
	return alarm, nil
}
