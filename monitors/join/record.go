package join

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/wire"
)

// Order says which of several events of an id comes last.
type Order struct {
	At        int64 // event time, microseconds UTC
	Partition int32 // of the record
	Offset    int64
}

// before reports whether an event comes before another.
func (o Order) before(p Order) bool {
	switch {
	case o.At != p.At:
		return o.At < p.At
	case o.Partition != p.Partition:
		return o.Partition < p.Partition
	}
	return o.Offset < p.Offset
}

// Inference is what is kept of an inference until its label comes.
type Inference struct {
	Order
	Prediction feature.Value
	Slices     []string // as monitors/watch names them
}

// Label is what turned out to be true.
type Label struct {
	Order
	Value feature.Value
}

// Progress is how far a profiler has got with a model's inferences and labels.
type Progress struct {
	Clock int64 // the profiler's, microseconds UTC
	Of    [2]Watermarks
}

// The places in Progress.Of.
const (
	Inferences = iota
	Labels
)

// Watermarks are those of the partitions of a topic that a profiler reads.
type Watermarks struct {
	Total int32 // partitions of the topic, whoever reads them
	Marks []Watermark
}

// Watermark is the largest event time seen in a partition; watch.Unknown if none.
type Watermark struct {
	Partition int32
	At        int64
}

// Record is a record of the joins topic: one of the three.
type Record struct {
	Inference *Inference
	Label     *Label
	Progress  *Progress
}

// recordVersion is the first byte of an encoded Record, its kind the second. The rest of an inference or a label: its event
// time (varint), partition (uvarint), offset (uvarint), value, and of an inference the number of slices and each one's
// length and bytes. A value is a byte for its type, and then a byte, a varint, eight bytes (little-endian), or a length and
// bytes. Of progress: the clock (varint), and for inferences and labels the number of partitions (uvarint) and the number of
// marks, each a partition (uvarint) and a watermark (varint).
const recordVersion = 1

const (
	kindInference = 'i'
	kindLabel     = 'l'
	kindProgress  = 'p'
)

// AppendBinary appends the record's encoding.
func (rec Record) AppendBinary(dst []byte) []byte {
	dst = append(dst, recordVersion)
	switch {
	case rec.Inference != nil:
		return appendInference(append(dst, kindInference), rec.Inference)
	case rec.Label != nil:
		return appendLabel(append(dst, kindLabel), rec.Label)
	}
	dst = binary.AppendVarint(append(dst, kindProgress), rec.Progress.Clock)
	for _, w := range rec.Progress.Of {
		dst = binary.AppendUvarint(dst, uint64(w.Total))
		dst = binary.AppendUvarint(dst, uint64(len(w.Marks)))
		for _, m := range w.Marks {
			dst = binary.AppendVarint(binary.AppendUvarint(dst, uint64(m.Partition)), m.At)
		}
	}
	return dst
}

// maxPartitions bounds what a record can make a reader believe of a topic.
const maxPartitions = 100_000

// Decode reads what AppendBinary wrote, all of data. Text is copied.
func Decode(data []byte) (Record, error) {
	r := wire.NewReader(data)
	version, kind := r.Byte(), r.Byte()
	var rec Record
	switch {
	case version != recordVersion:
		return rec, fmt.Errorf("decode a record to join: version %d is not known", version)
	case kind == kindInference:
		rec.Inference = readInference(r)
	case kind == kindLabel:
		rec.Label = readLabel(r)
	case kind == kindProgress:
		p := &Progress{Clock: r.Varint()}
		for i := range p.Of {
			p.Of[i].Total = int32(min(r.Uvarint(), maxPartitions))
			for range r.Count() {
				p.Of[i].Marks = append(p.Of[i].Marks, Watermark{int32(min(r.Uvarint(), maxPartitions)), r.Varint()})
			}
		}
		rec.Progress = p
	default:
		return rec, fmt.Errorf("decode a record to join: kind %d is not known", kind)
	}
	if err := r.End(); err != nil {
		return Record{}, fmt.Errorf("decode a record to join: %w", err)
	}
	return rec, nil
}

func appendOrder(dst []byte, o Order) []byte {
	dst = binary.AppendUvarint(binary.AppendVarint(dst, o.At), uint64(o.Partition))
	return binary.AppendUvarint(dst, uint64(o.Offset))
}

func readOrder(r *wire.Reader) Order {
	return Order{r.Varint(), int32(min(r.Uvarint(), maxPartitions)), int64(min(r.Uvarint(), math.MaxInt64))}
}

func appendInference(dst []byte, in *Inference) []byte {
	dst = appendValue(appendOrder(dst, in.Order), &in.Prediction)
	dst = binary.AppendUvarint(dst, uint64(len(in.Slices)))
	for _, s := range in.Slices {
		dst = wire.AppendBytes(dst, s)
	}
	return dst
}

func readInference(r *wire.Reader) *Inference {
	in := &Inference{Order: readOrder(r), Prediction: readValue(r)}
	for range r.Count() {
		in.Slices = append(in.Slices, r.Text())
	}
	return in
}

func appendLabel(dst []byte, l *Label) []byte {
	return appendValue(appendOrder(dst, l.Order), &l.Value)
}

func readLabel(r *wire.Reader) *Label { return &Label{readOrder(r), readValue(r)} }

func appendValue(dst []byte, v *feature.Value) []byte {
	dst = append(dst, byte(v.Type()))
	switch v.Type() {
	case feature.Bool:
		return append(dst, byte(v.Num()))
	case feature.Int64:
		return binary.AppendVarint(dst, v.Int64())
	case feature.Float64:
		return binary.LittleEndian.AppendUint64(dst, v.Num())
	case feature.String:
		return wire.AppendBytes(dst, v.Str())
	}
	dst[len(dst)-1] = byte(feature.Null)
	return dst
}

func readValue(r *wire.Reader) feature.Value {
	switch feature.Type(r.Byte()) {
	case feature.Bool:
		return feature.BoolValue(r.Byte() == 1)
	case feature.Int64:
		return feature.Int64Value(r.Varint())
	case feature.Float64:
		if b := r.Take(8); b != nil {
			return feature.Float64Value(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	case feature.String:
		return feature.StringValue(r.Text())
	}
	return feature.Value{}
}
