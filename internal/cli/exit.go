package cli

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/freshet-io/freshet/internal/kafka"
)

// The exit codes, listed in docs/cli.md and in the root command's help. They never change meaning.
const (
	exitOK          = 0
	exitFailure     = 1 // the command did not do what it was asked to
	exitUsage       = 2 // unknown flags, missing arguments
	exitDefinition  = 3 // the definition has mistakes; they were printed
	exitUnreachable = 4 // a service that the command needs cannot be reached or refuses it
	exitNotFound    = 5 // what was asked for by name does not exist: a service, a source, a dead letter
	exitChanges     = 6 // of plan: there is something for apply to do
	exitDrift       = 7 // of drift --fail-on-drift: columns have changed
)

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error // nil when everything has been printed already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

func notFound(err error) error { return &exitError{exitNotFound, err} }

func unreachable(err error) error { return &exitError{exitUnreachable, err} }

// exitCode maps an error to an exit code. Errors that no command classed are told apart by what they wrap.
func exitCode(err error) int {
	var coded *exitError
	var noKafka *kafka.Unreachable
	var dial *net.OpError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &noKafka):
		return exitUnreachable
	case errors.As(err, &dial) && dial.Op == "dial":
		return exitUnreachable
	case errors.Is(err, os.ErrNotExist):
		return exitNotFound
	case errors.Is(err, context.Canceled):
		return exitFailure
	}
	return exitFailure
}
