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
	format, err := telemetry.ParseFormat(a.logFormat)
	if err != nil {
		return nil, usageError(fmt.Errorf("--log-format: %w", err))
	}
	return telemetry.NewLogger(a.Stderr, level, format), nil
}
