package demo

import (
	"iter"
	"strconv"
	"time"
)

// Board is what an airport tells, once an hour, of the flights that left it in the hour.
type Board struct {
	Origin     string
	PostedAt   time.Time // UTC: the end of the hour
	Departures int
	Delay      int // minutes, of all departures together
}

// airports are New York's.
var airports = [...]string{"EWR", "JFK", "LGA"}

// Boards yields the boards of every whole hour of the flights as EndingAt has them, in the order of time. The airport that is
// silent posts none from a time on.
func (f *Flights) Boards(end time.Time, silent string, from time.Time) iter.Seq[Board] {
	return func(yield func(Board) bool) {
		var hour time.Time // whose flights are counted
		var of [len(airports)]Board
		for fl := range f.EndingAt(end) {
			at := fl.DepartedAt.Truncate(time.Hour)
			if hour.IsZero() {
				hour = at
			}
			for ; hour.Before(at); hour = hour.Add(time.Hour) {
				if !post(of[:], hour.Add(time.Hour), silent, from, yield) {
					return
				}
			}
			for i, origin := range airports {
				if fl.Origin == origin && !fl.Cancelled {
					of[i].Departures++
					of[i].Delay += fl.DepDelay
				}
			}
		}
	}
}

// post yields the boards of an hour, and empties them.
func post(of []Board, at time.Time, silent string, from time.Time, yield func(Board) bool) bool {
	for i, origin := range airports {
		b := of[i]
		b.Origin, b.PostedAt = origin, at
		of[i] = Board{}
		if origin == silent && !at.Before(from) {
			continue
		}
		if !yield(b) {
			return false
		}
	}
	return true
}

// AppendEvent appends the board's event, the JSON object that its source describes.
func (b *Board) AppendEvent(dst []byte) []byte {
	dst = append(dst, `{"origin":`...)
	dst = strconv.AppendQuote(dst, b.Origin)
	dst = append(dst, `,"departures":`...)
	dst = strconv.AppendInt(dst, int64(b.Departures), 10)
	dst = append(dst, `,"mean_delay":`...)
	if b.Departures == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendFloat(dst, float64(b.Delay)/float64(b.Departures), 'f', 2, 64)
	}
	dst = append(dst, `,"posted_at":"`...)
	dst = b.PostedAt.AppendFormat(dst, time.RFC3339)
	return append(dst, `"}`...)
}
