package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/demo"
)

const demoLong = `Demo runs a whole plane in this process, with no services: an embedded Kafka, the stream processors,
an embedded Redis and the lookup server. It sends every one of the 336,776 flights that left New York in
2013 through it, waits until lookups show that each flight was counted exactly once for its carrier,
airport, route and aircraft, and prints some of the features. From the Parquet files that the flights have
gone to meanwhile it makes a training set, and prints five rows of it.

A small model then predicts the delays of a quarter of the flights, and labels follow hours later. Two faults are
made on purpose in the last quarter of the year: one carrier's distances are served in kilometres, and one
airport's feed falls silent. Monitors find both, and a webhook receiver in this process checks the alerts'
signatures. What was told is printed, and a page of what the monitor saw is written (--html keeps it).

Then it goes on serving, with Kafka and HTTP on local ports, until it is interrupted.
Its data is in a temporary folder and is removed at the end.`

// demoFlags are the flags of the demo.
type demoFlags struct {
	exit        bool
	flights     int
	report      string
	html        string
	http, kafka string
}

func (a *app) demoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Send a year of flights through a whole plane in this process",
		Long:    demoLong,
		Example: "  freshet demo\n  freshet demo --exit --report report.json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), flags) },
	}
	f := cmd.Flags()
	f.BoolVar(&flags.exit, "exit", false, "end when the flights are counted instead of serving on")
	f.IntVar(&flags.flights, "flights", 0, "send only so many of the latest flights, at least 10000, without model and monitors; 0 sends all")
	f.StringVar(&flags.report, "report", "", "write what was measured to this file, as JSON")
	f.StringVar(&flags.html, "html", "", "write the page of what the monitor saw to this file, which stays")
	f.StringVar(&flags.http, "http", defaultHTTP, "address of the HTTP server; another port is taken if this one is in use")
	f.StringVar(&flags.kafka, "kafka", defaultKafka, "address of the embedded Kafka; another port is taken if this one is in use")
	return cmd
}

// demoPartitions is enough for the cores of a laptop and few enough to start quickly.
const demoPartitions = 4

// The demo's sources, in the order of its definition; there are boards where there are monitors.
const (
	flightSource = iota
	boardSource
)

// fewestFlights is what timing lookups needs.
const fewestFlights = 10_000

func (a *app) demo(ctx context.Context, flags demoFlags) error {
	if flags.flights != 0 && flags.html != "" {
		return usageError(errors.New("--html is of monitors, which --flights leaves out"))
	}
	if flags.flights != 0 && flags.flights < fewestFlights {
		return usageError(fmt.Errorf("--flights %d; send at least %d, or 0 for all", flags.flights, fewestFlights))
	}
	rcv, err := startReceiver()
	if err != nil {
		return err
	}
	defer rcv.Close()
	files := []config.File{{Name: "demo/plane.yaml", Data: demo.PlaneYAML}}
	if flags.flights == 0 {
		files = append(files, config.File{Name: "demo/monitors.yaml", Data: demo.MonitorsYAML})
	}
	plane, err := config.Parse(files, rcv.lookup)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "freshet-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	logger, err := a.demoLogger()
	if err != nil {
		return err
	}
	return a.withLocal(ctx, localOptions{
		plane: plane, dir: dir, http: flags.http, kafka: flags.kafka, partitions: demoPartitions, logger: logger,
	}, func(ctx context.Context, l local) error {
		return a.playDemo(ctx, flags, l, rcv)
	})
}

// demoLogger shows warnings only, unless --log-level says otherwise: the demo tells its story on standard output.
func (a *app) demoLogger() (*slog.Logger, error) {
	if a.logLevel == defaultLogLevel {
		a.logLevel = "warn"
	}
	logger, err := a.logger()
	if err != nil {
		return nil, err
	}
	return slog.New(demoHandler{logger.Handler()}), nil
}

// demoHandler leaves out the advice to make the baseline that the demo makes itself, when the flights are counted.
type demoHandler struct{ slog.Handler }

func (h demoHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoHandler{h.Handler.WithAttrs(attrs)}
}

func (h demoHandler) WithGroup(name string) slog.Handler {
	return demoHandler{h.Handler.WithGroup(name)}
}

