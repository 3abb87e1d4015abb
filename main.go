// Command freshet is a data plane for machine-learning features; see the help of its subcommands.
package main

import (
	"os"

	"github.com/freshet-io/freshet/internal/cli"
)

func main() { os.Exit(cli.Main()) }
