package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"
)

// ParseLevel reads a level as a user names it.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("unknown log level %q; known are debug, info, warn, error", s)
	}
}

// Format is how log records are written.
type Format int

// The formats. Automatic is text where people watch, on a terminal, and else JSON.
const (
	Automatic Format = iota
	Text
	JSON
)

// ParseFormat reads a format as a user names it.
func ParseFormat(s string) (Format, error) {
	switch s {
	case "":
		return Automatic, nil
	case "text":
		return Text, nil
	case "json":
		return JSON, nil
	default:
		return 0, fmt.Errorf("unknown log format %q; known are text, json", s)
	}
}

// NewLogger returns a logger that writes a record a line to w: text for people, or a JSON object.
func NewLogger(w io.Writer, level slog.Leveler, format Format) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	switch f, file := w.(*os.File); {
	case format == Text:
		return slog.New(slog.NewTextHandler(w, opts))
	case format == Automatic && file && term.IsTerminal(int(f.Fd())):
		opts.ReplaceAttr = shortTime
		return slog.New(slog.NewTextHandler(w, opts))
	}
	opts.ReplaceAttr = durationText
	return slog.New(slog.NewJSONHandler(w, opts))
}

// durationText writes a duration with its unit, as text does: as a number it would be nanoseconds, which nothing says.
func durationText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

// shortTime leaves the date out: who looks at a terminal knows the day.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}
