package feature_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

// fuzzLayout has one feature of every aggregation and input, and a row feature of every type.
func fuzzLayout(t testing.TB) *feature.Layout {
	spec := feature.LayoutSpec{AllowedSkew: 5e6}
	name := 'a'
	for i, agg := range allSpecs() {
		f := feature.FeatureSpec{Name: string(name) + agg.Name, Agg: agg, Window: []int64{60e6, 0, 3600e6}[i%3]}
		spec.Features = append(spec.Features, f)
		name++
	}
	for _, typ := range stateTypes {
		spec.Features = append(spec.Features,
			feature.FeatureSpec{Name: typ.String(), Type: typ},
			feature.FeatureSpec{Name: feature.ListOf(typ).String(), Type: feature.ListOf(typ)})
	}
	l, err := feature.NewLayout(spec)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fuzzEntity is an entity of fuzzLayout with some tiles.
func fuzzEntity(l *feature.Layout) *feature.Entity {
	e := new(feature.Entity)
	values := map[feature.Type]*feature.Value{feature.Null: {}}
	for k := range int64(5) {
		for typ, v := range map[feature.Type]feature.Value{
			feature.Bool: feature.BoolValue(k%2 == 0), feature.Int64: feature.Int64Value(k), feature.Float64: feature.Float64Value(float64(k) / 3),
			feature.String: feature.StringValue(strings.Repeat("s", int(k))), feature.Bytes: feature.BytesValue("b"), feature.Timestamp: feature.TimestampValue(k),
		} {
			list := feature.ListValue(typ, []feature.Value{v, v})
			values[typ], values[feature.ListOf(typ)] = &v, &list
		}
		var in []*feature.Value
		for _, agg := range allSpecs() {
			in = append(in, values[agg.In])
		}
		for _, typ := range stateTypes {
			in = append(in, values[typ], values[feature.ListOf(typ)])
		}
		l.Apply(e, &feature.Order{Time: k * 700_000, Ordinal: 1, Offset: k}, in, 4e6)
	}
	return e
}

// FuzzRestore: a value is refused, or it is a state that can be used and that is stored again as the same values.
func FuzzRestore(f *testing.F) {
	l := fuzzLayout(f)
	var scratch []byte
	l.Flush(fuzzEntity(l), &scratch, func(c feature.Cell, value []byte) { f.Add(c.Hop, c.Start, bytes.Clone(value)) })
	for _, line := range goldenCells {
		_, _, c, err := feature.ParseCellKey(mustHex(strings.Fields(line)[0]))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.Hop, c.Start, mustHex(strings.Fields(line)[1]))
	}
	f.Fuzz(func(t *testing.T, hop uint32, start int64, value []byte) {
		e, c := new(feature.Entity), feature.Cell{Hop: hop, Start: start}
		l.ExpiredCell(c, value, 0)
		if l.Restore(e, c, value) != nil {
			if !e.Empty() {
				t.Fatal("a refused value left something")
			}
			return
		}
		var r feature.Reader
		out, again := make([]feature.Value, l.NumFeatures()), make([]feature.Value, l.NumFeatures())
		st, ts := r.ReadEntity(l, e, e.EventTime(), allFeatures(l), out)
		v := feature.MakeVersion(1, 2, 3, 4)
		head, tail := l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)
		st2, ts2, _, err := r.Read(l, head, tail, ts, allFeatures(l), again)
		if err != nil || st2 != st || ts2 != ts || valuesString(out) != valuesString(again) {
			t.Fatalf("memory %v at %d %v; blobs %v at %d %v, %v", st, ts, out, st2, ts2, again, err)
		}
		l.Apply(e, &feature.Order{Time: ts}, make([]*feature.Value, l.NumFeatures()), ts)
		l.Flush(e, &scratch, func(c feature.Cell, value []byte) {
			if value == nil {
				return // a tile that goes to the head cell leaves its own
			}
			if err := l.Restore(new(feature.Entity), c, value); err != nil {
				t.Fatalf("what was restored is stored as %x: %v", value, err)
			}
		})
	})
}

// FuzzParseCellKey: bytes are refused, or are exactly the key of the cell that they name.
func FuzzParseCellKey(f *testing.F) {
	for _, line := range goldenCells {
		f.Add(mustHex(strings.Fields(line)[0]))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		view, entity, c, err := feature.ParseCellKey(key)
		if err != nil {
			return
		}
		if again := feature.AppendCellKey(nil, view, entity, c); !bytes.Equal(again, key) {
			t.Fatalf("%x is read as the key %x", key, again)
		}
	})
}

// FuzzRead: whatever the online store answers, a read ends with values of the features' types or an error. The bytes
// are read as they are, which mostly ends at the checksum, and with a checksum that matches, as somebody could write
// who means harm.
func FuzzRead(f *testing.F) {
	l := fuzzLayout(f)
	e := fuzzEntity(l)
	v := feature.MakeVersion(1, 2, 3, 4)
	head, tail := l.AppendHead(nil, e, v, v), l.AppendTail(nil, e, v)
	f.Add(head, tail, int64(4e6))
	f.Add(unsealed(head), unsealed(tail), int64(4e6))
	f.Add(unsealed(l.AppendHead(nil, e, v, feature.Version{})), []byte(nil), int64(-1))
	f.Fuzz(func(t *testing.T, head, tail []byte, at int64) {
		checkBlobs(t, l, head, tail, at)
		if len(tail) > 0 {
			tail = sealed(tail)
		}
		checkBlobs(t, l, sealed(head), tail, at)
	})
}

// checkBlobs reads blobs from outside and checks what must hold for any bytes.
func checkBlobs(t *testing.T, l *feature.Layout, head, tail []byte, at int64) {
	var r feature.Reader
	out := make([]feature.Value, l.NumFeatures())
	st, ts, _, err := r.Read(l, head, tail, at, allFeatures(l), out)
	if err != nil && st != feature.NotFound || st == feature.NotFound && ts != feature.NoTime {
		t.Fatalf("%v at %d, %v", st, ts, err)
	}
	for i := range out {
		if typ := out[i].Type(); typ != feature.Null && (typ != l.FeatureType(i) || st != feature.Present) {
			t.Fatalf("feature %d of type %s is a %s in a view that is %v", i, l.FeatureType(i), typ, st)
		}
	}
	feature.HeadVersion(head)
	feature.TailVersion(tail)
}
