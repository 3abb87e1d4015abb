package serving

import (
	"math"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/freshet-io/freshet/internal/feature"
	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
	typespb "github.com/freshet-io/freshet/serving/feastpb/feast/types"
)

// valueOfMessage reads a protobuf value as type t, or a null; false when it has another type. As in JSON, whole numbers
// are taken for a float64 and, as seconds, for a timestamp.
func valueOfMessage(m *typespb.Value, t feature.Type) (feature.Value, bool) {
	switch x := m.GetVal().(type) {
	case nil, *typespb.Value_NullVal:
		return feature.Value{}, m == nil || len(m.ProtoReflect().GetUnknown()) == 0 // a kind this package does not know is no null
	case *typespb.Value_StringVal:
		return feature.StringValue(x.StringVal), t == feature.String
	case *typespb.Value_BytesVal:
		return feature.BytesValue(string(x.BytesVal)), t == feature.Bytes
	case *typespb.Value_BoolVal:
		return feature.BoolValue(x.BoolVal), t == feature.Bool
	case *typespb.Value_DoubleVal:
		return valueOfFloat(x.DoubleVal, t)
	case *typespb.Value_FloatVal:
		return valueOfFloat(float64(x.FloatVal), t)
	case *typespb.Value_Int64Val:
		return valueOfInt(x.Int64Val, t)
	case *typespb.Value_Int32Val:
		return valueOfInt(int64(x.Int32Val), t)
	case *typespb.Value_UnixTimestampVal:
		if t != feature.Timestamp {
			return feature.Value{}, false
		}
		return timestampOfSeconds(x.UnixTimestampVal)
	}
	if !t.IsList() {
		return feature.Value{}, false
	}
	return listOfMessage(m, t.Elem())
}

