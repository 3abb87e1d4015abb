package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
)

const defaultServer = "http://127.0.0.1:6566"

const getLong = `Get looks features up on a running server and prints each with its status and event time.

Name the entities by their join keys, and the request fields of the feature service, as name=value.
A name that is given several times asks for several entities; a name given once holds for all of them.
A value that reads as a number is sent as a number, or as text where the definition wants text.`

func (a *app) getCommand() *cobra.Command {
	var server, service, tokenFile string
	var certs config.TLS
	var features []string
	cmd := &cobra.Command{
		Use:   "get {--service NAME | --features VIEW:FEATURE,...} NAME=VALUE...",
		Short: "Look features up on a running server",
		Long:  getLong,
		Example: `  freshet get --service delay_model carrier=UA origin=EWR dest=SFO distance=2565
  freshet get --features carrier_delays:mean_delay_1h,carrier_delays:last_dest carrier=UA carrier=AA
  freshet get --server https://features.example.org --ca ca.pem --service delay_model carrier=UA --output json`,
		Args: func(_ *cobra.Command, args []string) error {
			if (service == "") == (len(features) == 0) {
				return usageError(errors.New("give one of --service and --features"))
			}
			if len(args) == 0 {
				return usageError(errors.New("no entity is named: give its join keys as name=value"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cols, err := parseColumns(args)
			if err != nil {
				return usageError(err)
			}
			token, err := a.token(tokenFile)
			if err != nil {
				return err
			}
			client, err := newLookupClient(server, token, certs)
			if err != nil {
				return err
			}
			resp, err := lookUp(cmd.Context(), client, lookupRequest{FeatureService: service, Features: features, FullFeatureNames: true}, cols)
			if err != nil {
				return err
			}
			rows := entityRows(resp, cols)
			if a.json() {
				return printJSON(a.Stdout, rows)
			}
			return printEntityRows(a.Stdout, rows)
		},
	}
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "the feature service to look up")
	f.StringSliceVar(&features, "features", nil, "features to look up, each as view:feature")
	f.StringVar(&server, "server", defaultServer, "the server's URL (listen.http of a process with the role serve)")
	f.StringVar(&certs.CA, "ca", "", "PEM file of the authority that signed the server's certificate")
	f.StringVar(&certs.Cert, "cert", "", "PEM file of the client's certificate, where the server asks for one (listen.tls.client_ca)")
	f.StringVar(&certs.Key, "key", "", "PEM file of the key of --cert")
	f.StringVar(&tokenFile, "token-file", "", "file that holds the bearer token (default $FRESHET_TOKEN)")
	return cmd
}

// token returns the bearer token to send: a file's first line, or the environment's.
func (a *app) token(file string) (string, error) {
	if file == "" {
		return a.Getenv("FRESHET_TOKEN"), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line), nil
}

// inputColumn is the values of one join key or request field, one for each row that is asked for.
type inputColumn struct {
	name   string
	values []string
	text   bool // all values are sent as text, whatever they look like
}

// parseColumns reads name=value arguments into columns of equal length, in the order in which names first appear.
func parseColumns(args []string) ([]*inputColumn, error) {
	var cols []*inputColumn
	rows := 1
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not name=value", arg)
		}
		i := slices.IndexFunc(cols, func(c *inputColumn) bool { return c.name == name })
		if i < 0 {
			cols, i = append(cols, &inputColumn{name: name}), len(cols)
		}
		cols[i].values = append(cols[i].values, value)
		rows = max(rows, len(cols[i].values))
	}
	for _, c := range cols {
		switch n := len(c.values); n {
		case rows:
		case 1:
			c.values = slices.Repeat(c.values, rows)
		default:
			return nil, fmt.Errorf("%s is given %d times, others %d times; give each name once or as often as the others", c.name, n, rows)
		}
	}
	return cols, nil
}

