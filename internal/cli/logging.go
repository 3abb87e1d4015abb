package cli

import (
	"fmt"
	"log/slog"

	"github.com/freshet-io/freshet/internal/telemetry"
)

// logger returns the logger that --log-level and --log-format ask for, on standard error.
func (a *app) logger() (*slog.Logger, error) {
	level, err := telemetry.ParseLevel(a.logLevel)
	if err != nil {
		return nil, usageError(fmt.Errorf("--log-level: %w", err))
	}
	opts := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "":
		return telemetry.NewLogger(a.Stderr, level), nil
	case "text":
		return slog.New(slog.NewTextHandler(a.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.Stderr, opts)), nil
	}
	return nil, usageError(fmt.Errorf("--log-format: unknown format %q; use text or json", a.logFormat))
}
