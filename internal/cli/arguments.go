package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// atLeast takes n arguments or more, and says what they are where there are fewer.
func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("something is missing: %s", cmd.UseLine())
		}
		return nil
	}
}
