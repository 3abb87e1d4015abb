package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/monitors/baseline"
	"github.com/freshet-io/freshet/monitors/topics"
)

// Where the definition is that commands about monitors use when none is named, so that the command that an alert names
// works as it is printed.
const (
	planeVariable = "FRESHET_PLANE"
	planeFile     = "plane.yaml"
)

// monitorPlace says which plane's monitors are meant, and where its Kafka is.
type monitorPlace struct {
	connections string
	brokers     []string
}

func (p *monitorPlace) addFlags(cmd *cobra.Command) {
	addConnections(cmd, &p.connections)
	cmd.Flags().StringSliceVar(&p.brokers, "brokers", nil, "Kafka to use instead of the definition's (default where it names none: "+defaultKafka+", as 'freshet dev' does)")
}

// monitored is a plane and its Kafka, for the commands about monitors and baselines.
type monitored struct {
	plane  *config.Plane
	conn   config.Kafka
	opts   []kgo.Opt // to reach Kafka
	client *kgo.Client
}

// planeFiles returns the files that are named, or else where the definition is.
func (a *app) planeFiles(named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	if files := filepath.SplitList(a.Getenv(planeVariable)); len(files) > 0 {
		return files, nil
	}
	if _, err := os.Stat(planeFile); err != nil {
		return nil, usageError(fmt.Errorf("name the definition, or set %s, or have it in %s", planeVariable, planeFile))
	}
	return []string{planeFile}, nil
}

// withMonitored loads the plane of the files, or where none is named of $FRESHET_PLANE or plane.yaml, and calls fn when
// its Kafka answers.
func (a *app) withMonitored(ctx context.Context, files []string, p *monitorPlace, fn func(*monitored) error) error {
	files, err := a.planeFiles(files)
	if err != nil {
		return err
	}
	plane, err := a.loadPlane(files, p.connections)
	if err != nil {
		return err
	}
	m := &monitored{plane: plane}
	if plane.Connections.Kafka != nil {
		m.conn = *plane.Connections.Kafka
	}
	if len(p.brokers) > 0 {
		m.conn.Brokers = p.brokers
	}
	if len(m.conn.Brokers) == 0 {
		m.conn.Brokers = []string{defaultKafka}
	}
	logger, err := a.logger()
	if err != nil {
		return err
	}
	if m.opts, err = kafka.Options(m.conn, "freshet-monitor"); err != nil {
		return err
	}
	m.opts = append(m.opts, kgo.WithLogger(kafka.Logger(logger)))
	// Records of the monitors' topics go to partitions that are named, and count once all replicas have them.
	m.client, err = kgo.NewClient(append(m.opts[:len(m.opts):len(m.opts)], kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))...)
	if err != nil {
		return err
	}
	defer m.client.Close()
	reach, cancel := context.WithTimeout(ctx, reachKafka)
	defer cancel()
	if err := kafka.WaitReachable(reach, m.client, m.conn.Brokers, logger); err != nil {
		return err
	}
	return fn(m)
}

// baselineNamed returns the definition's baseline of a name.
func (m *monitored) baselineNamed(name string) (*config.Baseline, error) {
	var names []string
	for _, b := range m.plane.Baselines {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return nil, notFound(fmt.Errorf("no baseline %q in the definition%s", name, spell.Suggest(name, names)))
}

// monitorNamed returns the definition's monitor of a name.
func (m *monitored) monitorNamed(name string) (*config.Monitor, error) {
	return monitorNamed(m.plane, name)
}

func monitorNamed(plane *config.Plane, name string) (*config.Monitor, error) {
	var names []string
	for _, mon := range plane.Monitors {
		if mon.Name == name {
			return mon, nil
		}
		names = append(names, mon.Name)
	}
	return nil, notFound(fmt.Errorf("no monitor %q in the definition%s", name, spell.Suggest(name, names)))
}

// modelPartition is where a model's records are in the topics by model.
func modelPartition(model *config.Model) int32 {
	return ingest.Partition([]byte(model.Name), topics.Partitions)
}

// read calls fn for each record of a partition of one of the monitors' topics that has been committed, from since on if
// that is not zero. A topic that does not exist yet has none.
func (m *monitored) read(ctx context.Context, topic string, partition int32, since time.Time, fn func(*kgo.Record) error) error {
	name := topics.Name(m.plane, topic)
	spans, err := kafka.Committed(ctx, m.client, name, since)
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	return kafka.ReadSpans(ctx, m.opts, name, map[int32]kafka.Span{partition: spans[partition]}, fn)
}

// baselines returns the baselines that have been made, by name, and what is wrong with records that cannot be read.
func (m *monitored) baselines(ctx context.Context) (all map[string]*baseline.Baseline, warnings []string, err error) {
	var c baseline.Collection
	err = m.read(ctx, topics.Baselines, 0, time.Time{}, func(rec *kgo.Record) error {
		if _, err := c.Add(rec.Key, rec.Value); err != nil {
			warnings = append(warnings, fmt.Sprintf("the record %s is left out: %v", rec.Key, err))
		}
		return nil
	})
	return c.All(), warnings, err
}

// warn prints warnings on standard error.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.Stderr, "freshet: warning: %s\n", printable(w))
	}
}

// instant writes a time of event or clock, in microseconds, as logs do.
func instant(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }
