package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-io/freshet/internal/telemetry"
)

// TestSaysWhatAStartWaitsFor while it waits, and once that it is ready.
func TestSaysWhatAStartWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := &node{Options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, health: &telemetry.Health{}}
		began := time.Now()
		n.health.Set("kafka", func(context.Context) error { return nil })
		n.health.Set("processors", func(context.Context) error {
			if time.Since(began) < 40*time.Second {
				return errors.New("task departures/0 is being restored")
			}
			return nil
		})
		n.awaitReady(t.Context())
		said := log.String()
		if n := strings.Count(said, "processors: task departures/0 is being restored"); n != 2 {
			t.Errorf("in 40 s it says %d times what it waits for, want 2", n)
		}
		if strings.Count(said, "msg=ready after=40s") != 1 || strings.Contains(said, "kafka:") {
			t.Errorf("it says\n%s", said)
		}
	})
}

func TestAStartThatEndsIsNotSaidToBeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := &node{Options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, health: &telemetry.Health{}}
		n.health.Set("kafka", func(context.Context) error { return errors.New("no broker answers") })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n.awaitReady(ctx)
		if log.Len() > 0 {
			t.Errorf("it says %s", log.String())
		}
	})
}
