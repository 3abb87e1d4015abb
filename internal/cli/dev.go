package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const devLong = `Dev runs a plane in this process: an embedded Kafka and an embedded Redis stand in for the connections that
the definition does not name. Events that were sent and the state made of them stay in the data folder, so
that the next start goes on where this one stopped. Source topics that do not exist are created.

It is for one developer on one machine; a plane that others rely on is run with 'freshet run'.`

func (a *app) devCommand() *cobra.Command {
	var dir, connections, kafka string
	var partitions int32
	cmd := &cobra.Command{
		Use:     "dev FILE...",
		Short:   "Run a plane in this process, with embedded services",
		Long:    devLong,
		Example: "  freshet dev plane.yaml\n  freshet dev features/ --data /tmp/plane --kafka 127.0.0.1:19092",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plane, err := a.loadPlane(args, connections)
			if err != nil {
				return err
			}
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			logger, err := a.logger()
			if err != nil {
				return err
			}
			return a.withLocal(cmd.Context(), localOptions{plane: plane, dir: dir, kafka: kafka, partitions: partitions, logger: logger},
				func(ctx context.Context, l local) error {
					if err := a.printLocal(l); err != nil {
						return err
					}
					<-ctx.Done()
					return nil
				})
		},
	}
	addConnections(cmd, &connections)
	f := cmd.Flags()
	f.StringVar(&dir, "data", ".freshet", "folder for what the embedded services and the processors keep")
	f.StringVar(&kafka, "kafka", defaultKafka, "address of the embedded Kafka; another port is taken if this one is in use")
	f.Int32Var(&partitions, "source-partitions", 4, "partitions of source topics that do not exist yet")
	return cmd
}

// printLocal says where the plane can be reached.
func (a *app) printLocal(l local) error {
	if a.json() {
		return printJSON(a.Stdout, map[string]any{
			"http": l.addrs.HTTP, "grpc": l.addrs.GRPC, "admin": l.addrs.Admin, "kafka": l.conn.Brokers,
		})
	}
	t := newTable(left("READY"), left("ADDRESS"))
	t.add("events and lookups over HTTP", l.serverURL())
	t.add("lookups over gRPC", l.addrs.GRPC)
	t.add("metrics, health and profiles", "http://"+l.addrs.Admin)
	t.add("Kafka", strings.Join(l.conn.Brokers, ","))
	if err := t.print(a.Stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.Stdout, "\nPress Ctrl-C to stop.")
	return err
}
