package cli

import (
	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/deploy/node"
)

const runLong = `Run runs the named roles of a plane on the services that the definition names, until it is interrupted. Any number of processes may run the same definition; they share the work by Kafka's group protocol.

Roles:
  ingest   takes events over HTTP and writes them to the source topics
  process  turns events into features: reads the source topics, keeps state, writes to Redis
  serve    answers lookups over HTTP and gRPC
  offline  writes events and the views' logs to ClickHouse and Parquet
  monitor  profiles models' inferences, judges the monitors and sends alerts

Without --roles a process has all of them, offline only if the definition names an offline
store, monitor only if it has a monitor.

An interrupt or SIGTERM ends it in order: no new requests, those begun are finished, events accepted are
written, the last transaction is committed.`

func (a *app) runCommand() *cobra.Command {
	var connections string
	var roles []string
	var createSources, acceptGap bool
	var partitions int32
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run roles of a plane on real services",
		Long:  runLong,
		Example: `  freshet run plane.yaml
  freshet run --roles process features/ --connections production.yaml
  freshet run --roles ingest,serve features/ --connections production.yaml --log-format json`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var named node.Roles
			if cmd.Flags().Changed("roles") {
				var err error
				if named, err = node.ParseRoles(roles); err != nil {
					return usageError(err)
				}
			}
			plane, err := a.loadPlane(args, connections)
			if err != nil {
				return err
			}
			if named == 0 {
				named = node.DefaultRoles(plane)
			}
			logger, err := a.logger()
			if err != nil {
				return err
			}
			o := node.Options{Plane: plane, Roles: named, AcceptGap: acceptGap, Version: readBuild().Version, Logger: logger}
			if createSources {
				o.CreateSources = partitions
			}
			return node.Run(cmd.Context(), o)
		},
	}
	addConnections(cmd, &connections)
	f := cmd.Flags()
	f.StringSliceVar(&roles, "roles", nil, "what this process does: ingest, process, serve, offline, monitor; default: all that the definition has use for")
	f.BoolVar(&createSources, "create-sources", false, "create source topics that do not exist")
	f.Int32Var(&partitions, "source-partitions", 12, "partitions of the source topics that --create-sources creates")
	f.BoolVar(&acceptGap, "accept-gap", false, "go on where events were lost to a topic's retention, and record the gap")
	return cmd
}
