package feature_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
)

// TestStatus: the status of a view follows from its timestamp, its ttl and its windows, on both sides of every edge.
func TestStatus(t *testing.T) {
	const s = feature.Second
	count := feature.AggregatorSpec{Name: "count"}
	window := func(w int64) feature.FeatureSpec { return feature.FeatureSpec{Name: "w", Agg: count, Window: w} }
	ever := feature.FeatureSpec{Name: "ever", Agg: count}
	latest := feature.FeatureSpec{Name: "latest", Type: feature.Int64}
	const at = 10_000*s + 250_000 // the view's timestamp
	for _, tc := range []struct {
		name     string
		ttl      int64
		features []feature.FeatureSpec
		age      int64
		want     feature.Status
	}{
		{"window, no age", 0, []feature.FeatureSpec{window(60 * s)}, 0, feature.Present},
		{"window, ahead of the reader", 0, []feature.FeatureSpec{window(60 * s)}, -5 * s, feature.Present},
		{"window, its last moment", 0, []feature.FeatureSpec{window(60 * s)}, 60*s + 749_999, feature.Present},
		{"window, over", 0, []feature.FeatureSpec{window(60 * s)}, 60*s + 750_000, feature.NotFound},
		{"ttl shorter than the window", 30 * s, []feature.FeatureSpec{window(60 * s)}, 30 * s, feature.Present},
		{"ttl shorter than the window, over", 30 * s, []feature.FeatureSpec{window(60 * s)}, 30*s + 1, feature.OutsideMaxAge},
		{"both over", 30 * s, []feature.FeatureSpec{window(60 * s)}, 60*s + 750_000, feature.NotFound},
		{"ttl longer than the window", 90 * s, []feature.FeatureSpec{window(60 * s)}, 90 * s, feature.Present},
		{"ttl longer than the window, over", 90 * s, []feature.FeatureSpec{window(60 * s)}, 90*s + 1, feature.NotFound},
		{"lifetime", 0, []feature.FeatureSpec{window(60 * s), ever}, 1e6 * s, feature.Present},
		{"lifetime, ttl", 30 * s, []feature.FeatureSpec{ever}, 30 * s, feature.Present},
		{"lifetime, ttl over", 30 * s, []feature.FeatureSpec{ever}, 1e6 * s, feature.OutsideMaxAge},
		{"row feature", 0, []feature.FeatureSpec{latest}, 1e6 * s, feature.Present},
		{"row feature, ttl over", 1, []feature.FeatureSpec{window(60 * s), latest}, 2, feature.OutsideMaxAge},
	} {
		l, err := feature.NewLayout(feature.LayoutSpec{TTL: tc.ttl, AllowedSkew: 3600 * s, Features: tc.features})
		if err != nil {
			t.Fatal(err)
		}
		x := feature.Int64Value(7)
		e, online := new(feature.Entity), new(published)
		l.Apply(e, &feature.Order{Time: at}, []*feature.Value{&x, &x}[:len(tc.features)], at)
		online.publish(l, e)
		var r feature.Reader
		out := make([]feature.Value, len(tc.features))
		st, ts, v, err := r.Read(l, online.head, online.tail, at+tc.age, allFeatures(l), out)
		wantTs := int64(at)
		if tc.want == feature.NotFound {
			wantTs = feature.NoTime
		}
		if err != nil || st != tc.want || ts != wantTs || v == (feature.Version{}) {
			t.Errorf("%s: %v at %d, %v; want %v", tc.name, st, ts, err, tc.want)
		}
		for i := range out {
			if out[i].IsNull() != (tc.want != feature.Present) {
				t.Errorf("%s: feature %d is %v", tc.name, i, out[i])
			}
		}
	}
}

// TestReadAbsent: no head, an entity without events and one whose state is gone are NOT_FOUND, whatever was in out.
func TestReadAbsent(t *testing.T) {
	l, _ := goldenEntity(t)
	var r feature.Reader
	out := make([]feature.Value, 9)
	for name, blobs := range map[string][2][]byte{
		"no head":         {nil, nil},
		"a tail alone":    {nil, mustHex(goldenTail)},
		"an empty entity": {l.AppendHead(nil, new(feature.Entity), feature.Version{1}, feature.Version{}), nil},
	} {
		out[3] = feature.Int64Value(1)
		st, ts, _, err := r.Read(l, blobs[0], blobs[1], 0, allFeatures(l), out)
		if err != nil || st != feature.NotFound || ts != feature.NoTime || !out[3].IsNull() {
			t.Errorf("%s: %v at %d, %v, %v", name, st, ts, out[3], err)
		}
	}
	if st, ts := r.ReadEntity(l, new(feature.Entity), 0, allFeatures(l), out); st != feature.NotFound || ts != feature.NoTime {
		t.Errorf("zero entity: %v at %d", st, ts)
	}
}

