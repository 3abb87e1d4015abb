package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
)

func (a *app) dlqShowCommand() *cobra.Command {
	var place dlqPlace
	var at string
	cmd := &cobra.Command{
		Use:     "show FILE... --at TOPIC/PARTITION/OFFSET",
		Short:   "Show one dead letter whole",
		Example: "  freshet dlq show plane.yaml --at freshet.flights.dlq.departures/0/17",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := ingest.ParseCoordinates(at)
			if err != nil {
				return usageError(fmt.Errorf("--at: %w", err))
			}
			return a.withDeadLetters(cmd.Context(), args, &place, func(client *kgo.Client, _ *config.Plane) error {
				l, err := ingest.Show(cmd.Context(), client, where)
				if errors.Is(err, ingest.ErrNoLetter) {
					return notFound(err)
				}
				if err != nil {
					return err
				}
				return a.printLetter(&l)
			})
		},
	}
	addConnections(cmd, &place.connections)
	cmd.Flags().StringSliceVar(&place.brokers, "brokers", nil, "Kafka to read instead of the definition's, as for a plane of 'freshet dev'")
	cmd.Flags().StringVar(&at, "at", "", "where the dead letter is, as 'freshet dlq list' prints it")
	cobra.CheckErr(cmd.MarkFlagRequired("at"))
	return cmd
}

// wholeLetter is a dead letter with its record. Bytes that are not text are in base64, and then the field with the
// suffix _base64 is set instead.
type wholeLetter struct {
	letterRow
	Timestamp   string         `json:"timestamp"` // of the original record
	Key         string         `json:"key,omitempty"`
	KeyBase64   string         `json:"key_base64,omitempty"`
	Value       string         `json:"value,omitempty"`
	ValueBase64 string         `json:"value_base64,omitempty"`
	Headers     []letterHeader `json:"headers"`
}

type letterHeader struct {
	Key         string `json:"key"`
	Value       string `json:"value,omitempty"`
	ValueBase64 string `json:"value_base64,omitempty"`
}

func (a *app) printLetter(l *ingest.Letter) error {
	o := l.Original
	w := wholeLetter{letterRow: newLetterRow(l), Timestamp: o.Timestamp.UTC().Format(time.RFC3339Nano), Headers: []letterHeader{}}
	w.Key, w.KeyBase64 = textOrBase64(o.Key)
	w.Value, w.ValueBase64 = textOrBase64(o.Value)
	for _, h := range o.Headers {
		text, b64 := textOrBase64(h.Value)
		w.Headers = append(w.Headers, letterHeader{Key: h.Key, Value: text, ValueBase64: b64})
	}
	if a.json() {
		return printJSON(a.Stdout, w)
	}
	t := newTable(left("DEAD LETTER"), left(w.At))
	t.add("source", w.Source)
	t.add("reason", w.Class)
	t.add("detail", w.Reason)
	t.add("put aside", w.Time)
	t.add("record", w.Origin)
	t.add("timestamp", w.Timestamp)
	t.add("key", either(w.Key, w.KeyBase64))
	for _, h := range w.Headers {
		t.add("header "+h.Key, either(h.Value, h.ValueBase64))
	}
	t.add("value", either(w.Value, w.ValueBase64))
	return t.print(a.Stdout)
}

func textOrBase64(b []byte) (text, b64 string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return "", base64.StdEncoding.EncodeToString(b)
}

func either(text, b64 string) string {
	if b64 != "" {
		return "base64 " + b64
	}
	return text
}
