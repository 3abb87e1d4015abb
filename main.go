// Command freshet is a data plane for machine-learning features; see the help of its subcommands.
package main

import (
	"os"
	_ "time/tzdata" // time zones named in definitions, on machines without a database of them

	"github.com/freshet-io/freshet/internal/cli"
)

func main() { os.Exit(cli.Main()) }
