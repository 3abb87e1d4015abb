package flightfile

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRowsSurviveTheFile(t *testing.T) {
	word := rapid.StringMatching(`[A-Z0-9]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Row {
			r := Row{
				Minute: rapid.Int64Range(0, maxNumber-1).Draw(t, "minute"), Carrier: word.Draw(t, "carrier"),
				Flight: rapid.IntRange(0, 9999).Draw(t, "flight"), Tailnum: word.Draw(t, "tailnum"), Origin: word.Draw(t, "origin"),
				Dest: word.Draw(t, "dest"), Cancelled: rapid.Bool().Draw(t, "cancelled"), AirTime: rapid.IntRange(0, 1000).Draw(t, "air time"),
				Distance: rapid.IntRange(0, 6000).Draw(t, "distance"),
			}
			if !r.Cancelled {
				r.DepDelay = rapid.IntRange(-2000, 2000).Draw(t, "delay")
			}
			return r
		}), 1, 40).Draw(t, "rows")
		slices.SortStableFunc(rows, func(a, b Row) int { return int(a.Minute - b.Minute) })
		raw, err := encode(rows)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(f.Rows()); !slices.Equal(got, rows) || f.Len() != len(rows) {
			t.Fatalf("read back %v, want %v", got, rows)
		}
	})
}

func TestFilesAreCompressed(t *testing.T) {
	rows := slices.Repeat([]Row{{Minute: 1, Carrier: "UA", Distance: 7}}, 1000)
	data, err := Encode(rows)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(data)
	if err != nil || len(data) > 500 || !slices.Equal(slices.Collect(f.Rows()), rows) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := Open(data[:len(data)-1]); err == nil {
		t.Error("a truncated file was opened")
	}
}

func TestEncodeRefusesWhatCannotBeRead(t *testing.T) {
	for name, rows := range map[string][]Row{
		"none": {}, "not sorted": {{Minute: 2}, {Minute: 1}}, "too far apart": {{Minute: 0}, {Minute: maxNumber}}, "negative": {{Distance: -1}},
	} {
		if _, err := Encode(rows); err == nil {
			t.Errorf("rows that are wrong (%s) were encoded", name)
		}
	}
}

// FuzzParse holds that what parse accepts can be read to its end.
func FuzzParse(f *testing.F) {
	f.Add([]byte(magic))
	f.Add([]byte(magic + "\x01\x05\x01\x02UA\x01\x00\x01\x03JFK\x01\x03SFO\x01\x00\x01\x00\x01\x07\x01\x00\x01\x00\x01\x00\x01\x01\x01\x00\x01\x09"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := parse(raw)
		if err != nil {
			return
		}
		n := 0
		for range file.Rows() {
			n++
		}
		if n != file.Len() {
			t.Errorf("read %d rows of %d", n, file.Len())
		}
	})
}
