package rowbytes_test

import (
	"math"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline/rowbytes"
)

func values() []feature.Value {
	return []feature.Value{
		{},
		feature.BoolValue(true), feature.BoolValue(false), feature.Int64Value(math.MinInt64), feature.Float64Value(math.NaN()),
		feature.StringValue(""), feature.StringValue("ünïcode"), feature.BytesValue("\x00\xff"), feature.TimestampValue(-1),
		feature.ListValue(feature.String, nil), feature.ListValue(feature.Int64, []feature.Value{feature.Int64Value(1), {}}),
	}
}

func TestRoundTrip(t *testing.T) {
	var b []byte
	for _, v := range values() {
		b = rowbytes.Append(b, &v)
	}
	for _, want := range values() {
		var got feature.Value
		var err error
		if b, err = rowbytes.Parse(b, &got); err != nil || !got.Equal(&want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes left", len(b))
	}
}

// FuzzParse: any bytes are refused or read back as they are written.
func FuzzParse(f *testing.F) {
	for _, v := range values() {
		f.Add(rowbytes.Append(nil, &v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again feature.Value
		if _, err := rowbytes.Parse(b, &v); err != nil {
			return
		}
		if _, err := rowbytes.Parse(rowbytes.Append(nil, &v), &again); err != nil || !again.Equal(&v) {
			t.Errorf("%v came back as %v, %v", v, again, err)
		}
	})
}
