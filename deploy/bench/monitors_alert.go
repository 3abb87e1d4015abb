package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-io/freshet/monitors/notify/deliver"
)

// AlertResult is how soon a webhook told of a change.
type AlertResult struct {
	Window  float64 `json:"window_seconds"`
	Every   float64 `json:"every_seconds"`
	Rate    int     `json:"inferences_per_second"`
	Shift   float64 `json:"shift_in_standard_deviations"`
	Seconds float64 `json:"seconds"` // from when the first shifted inference was made until the signed webhook was received
	Column  string  `json:"column"`  // that it tells of first
}

// alert lets inferences flow that are like the training set for a window and a bit, then others, and times the webhook.
func (o MonitorsOptions) alert(ctx context.Context) (res *AlertResult, err error) {
	hook, err := startReceiver()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hook.Close()) }()
	dir, err := os.MkdirTemp(o.Dir, "freshet-bench-hook-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(hookSecret), 0o600); err != nil {
		return nil, err
	}
	p, err := o.prepare(ctx, monitoring{Window: o.Window, Every: o.Every, Columns: profiledColumns, Hook: hook.url, Secret: secret})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.drop()) }()
	reg := prometheus.NewRegistry()
	m, run, err := p.watch(ctx, reg, o.Logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	notifier, err := deliver.New(deliver.Options{Plane: p.plane, Client: p.opts, Logger: o.Logger, Registerer: reg})
	if err != nil {
		return nil, err
	}
	delivery := inBackground(ctx, "the delivery", notifier.Run)
	defer func() { err = errors.Join(err, delivery.close()) }()
	if err := run.wait(ctx, func() bool { return m.Ready() == nil && notifier.Ready() == nil }); err != nil {
		return nil, err
	}
	s := &shifting{inferenceMaker: newInferenceMaker(p.plane.Models[0], 0, 3), by: o.Shift, asked: make(chan struct{}), began: make(chan time.Time, 1)}
	flowing := inBackground(ctx, "the inferences", func(ctx context.Context) error {
		if _, err := flow(ctx, p.opts, p.topic, o.Partitions, time.Now(), o.Rate, math.MaxInt, s.next); ctx.Err() == nil {
			return err
		}
		return nil
	})
	defer func() { err = errors.Join(err, flowing.close()) }()
	fmt.Fprintf(o.Out, "%d inferences/s, windows of %v, judged every %v; then the mean of one feature moves by %g standard deviations\n", o.Rate, o.Window, o.Every, o.Shift)
	// The first window that is judged is not whole.
	if err := awaitCount(ctx, run, reg, "freshet_monitor_windows_total", int(o.Window/o.Every)+1); err != nil {
		return nil, err
	}
	return o.shift(ctx, flowing, s, hook)
}

// shifting makes inferences that are like the training set until they are asked to be others.
type shifting struct {
	*inferenceMaker
	by    float64
	asked chan struct{}
	began chan time.Time // has room for one: when the first of the others was made
}

// next is an eventFunc.
func (s *shifting) next(millis int64) (key, value []byte) {
	select {
	case <-s.asked:
		if s.shift == 0 {
			s.shift = s.by
			s.began <- time.Now()
		}
	default:
	}
	return s.inferenceMaker.next(millis)
}

// shift lets the shifted inferences begin and waits for the message.
func (o MonitorsOptions) shift(ctx context.Context, flowing *background, s *shifting, hook *receiver) (*AlertResult, error) {
	select {
	case early := <-hook.first:
		return nil, fmt.Errorf("an alert of %s came before anything had changed", early.message.Features[0].Column)
	default:
	}
	close(s.asked)
	patience := 5*o.Window + time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := flowing.wait(ctx, func() bool { return len(hook.first) > 0 }); err != nil {
		return nil, fmt.Errorf("no alert came within %v of a shift of %g standard deviations: %w", patience, o.Shift, err)
	}
	got := <-hook.first
	return &AlertResult{
		Window: o.Window.Seconds(), Every: o.Every.Seconds(), Rate: o.Rate, Shift: o.Shift,
		Seconds: got.at.Sub(<-s.began).Seconds(), Column: got.message.Features[0].Column,
	}, nil
}