// TestReadTorn: a head is read with its own tail or not at all.
func TestReadTorn(t *testing.T) {
	l, e := goldenEntity(t)
	v1, v2 := feature.MakeVersion(1, 0, 1, 0), feature.MakeVersion(1, 0, 2, 0)
	head1, head2 := l.AppendHead(nil, e, v2, v1), l.AppendHead(nil, e, v2, v2)
	tail1, tail2 := l.AppendTail(nil, e, v1), l.AppendTail(nil, e, v2)
	var r feature.Reader
	out := make([]feature.Value, 9)
	for _, tc := range []struct {
		head, tail []byte
		torn       bool
	}{
		{head1, tail1, false},
		{head2, tail2, false},
		{head1, tail2, true},
		{head2, tail1, true},
		{head1, nil, true},
		{l.AppendHead(nil, e, v2, feature.Version{}), tail1, false}, // belongs to no tail: an old one is not looked at
	} {
		st, _, _, err := r.Read(l, tc.head, tc.tail, 62e6, allFeatures(l), out)
		if errors.Is(err, feature.ErrTornBlob) != tc.torn || (st == feature.Present) == tc.torn {
			t.Errorf("torn %v: %v, %v", tc.torn, st, err)
		}
		if tc.torn && !out[1].IsNull() {
			t.Errorf("a torn blob has value %v", out[1])
		}
	}
}

// sealed returns the content of a blob, as changed, with a checksum that matches.
func sealed(content []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(content), crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
}

// unsealed returns the content of a blob.
func unsealed(blob []byte) []byte { return bytes.Clone(blob[:len(blob)-4]) }

// goldenReader returns a function that reads the golden entity from blobs; it fails the test for a value beside an
// error.
func goldenReader(t *testing.T) func(head, tail []byte) error {
	l, _ := goldenEntity(t)
	var r feature.Reader
	out := make([]feature.Value, 9)
	return func(head, tail []byte) error {
		for i := range out {
			out[i] = feature.Int64Value(1)
		}
		_, _, _, err := r.Read(l, head, tail, 62e6, allFeatures(l), out)
		for i := range out {
			if err != nil && !out[i].IsNull() {
				t.Errorf("feature %d is %v beside %v", i, out[i], err)
			}
		}
		return err
	}
}

// TestReadRefuses: a cut or changed blob is an error, never numbers.
func TestReadRefuses(t *testing.T) {
	head, tail := mustHex(goldenHead), mustHex(goldenTail)
	read := goldenReader(t)
	if err := read(head, tail); err != nil {
		t.Fatal(err)
	}
	for i := range head {
		if read(head[:i:i], tail) == nil {
			t.Errorf("a head cut to %d bytes is read", i)
		}
	}
	for i := range tail {
		if read(head, tail[:i:i]) == nil {
			t.Errorf("a tail cut to %d bytes is read", i)
		}
	}
	if read(append(bytes.Clone(head), 0), tail) == nil || read(head, append(bytes.Clone(tail), 0)) == nil {
		t.Error("a blob with a byte too many is read")
	}
	for bit := range 8 {
		for i := range head {
			b := bytes.Clone(head)
			b[i] ^= 1 << bit
			if read(b, tail) == nil {
				t.Errorf("a head with bit %d of byte %d changed is read", bit, i)
			}
		}
		for i := range tail {
			b := bytes.Clone(tail)
			b[i] ^= 1 << bit
			if read(head, b) == nil {
				t.Errorf("a tail with bit %d of byte %d changed is read", bit, i)
			}
		}
	}
}

