// Command services runs a command with a Kafka, a Redis and a ClickHouse at the addresses in its environment, so that all test
// binaries of one run share them:
//
//	go run ./internal/testenv/cmd/services -- go test ./...
//
// A service that cannot be had is told of and left out; with FRESHET_REQUIRE_SERVICES=1 that is a failure. All are
// stopped when the command ends, whose exit status is this one's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: services -- command [argument ...]")
		os.Exit(2)
	}
	status, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
	}
	os.Exit(status)
}

// run returns the command's exit status, or 1 with an error of its own.
func run(args []string) (int, error) {
	// An interrupt at the terminal reaches the command too; this program stays to stop the services.
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	services := []opened{
		{name: "Kafka", env: testenv.KafkaEnv, open: testenv.OpenKafka},
		{name: "Redis", env: testenv.RedisEnv, open: testenv.OpenRedis},
		{name: "ClickHouse", env: testenv.ClickHouseEnv, open: testenv.OpenClickHouse},
	}
	var wg sync.WaitGroup
	for i := range services {
		wg.Go(func() { services[i].start(ctx) })
	}
	wg.Wait()
	defer func() {
		for _, s := range services {
			if s.service.Stop != nil {
				s.service.Stop()
			}
		}
	}()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, os.Environ()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	for _, s := range services {
		if s.err != nil {
			if os.Getenv(testenv.RequireEnv) == "1" {
				return 1, fmt.Errorf("no %s: %w", s.name, s.err)
			}
			fmt.Fprintf(os.Stderr, "services: no %s: %v\n", s.name, s.err)
			continue
		}
		fmt.Fprintf(os.Stderr, "services: %s at %s (%s)\n", s.name, s.service.Addr, s.took.Round(100*time.Millisecond))
		cmd.Env = append(cmd.Env, s.env+"="+s.service.Addr)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// opened is a service on its way.
type opened struct {
	name, env string
	open      func(context.Context) (testenv.Service, error)

	service testenv.Service
	took    time.Duration
	err     error
}

func (o *opened) start(ctx context.Context) {
	began := time.Now()
	o.service, o.err = o.open(ctx)
	o.took = time.Since(began)
}