func valueOfFloat(f float64, t feature.Type) (feature.Value, bool) {
	return feature.Float64Value(f), t == feature.Float64 && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func valueOfInt(i int64, t feature.Type) (feature.Value, bool) {
	switch t {
	case feature.Int64:
		return feature.Int64Value(i), true
	case feature.Float64:
		return feature.Float64Value(float64(i)), true
	case feature.Timestamp:
		return timestampOfSeconds(i)
	}
	return feature.Value{}, false
}

func listOfMessage(m *typespb.Value, elem feature.Type) (feature.Value, bool) {
	switch x := m.GetVal().(type) {
	case *typespb.Value_BytesListVal:
		return listOf(elem, x.BytesListVal.GetVal(), func(b []byte) (feature.Value, bool) {
			return feature.BytesValue(string(b)), elem == feature.Bytes
		})
	case *typespb.Value_StringListVal:
		return listOf(elem, x.StringListVal.GetVal(), func(s string) (feature.Value, bool) {
			return feature.StringValue(s), elem == feature.String
		})
	case *typespb.Value_BoolListVal:
		return listOf(elem, x.BoolListVal.GetVal(), func(b bool) (feature.Value, bool) {
			return feature.BoolValue(b), elem == feature.Bool
		})
	case *typespb.Value_Int32ListVal:
		return listOf(elem, x.Int32ListVal.GetVal(), func(i int32) (feature.Value, bool) { return valueOfInt(int64(i), elem) })
	case *typespb.Value_Int64ListVal:
		return listOf(elem, x.Int64ListVal.GetVal(), func(i int64) (feature.Value, bool) { return valueOfInt(i, elem) })
	case *typespb.Value_DoubleListVal:
		return listOf(elem, x.DoubleListVal.GetVal(), func(f float64) (feature.Value, bool) { return valueOfFloat(f, elem) })
	case *typespb.Value_FloatListVal:
		return listOf(elem, x.FloatListVal.GetVal(), func(f float32) (feature.Value, bool) { return valueOfFloat(float64(f), elem) })
	case *typespb.Value_UnixTimestampListVal:
		return listOf(elem, x.UnixTimestampListVal.GetVal(), func(s int64) (feature.Value, bool) {
			v, ok := timestampOfSeconds(s)
			return v, ok && elem == feature.Timestamp
		})
	}
	return feature.Value{}, false
}

func listOf[T any](elem feature.Type, in []T, value func(T) (feature.Value, bool)) (feature.Value, bool) {
	vs := make([]feature.Value, len(in))
	for i, x := range in {
		var ok bool
		if vs[i], ok = value(x); !ok {
			return feature.Value{}, false
		}
	}
	return feature.ListValue(elem, vs), true
}

// messageOf returns the response of a batch. It shares no memory with the batch; strings share what was fetched.
func messageOf(b *batch, views bool) *servingpb.GetOnlineFeaturesResponse {
	pl := b.plan
	meta := &servingpb.GetOnlineFeaturesResponseMetadata{FeatureNames: &servingpb.FeatureList{Val: pl.names}}
	if views {
		for _, v := range pl.views {
			meta.FeatureViewMetadata = append(meta.FeatureViewMetadata, &servingpb.FeatureViewMetadata{Name: v})
		}
	}
	a := newArena(len(pl.names), b.rows)
	for i := range pl.columns {
		a.addPlain(b.columns[i], 1)
	}
	for g := range pl.groups {
		a.addStamps(b.groups[g].found)
	}
	for _, o := range pl.outputs {
		a.addStored(b, o)
	}
	for i := range pl.derived {
		a.addPlain(b.derived[i:], len(pl.derived))
	}
	return &servingpb.GetOnlineFeaturesResponse{Metadata: meta, Results: a.results, Status: true}
}

// arena makes a response's many small messages out of few large pieces of memory.
type arena struct {
	rows     int
	results  []*servingpb.GetOnlineFeaturesResponse_FeatureVector
	vectors  []servingpb.GetOnlineFeaturesResponse_FeatureVector
	values   []typespb.Value
	pointers []*typespb.Value
	statuses []servingpb.FieldStatus
	times    []*timestamppb.Timestamp
	epoch    *timestamppb.Timestamp
	stamps   [][]timestamppb.Timestamp // for each group, of each found
}

func newArena(columns, rows int) *arena {
	cells := columns * rows
	return &arena{
		rows:     rows,
		results:  make([]*servingpb.GetOnlineFeaturesResponse_FeatureVector, 0, columns),
		vectors:  make([]servingpb.GetOnlineFeaturesResponse_FeatureVector, columns),
		values:   make([]typespb.Value, cells),
		pointers: make([]*typespb.Value, cells),
		statuses: make([]servingpb.FieldStatus, cells),
		times:    make([]*timestamppb.Timestamp, cells),
		epoch:    &timestamppb.Timestamp{},
	}
}

// next takes the memory of one column.
func (a *arena) next() *servingpb.GetOnlineFeaturesResponse_FeatureVector {
	i, n := len(a.results), a.rows
	v := &a.vectors[i]
	from, to := i*n, (i+1)*n
	v.Values, v.Statuses, v.EventTimestamps = a.pointers[from:to:to], a.statuses[from:to:to], a.times[from:to:to]
	for r := range n {
		v.Values[r] = &a.values[from+r]
	}
	a.results = append(a.results, v)
	return v
}

func (a *arena) addPlain(vs []feature.Value, stride int) {
	column := a.next()
	for r := range a.rows {
		v := &vs[r*stride]
		setMessage(column.Values[r], v)
		column.Statuses[r] = servingpb.FieldStatus(statusPresent)
		if v.IsNull() {
			column.Statuses[r] = servingpb.FieldStatus(statusNull)
		}
		column.EventTimestamps[r] = a.epoch
	}
}

func (a *arena) addStamps(found []found) {
	stamps := make([]timestamppb.Timestamp, len(found))
	for i := range found {
		us := clampStamp(found[i].time)
		stamps[i].Seconds = unixSeconds(us)
		stamps[i].Nanos = int32(us-stamps[i].Seconds*feature.Second) * 1000
	}
	a.stamps = append(a.stamps, stamps)
}

func (a *arena) addStored(b *batch, o planOutput) {
	column := a.next()
	rows, group := &b.groups[o.group], &b.plan.groups[o.group]
	for r, u := range rows.index {
		v := &rows.values[int(u)*group.width+o.slot]
		at := int(u)*len(group.views) + o.view
		setMessage(column.Values[r], v)
		column.Statuses[r] = servingpb.FieldStatus(statusPresent)
		if v.IsNull() {
			column.Statuses[r] = servingpb.FieldStatus(rows.found[at].status)
		}
		column.EventTimestamps[r] = &a.stamps[o.group][at]
	}
}

// setMessage sets a protobuf value; a null stays unset, as Feast's servers leave it.
func setMessage(m *typespb.Value, v *feature.Value) {
	switch v.Type() {
	case feature.Bool:
		m.Val = &typespb.Value_BoolVal{BoolVal: v.Bool()}
	case feature.Int64:
		m.Val = &typespb.Value_Int64Val{Int64Val: v.Int64()}
	case feature.Float64:
		m.Val = &typespb.Value_DoubleVal{DoubleVal: v.Float64()}
	case feature.String:
		m.Val = &typespb.Value_StringVal{StringVal: validUTF8(v.Str())}
	case feature.Bytes:
		m.Val = &typespb.Value_BytesVal{BytesVal: []byte(v.Str())}
	case feature.Timestamp:
		m.Val = &typespb.Value_UnixTimestampVal{UnixTimestampVal: unixSeconds(v.Int64())}
	default:
		if v.Type().IsList() {
			setMessageList(m, v)
		}
	}
}

func setMessageList(m *typespb.Value, v *feature.Value) {
	vs := v.List()
	switch v.Type().Elem() {
	case feature.Bool:
		m.Val = &typespb.Value_BoolListVal{BoolListVal: &typespb.BoolList{Val: each(vs, (*feature.Value).Bool)}}
	case feature.Int64:
		m.Val = &typespb.Value_Int64ListVal{Int64ListVal: &typespb.Int64List{Val: each(vs, (*feature.Value).Int64)}}
	case feature.Float64:
		m.Val = &typespb.Value_DoubleListVal{DoubleListVal: &typespb.DoubleList{Val: each(vs, (*feature.Value).Float64)}}
	case feature.String:
		m.Val = &typespb.Value_StringListVal{StringListVal: &typespb.StringList{
			Val: each(vs, func(v *feature.Value) string { return validUTF8(v.Str()) }),
		}}
	case feature.Bytes:
		m.Val = &typespb.Value_BytesListVal{BytesListVal: &typespb.BytesList{
			Val: each(vs, func(v *feature.Value) []byte { return []byte(v.Str()) }),
		}}
	case feature.Timestamp:
		m.Val = &typespb.Value_UnixTimestampListVal{UnixTimestampListVal: &typespb.Int64List{
			Val: each(vs, func(v *feature.Value) int64 { return unixSeconds(v.Int64()) }),
		}}
	}
}

func each[T any](vs []feature.Value, of func(*feature.Value) T) []T {
	out := make([]T, len(vs))
	for i := range vs {
		out[i] = of(&vs[i])
	}
	return out
}
