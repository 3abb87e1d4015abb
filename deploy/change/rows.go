package change

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/train"
)

// fieldColumns finds the column of each field, -1 for one that the file does not have, and behind them that of the event time
// where the source takes it from the record.
func fieldColumns(src *config.Source, cols []train.SpineColumn, file string) ([]int, error) {
	at := map[string]int{}
	for i, c := range cols {
		at[c.Name] = i
	}
	out := make([]int, len(src.Schema), len(src.Schema)+1)
	for i, f := range src.Schema {
		n, ok := at[f.Name]
		if !ok {
			if n = -1; f.Required || i == src.EventTime.Field {
				return nil, fmt.Errorf("%s has no column %q, which source %s demands", file, f.Name, src.Name)
			}
		} else if c := &cols[n]; c.Zoneless {
			return nil, fmt.Errorf("%s: column %q is a time without a zone; write it in UTC", file, f.Name)
		} else if !c.Plain() {
			return nil, fmt.Errorf("%s: column %q is a %s; write it as the %s that source %s has", file, f.Name, c.Node.Type(), f.Type, src.Name)
		}
		out[i] = n
	}
	if src.EventTime.Field < 0 {
		n, ok := at[offline.EventTime]
		if !ok {
			return nil, fmt.Errorf("%s has no column %q: source %s takes the event time from Kafka's, which a file does not have", file, offline.EventTime, src.Name)
		}
		out = append(out, n)
	}
	return out, nil
}

// appendRow writes a row as the JSON record that a producer would have sent, so that it is judged by the same rules.
func appendRow(dst []byte, src *config.Source, cols []train.SpineColumn, cells []feature.Value, fields []int) []byte {
	before := byte('{')
	for i, f := range src.Schema {
		n := fields[i]
		if n < 0 {
			continue
		}
		dst = ingest.AppendJSONName(append(dst, before), f.Name)
		dst = appendCell(dst, f.Type, &cols[n], &cells[n])
		before = ','
	}
	if before == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

// appendCell writes one value. Text that stands for a number or a bool is written as such if it is one, and else as the string
// it is, for the reader to refuse.
func appendCell(dst []byte, typ feature.Type, c *train.SpineColumn, v *feature.Value) []byte {
	switch {
	case v.IsNull() || c.Text && v.Str() == "":
		return append(dst, "null"...)
	case c.Text && typ != feature.String && typ != feature.Bytes && json.Valid([]byte(v.Str())):
		return append(dst, v.Str()...)
	case c.Unsigned && v.Type() == feature.Int64:
		return strconv.AppendUint(dst, uint64(v.Int64()), 10)
	case v.Type() == feature.Timestamp:
		us := feature.TimestampValue(micros(c, v.Int64()))
		return ingest.AppendJSON(dst, &us)
	}
	return ingest.AppendJSON(dst, v)
}

// micros converts a timestamp of a column's unit, floored.
func micros(c *train.SpineColumn, n int64) int64 {
	switch {
	case c.Unit == 0 || c.Unit == 1_000_000:
		return n
	case c.Unit > 1_000_000:
		return feature.FloorTo(n, c.Unit/1_000_000) / (c.Unit / 1_000_000)
	case n > math.MaxInt64/(1_000_000/c.Unit) || n < math.MinInt64/(1_000_000/c.Unit):
		return math.MaxInt64
	}
	return n * (1_000_000 / c.Unit)
}

// cellTime reads the event time, in microseconds UTC, of a row whose source takes it from the record.
func cellTime(c *train.SpineColumn, v *feature.Value) (int64, error) {
	switch {
	case c.Text:
		us, problem := ingest.ParseTime(v.Str(), nil)
		if problem != "" {
			return noTime, fmt.Errorf("%s: %q %s", offline.EventTime, v.Str(), problem)
		}
		return us, nil
	case v.Type() == feature.Timestamp && !c.Zoneless:
		return micros(c, v.Int64()), nil
	}
	return noTime, fmt.Errorf("%s is not a time with a zone", offline.EventTime)
}