// TestReadRefusesStructure: a blob of a wrong structure is an error even where its checksum matches, and no content
// panics.
func TestReadRefusesStructure(t *testing.T) {
	goodHead, goodTail := mustHex(goldenHead), mustHex(goldenTail)
	head, tail := unsealed(goodHead), unsealed(goodTail)
	read := goldenReader(t)
	for i := range head {
		if read(sealed(head[:i]), goodTail) == nil {
			t.Errorf("a head cut to %d bytes is read", i)
		}
	}
	for i := range tail {
		if read(goodHead, sealed(tail[:i])) == nil {
			t.Errorf("a tail cut to %d bytes is read", i)
		}
	}
	if read(sealed(append(bytes.Clone(head), 0)), goodTail) == nil || read(goodHead, sealed(append(bytes.Clone(tail), 0))) == nil {
		t.Error("a blob with a byte too many is read")
	}
	for _, x := range []byte{0x01, 0x02, 0x80, 0xff} {
		for i := range head {
			b := bytes.Clone(head)
			b[i] ^= x
			_ = read(sealed(b), goodTail)
		}
		for i := range tail {
			b := bytes.Clone(tail)
			b[i] ^= x
			err := read(goodHead, sealed(b))
			if err == nil && (i == 0 || i >= 25 && i < 37) { // format; hop, width, number of tiles
				t.Errorf("a tail with byte %d changed is read", i)
			}
		}
	}
}

// TestOutOfRange: an int64 sum that does not fit reads as null and is counted; partial sums that do not are no matter.
func TestOutOfRange(t *testing.T) {
	l, err := feature.NewLayout(feature.LayoutSpec{Features: []feature.FeatureSpec{
		{Name: "sum", Agg: feature.AggregatorSpec{Name: "sum", In: feature.Int64}, Window: 60e6},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var r feature.Reader
	e, out := new(feature.Entity), make([]feature.Value, 1)
	for i, step := range []struct {
		x    int64
		want string
		out  int
	}{
		{math.MaxInt64, "9223372036854775807", 0},
		{1, "null", 1},
		{math.MaxInt64, "null", 1},
		{math.MinInt64, "9223372036854775807", 0},
		{math.MinInt64, "-1", 0},
	} {
		x := feature.Int64Value(step.x)
		l.Apply(e, &feature.Order{Time: int64(i) * 1e6}, []*feature.Value{&x}, 5e6)
		if st, _ := r.ReadEntity(l, e, 5e6, []int{0}, out); st != feature.Present || out[0].String() != step.want || r.OutOfRange() != step.out {
			t.Errorf("step %d: %v %v, %d out of range; want %s", i, st, out[0], r.OutOfRange(), step.want)
		}
	}
}

// TestRowFeatures: a row feature is that of the latest event by order, null included; an input that does not count is
// null.
func TestRowFeatures(t *testing.T) {
	l, err := feature.NewLayout(feature.LayoutSpec{Features: []feature.FeatureSpec{
		{Name: "a", Type: feature.Int64}, {Name: "b", Type: feature.String},
	}})
	if err != nil {
		t.Fatal(err)
	}
	one, two, null := feature.Int64Value(1), feature.Int64Value(2), feature.Value{}
	x, y := feature.StringValue("x"), feature.StringValue("y")
	var r feature.Reader
	e, out := new(feature.Entity), make([]feature.Value, 2)
	for i, step := range []struct {
		at   feature.Order
		a, b *feature.Value
		want string
	}{
		{feature.Order{Time: -5, Ordinal: 1}, &one, &x, `[1 "x"]`},
		{feature.Order{Time: -6, Ordinal: 1}, &two, &y, `[1 "x"]`},            // earlier
		{feature.Order{Time: -5, Ordinal: 0, Offset: 9}, &two, &y, `[1 "x"]`}, // of a lesser source
		{feature.Order{Time: -5, Ordinal: 1, Offset: 1}, &two, &y, `[2 "y"]`},
		{feature.Order{Time: 7}, &null, &x, `[null "x"]`},
		{feature.Order{Time: 8}, &one, nil, `[1 null]`},
	} {
		l.Apply(e, &step.at, []*feature.Value{step.a, step.b}, 1<<50) // row features take every event, however late
		if r.ReadEntity(l, e, 0, []int{0, 1}, out); valuesString(out) != step.want {
			t.Errorf("step %d: %s; want %s", i, valuesString(out), step.want)
		}
	}
}

// TestReadSome: features are asked for by index, in any order, with repetition.
func TestReadSome(t *testing.T) {
	l, e := goldenEntity(t)
	var r feature.Reader
	out := make([]feature.Value, 4)
	r.ReadEntity(l, e, 62e6, []int{6, 0, 6, 2}, out)
	if got := valuesString(out); got != `[42 "xxx" 42 "xxx"]` {
		t.Errorf("read %s", got)
	}
}
