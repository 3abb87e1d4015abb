package cli

import "github.com/spf13/cobra"

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure on your own machine",
		Long: `Bench measures Freshet's paths on real services, each beside the bare ceiling of the same work in the same run.
Figures depend on the machine and on what else it does: compare the ratios.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.benchMaterializeCommand())
	cmd.AddCommand(a.benchLookupCommand())
	cmd.AddCommand(a.benchLookupServerCommand())
	cmd.AddCommand(a.benchFreshnessCommand())
	cmd.AddCommand(a.benchStateCommand())
	cmd.AddCommand(a.benchSinkCommand())
	cmd.AddCommand(a.benchTrainCommand())
	return cmd
}