func (h demoHandler) Handle(ctx context.Context, r slog.Record) error {
	own := false
	r.Attrs(func(a slog.Attr) bool {
		own = own || a.Key == "hint" && a.Value.String() == "freshet baseline create "+demoBaseline
		return !own
	})
	if own {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// playDemo is the demo on a running plane.
func (a *app) playDemo(ctx context.Context, flags demoFlags, l local, rcv *receiver) error {
	client, err := newLookupClient(l.serverURL(), "", config.TLS{})
	if err != nil {
		return err
	}
	client.patience = stalledAfter // the plane and everything that asks it share this machine
	flights, err := demo.Load()
	if err != nil {
		return err
	}
	if flags.flights > 0 {
		flights = flights.Latest(flags.flights)
	}
	report := newDemoReport()
	if err := a.countFlights(ctx, flights, client, l, &report); err != nil {
		return err
	}
	if err := timeLookups(ctx, client, flights, &report); err != nil {
		return err
	}
	if report.DeadLettered, err = l.deadLettered(ctx); err != nil {
		return err
	}
	set, err := a.trainDemo(ctx, flights, l, rcv, &report)
	if err != nil {
		return err
	}
	var watched *demoWatched // with less than the year there is too little for monitors to see
	if flags.flights == 0 {
		if watched, err = a.watchDemo(ctx, flights, l, set, rcv, &report, flags.html); err != nil {
			return err
		}
	}
	if flags.report != "" {
		if err := report.write(flags.report); err != nil {
			return err
		}
	}
	if a.json() {
		if err := printJSON(a.Stdout, report); err != nil {
			return err
		}
	} else {
		if err := a.printDemo(ctx, client, &report); err != nil {
			return err
		}
		if err := set.print(a.Stdout); err != nil {
			return err
		}
		if watched != nil {
			if err := watched.print(a.Stdout, &report); err != nil {
				return err
			}
		}
	}
	if flags.exit {
		return nil
	}
	if !a.json() {
		printTryThis(a.Stdout, a.Program, l)
		set.tryTrain(a.Stdout, a.Program)
		if watched != nil {
			watched.tryWatch(a.Stdout, a.Program, set.plane)
		}
	}
	<-ctx.Done()
	return nil
}

// countFlights sends the flights and waits until lookups show all of them.
func (a *app) countFlights(ctx context.Context, flights *demo.Flights, client *lookupClient, l local, r *demoReport) error {
	all := tallies(flights)
	for _, t := range all {
		r.Entities += len(t.keys)
	}
	r.Events = flights.Len()
	if !a.json() {
		fmt.Fprintf(a.Stdout, "Sending %s flights of 2013 through the plane, the last one leaving now.\n", thousands(int64(r.Events)))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	r.lastDeparture = start.UTC().Truncate(time.Second)
	var sending sync.WaitGroup
	send := func(source int, records iter.Seq[*kgo.Record], sent *int64) {
		sending.Go(func() {
			n, err := sendEvents(ctx, records, l.conn, l.plane.Sources[source].Topic)
			if *sent = n; err != nil {
				cancel(err)
			}
		})
	}
	r.sent = make([]int64, len(l.plane.Sources))
	if len(l.plane.Monitors) > 0 {
		r.faults = faultsOf(flights, r.lastDeparture)
		send(boardSource, boardRecords(flights, r.lastDeparture, r.faults), &r.sent[boardSource])
	}
	send(flightSource, flightRecords(flights, r.lastDeparture), &r.sent[flightSource])
	defer func() { cancel(nil); sending.Wait() }()
	bar := newProgress(a.Stderr, a.Terminal, "counted", int64(r.Events))
	err := awaitAll(ctx, client, all, func(share float64) { bar.set(int64(share * float64(r.Events))) })
	bar.finish()
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	if err != nil {
		return err
	}
	sending.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	r.Seconds = time.Since(start).Seconds()
	r.EventsPerSecond = float64(r.Events) / r.Seconds
	return nil
}

func (a *app) printDemo(ctx context.Context, client *lookupClient, r *demoReport) error {
	w := a.Stdout
	fmt.Fprintf(w, "Counted %s events in %.1f s (%s/s): %s entities, each event exactly once, %s dead-lettered.\n",
		thousands(int64(r.Events)), r.Seconds, thousands(int64(r.EventsPerSecond)), thousands(int64(r.Entities)), thousands(int64(r.DeadLettered)))
	fmt.Fprintf(w, "A lookup of the model's input took %.2f ms (median) and %.2f ms (99th percentile) of %s.\n",
		r.LookupP50Millis, r.LookupP99Millis, thousands(int64(r.Lookups)))
	for i := range showcases {
		fmt.Fprintln(w)
		if err := showcases[i].print(ctx, w, client); err != nil {
			return err
		}
	}
	return nil
}

// printTryThis prints commands that work as they stand while the demo serves on.
func printTryThis(w io.Writer, program string, l local) {
	body, _ := json.Marshal(modelInput("B6", "JFK", "SJU", 1598)) // text and numbers always encode
	fmt.Fprintf(w, `
The plane serves on until you press Ctrl-C. Try, in another terminal:

  # a model's input, as a model server asks for it
  curl -s http://%s/get-online-features -d '%s'

  # the same as a table
  %s get%s --service delay_model carrier=B6 origin=JFK dest=SJU distance=1598

  # the last three events, from Kafka
  kcat -C -q -e -b %s -t %s -o -1 -c 3
`, l.addrs.HTTP, body, program, l.serverFlag(), strings.Join(l.conn.Brokers, ","), l.plane.Sources[flightSource].Topic)
}
