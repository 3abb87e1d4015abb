package wire

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func TestReaderReadsWhatWasAppended(t *testing.T) {
	data := binary.AppendUvarint(AppendBytes(binary.AppendVarint([]byte{7}, math.MinInt64), "text"), math.MaxUint64)
	r := NewReader(data)
	if b, v, s, u := r.Byte(), r.Varint(), r.Text(), r.Uvarint(); b != 7 || v != math.MinInt64 || s != "text" || u != math.MaxUint64 || r.End() != nil {
		t.Errorf("%d %d %q %d, %v", b, v, s, u, r.End())
	}
}

func TestReaderStopsAtItsFirstError(t *testing.T) {
	for want, data := range map[string][]byte{
		"ends too early":       {200},
		"too large":            {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
		"3 bytes are left":     {1, 'a', 0, 0, 0},
		"it ends too early":    {5, 'a'},
		"a number is too larg": {255, 255, 255, 255, 255, 255, 255, 255, 255, 2},
	} {
		r := NewReader(data)
		r.Bytes()
		if err := r.End(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", data, err, want)
		}
		if r.Err() != nil && (r.Byte() != 0 || r.Uvarint() != 0 || r.Text() != "") {
			t.Errorf("%v: it read on after %v", data, r.Err())
		}
	}
}