// encode returns the column as JSON, and whether a value went as something other than text.
func (c *inputColumn) encode() (values []json.RawMessage, other bool) {
	for _, v := range c.values {
		if !c.text && (v == "true" || v == "false" || v == "null" || isNumber(v)) {
			values, other = append(values, json.RawMessage(v)), true
			continue
		}
		quoted, _ := json.Marshal(v) // a string always encodes
		values = append(values, quoted)
	}
	return values, other
}

func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

// lookUp asks the server. The server converts no types: a column whose values read as numbers and that it refuses is
// sent once more as text.
func lookUp(ctx context.Context, client *lookupClient, req lookupRequest, cols []*inputColumn) (*lookupResponse, error) {
	for {
		req.Entities = map[string][]json.RawMessage{}
		retypable := map[string]*inputColumn{}
		for _, c := range cols {
			values, other := c.encode()
			req.Entities[c.name] = values
			if other {
				retypable[c.name] = c
			}
		}
		resp, err := client.get(ctx, req)
		var refused *refusal
		if err == nil || !errors.As(err, &refused) {
			return resp, err
		}
		var c *inputColumn
		if refused.status == http.StatusUnprocessableEntity {
			for _, l := range refused.loc {
				if retypable[l] != nil {
					c = retypable[l]
				}
			}
		}
		if c == nil {
			return nil, classRefusal(refused)
		}
		c.text = true
	}
}

func classRefusal(r *refusal) error {
	switch r.status {
	case http.StatusNotFound:
		return notFound(r)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable:
		return unreachable(r)
	}
	return r
}

// entityRow is one entity and its features, as printed.
type entityRow struct {
	Entity   map[string]json.RawMessage `json:"entity"`
	Features []featureValue             `json:"features"`
	label    string                     // the entity in one cell of a table
}

type featureValue struct {
	Name      string          `json:"name"`
	Value     json.RawMessage `json:"value"`
	Status    string          `json:"status"`
	EventTime string          `json:"event_time,omitempty"`
}

// noEventTime is what servers answer where there is none.
const noEventTime = "1970-01-01T00:00:00Z"

// entityRows turns the answer's columns into rows. What was asked with names the entity, the rest are features.
func entityRows(resp *lookupResponse, cols []*inputColumn) []entityRow {
	rows := make([]entityRow, len(cols[0].values))
	for i := range rows {
		rows[i] = entityRow{Entity: map[string]json.RawMessage{}, Features: []featureValue{}}
		var label []string
		for _, c := range cols {
			values, _ := c.encode()
			rows[i].Entity[c.name] = values[i]
			label = append(label, c.name+"="+c.values[i])
		}
		rows[i].label = strings.Join(label, " ")
	}
	for k, name := range resp.Metadata.FeatureNames {
		if slices.ContainsFunc(cols, func(c *inputColumn) bool { return c.name == name }) {
			continue
		}
		col := &resp.Results[k]
		for i := range min(len(rows), len(col.Values)) {
			v := featureValue{Name: name, Value: col.Values[i], Status: col.Statuses[i]}
			if col.EventTimes[i] != noEventTime {
				v.EventTime = col.EventTimes[i]
			}
			rows[i].Features = append(rows[i].Features, v)
		}
	}
	return rows
}

// printEntityRows prints a table for each entity.
func printEntityRows(w io.Writer, rows []entityRow) error {
	for i, row := range rows {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintln(w, printable(row.label)); err != nil {
			return err
		}
		t := newTable(left("FEATURE"), left("VALUE"), left("STATUS"), left("EVENT TIME"))
		for _, f := range row.Features {
			t.add(f.Name, showValue(f.Value), f.Status, f.EventTime)
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	return nil
}

// showValue is a value for people: text without quotes, null as a dash, the rest as JSON on one line.
func showValue(v json.RawMessage) string {
	var s string
	switch {
	case string(v) == "null":
		return "-"
	case json.Unmarshal(v, &s) == nil:
		return s
	}
	return string(v)
}
