package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// Kind is what a series watches of its column.
type Kind string

// The kinds of series.
const (
	Skew        Kind = "skew"        // a window against the training baseline; of the column of predictions too
	Drift       Kind = "drift"       // a window against an earlier one
	ValueSkew   Kind = "value_skew"  // served values against what the offline path computes
	Quality     Kind = "quality"     // nulls, types, range, new categories, duplicates
	Performance Kind = "performance" // the model's quality by its labels
	Volume      Kind = "volume"      // how much comes, against the same hour of the week
	Freshness   Kind = "freshness"   // how old the newest of a source is
	NoData      Kind = "no_data"     // whether anything comes at all
)

// Class is which kinds of series share an episode.
type Class string

// The classes.
const (
	Values       Class = "values"
	Performing   Class = "performance"
	Availability Class = "availability"
)

// kindTable says of each kind what class it is in, whether it mutes the values that come from its sources while it
// fires, and how a message calls it.
var kindTable = []struct {
	kind  Kind
	class Class
	mutes bool
	noun  string
}{
	{Skew, Values, false, "training-serving skew"},
	{Drift, Values, false, "drift"},
	{ValueSkew, Values, false, "value skew"},
	{Quality, Values, false, "bad data"},
	{Performance, Performing, false, "worse model quality"},
	{Volume, Availability, false, "unusual volume"},
	{Freshness, Availability, true, "stale data"},
	{NoData, Availability, true, "no data"},
}

// Kinds are the kinds of series.
func Kinds() []Kind {
	var out []Kind
	for _, row := range kindTable {
		out = append(out, row.kind)
	}
	return out
}

// known tells whether k is a kind.
func (k Kind) known() bool {
	for _, row := range kindTable {
		if row.kind == k {
			return true
		}
	}
	return false
}

// Class is the kind's class.
func (k Kind) Class() Class {
	for _, row := range kindTable {
		if row.kind == k {
			return row.class
		}
	}
	return Values
}

func (k Kind) mutes() bool {
	for _, row := range kindTable {
		if row.kind == k {
			return row.mutes
		}
	}
	return false
}

// Series is one thing that is judged again and again, within a monitor.
type Series struct {
	Kind   Kind   `json:"kind"`
	Column string `json:"column,omitempty"` // a feature, the prediction, or the source of a freshness
	Slice  string `json:"slice,omitempty"`  // as "carrier=AA"; empty: all
	// Check is which of a kind's checks it is, as null_share or rmse; empty for a kind that has one, as skew and drift.
	Check string `json:"check,omitempty"`
}

func compareSeries(a, b Series) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Slice, b.Slice), cmp.Compare(a.Check, b.Check))
}

// maxName bounds names in states and messages, in bytes. Slices' values come from the data.
const maxName = 256

// canonical returns a name of valid UTF-8 and bounded length. A name that has to be changed ends in a hash of the whole,
// so that different names stay different.
func canonical(name string) string {
	if len(name) <= maxName && utf8.ValidString(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return clip(strings.ToValidUTF8(name, "�"), maxName-17) + "~" + hex.EncodeToString(sum[:8])
}

// clip cuts text to at most n bytes, between characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
