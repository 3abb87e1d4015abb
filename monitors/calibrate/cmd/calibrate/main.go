// Command calibrate runs the calibration experiment of the monitors' statistics and writes its summary.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/freshet-io/freshet/monitors/calibrate"
)

func main() {
	out := flag.String("out", "docs/calibration.md", "the summary's file")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	e := calibrate.Full(os.Stderr)
	tables, err := e.Run()
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("create the summary: %w", err)
	}
	if err := e.Write(f, tables); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close the summary: %w", err)
	}
	return nil
}
