// Package demo holds what the demo shows: a year of flights, the events made of them, and the plane that turns the
// events into features. It knows no service and sends nothing; `freshet demo` does.
//
// DATA.md says where the flights come from, under which licence, and how the embedded file is made.
package demo

import (
	_ "embed"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/freshet-io/freshet/deploy/demo/internal/flightfile"
)

//go:embed flights.bin.zst
var flightsFile []byte

// PlaneYAML is the definition of the demo's plane.
//
//go:embed plane.yaml
var PlaneYAML []byte

// Flight is one flight that left New York, or was to.
type Flight struct {
	DepartedAt time.Time // UTC, whole minutes; the scheduled time of a cancelled flight
	Carrier    string
	Number     int
	Tailnum    string // empty when not known
	Origin     string
	Dest       string
	DepDelay   int // minutes; 0 when Cancelled
	Cancelled  bool
	AirTime    int // minutes; 0 when not known
	Distance   int // miles
}

// Flights is every flight of 2013, sorted by departure. It is immutable and safe for concurrent use.
type Flights struct {
	file *flightfile.File
	skip int // so many of the first
	last time.Time
}

// Load decodes the embedded flights.
func Load() (*Flights, error) {
	file, err := flightfile.Open(flightsFile)
	if err != nil {
		return nil, fmt.Errorf("demo data: %w", err)
	}
	f := &Flights{file: file}
	for row := range file.Rows() {
		f.last = time.Unix(row.Minute*60, 0).UTC()
	}
	return f, nil
}

// Latest returns the last n of the flights, or all if there are no more.
func (f *Flights) Latest(n int) *Flights {
	return &Flights{file: f.file, skip: max(f.skip, f.file.Len()-n), last: f.last}
}

// Len returns the number of flights.
func (f *Flights) Len() int { return f.file.Len() - f.skip }

// Last returns when the last flight left.
func (f *Flights) Last() time.Time { return f.last }

// All yields every flight in order of departure.
func (f *Flights) All() iter.Seq[Flight] { return f.EndingAt(f.last) }

// EndingAt yields every flight in order of departure, moved in time by one amount so that the last one leaves at end.
// Hours of the day, days of the week and the time between flights stay as they were relative to each other.
func (f *Flights) EndingAt(end time.Time) iter.Seq[Flight] {
	shift := end.Sub(f.last)
	return func(yield func(Flight) bool) {
		i := 0
		for r := range f.file.Rows() {
			if i++; i <= f.skip {
				continue
			}
			if !yield(Flight{
				DepartedAt: time.Unix(r.Minute*60, 0).UTC().Add(shift), Carrier: r.Carrier, Number: r.Flight, Tailnum: r.Tailnum,
				Origin: r.Origin, Dest: r.Dest, DepDelay: r.DepDelay, Cancelled: r.Cancelled, AirTime: r.AirTime, Distance: r.Distance,
			}) {
				return
			}
		}
	}
}

// AppendEvent appends the flight's event, the JSON object that the plane's source describes. What is not known is
// null.
func (f *Flight) AppendEvent(dst []byte) []byte {
	dst = append(dst, `{"carrier":`...)
	dst = strconv.AppendQuote(dst, f.Carrier)
	dst = append(dst, `,"flight":`...)
	dst = strconv.AppendInt(dst, int64(f.Number), 10)
	dst = append(dst, `,"tailnum":`...)
	if f.Tailnum == "" {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendQuote(dst, f.Tailnum)
	}
	dst = append(dst, `,"origin":`...)
	dst = strconv.AppendQuote(dst, f.Origin)
	dst = append(dst, `,"dest":`...)
	dst = strconv.AppendQuote(dst, f.Dest)
	dst = append(dst, `,"dep_delay":`...)
	dst = appendMinutes(dst, f.DepDelay, !f.Cancelled)
	dst = append(dst, `,"air_time":`...)
	dst = appendMinutes(dst, f.AirTime, f.AirTime > 0)
	dst = append(dst, `,"distance":`...)
	dst = strconv.AppendInt(dst, int64(f.Distance), 10)
	dst = append(dst, `,"departed_at":"`...)
	dst = f.DepartedAt.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, `"}`...)
}

func appendMinutes(dst []byte, minutes int, known bool) []byte {
	if !known {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, int64(minutes), 10)
}
