package change

import (
	"math"
	"testing"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline/train"
)

func TestACellBecomesWhatAProducerWouldHaveSent(t *testing.T) {
	text := func(s string) (train.SpineColumn, feature.Value) {
		return train.SpineColumn{Type: feature.String, Text: true}, feature.StringValue(s)
	}
	col := func(typ feature.Type, v feature.Value) (train.SpineColumn, feature.Value) {
		return train.SpineColumn{Type: typ}, v
	}
	check := func(typ feature.Type, want string, c train.SpineColumn, v feature.Value) {
		t.Helper()
		if got := string(appendCell(nil, typ, &c, &v)); got != want {
			t.Errorf("%s as %s: %s, want %s", v, typ, got, want)
		}
	}
	is := func(typ feature.Type, want, cell string) {
		t.Helper()
		c, v := text(cell)
		check(typ, want, c, v)
	}
	is(feature.String, `"12"`, "12")
	is(feature.String, "null", "")
	is(feature.Int64, "12", "12")
	is(feature.Int64, `"one"`, "one") // for the reader to refuse
	is(feature.Bool, "true", "true")
	is(feature.Timestamp, `"2024-03-01T00:00:00Z"`, "2024-03-01T00:00:00Z")
	is(feature.Timestamp, "1700000000000000", "1700000000000000")
	is(feature.Bytes, `"12=="`, "12==")
	c, v := col(feature.Float64, feature.Float64Value(1.5))
	check(feature.Float64, "1.5", c, v)
	c, v = col(feature.Int64, feature.Int64Value(-1))
	c.Unsigned = true
	check(feature.Int64, "18446744073709551615", c, v)
	c, v = col(feature.Timestamp, feature.TimestampValue(-1))
	c.Unit = 1_000_000_000
	check(feature.Timestamp, "-1", c, v) // floored
	c, v = col(feature.Timestamp, feature.TimestampValue(1700))
	c.Unit = 1000
	check(feature.Timestamp, "1700000", c, v)
	c, v = col(feature.Timestamp, feature.TimestampValue(math.MaxInt64))
	c.Unit = 1
	check(feature.Timestamp, "null", c, v) // beyond the years that there are
}

func TestAFileWithoutAColumnThatTheSourceDemandsIsRefused(t *testing.T) {
	src := &config.Source{
		Name: "orders", EventTime: config.EventTime{Field: -1},
		Schema: []config.Field{{Name: "user", Type: feature.String, Required: true}, {Name: "n", Type: feature.Int64}},
	}
	cols := []train.SpineColumn{{Name: "_event_time"}, {Name: "user"}}
	if got, err := fieldColumns(src, cols, "f.csv"); err != nil || len(got) != 3 || got[0] != 1 || got[1] != -1 || got[2] != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for _, without := range [][]train.SpineColumn{cols[:1], cols[1:], {{Name: "user", Zoneless: true}, {Name: "_event_time"}}} {
		if _, err := fieldColumns(src, without, "f.csv"); err == nil {
			t.Errorf("%v is accepted", without)
		}
	}
}
