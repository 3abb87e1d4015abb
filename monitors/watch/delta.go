package watch

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/freshet-io/freshet/monitors/wire"
)

// Unknown is the watermark of a partition of which no inference has been seen.
const Unknown = math.MinInt64

// Delta is what a profiler has counted between two commits, or, without panes, that time has passed; or what others have
// found out, as checks, or how new the events of sources are.
type Delta struct {
	Clock    int64  // the profiler's clock, microseconds UTC
	Total    int32  // how many partitions the inference topic has, whoever reads them
	Marks    []Mark // of the partitions that the profiler reads
	Pane     int64  // length of the panes, microseconds
	Baseline string // on whose bins the panes are counted; "": they only say how many inferences without a baseline came
	Build    int64
	Panes    []PaneDelta
	// Strays are inferences of versions that have no baseline, by version.
	Strays  []Stray
	Checks  []Check
	Sources []SourceDelta // whose freshness is watched
	Joined  *Joined       // what a joiner has brought about; nil in a profiler's
}

// Joined is what joining labels with inferences has changed, between two commits, of the ids of one partition.
type Joined struct {
	Partition, Total int32 // of the ids, whoever joins them
	Time             int64 // up to where inferences and labels have been joined, microseconds UTC; Unknown if not known
	Build            int64 // of the definition under which cases are counted: quality.Definition.Build
	Panes            []JoinedPane
}

// JoinedPane is by how much the sums of one slice of one pane have changed.
type JoinedPane struct {
	Start int64
	Slice string // "" for all rows
	Sums  []byte // encoded quality.Sums
}

// Mark is how far a partition of the inference topic has got.
type Mark struct {
	Partition int32
	Watermark int64 // the largest event time seen, microseconds UTC; Unknown if none
}

// PaneDelta is what was added to one slice of one pane.
type PaneDelta struct {
	Start   int64  // of the pane, microseconds UTC
	Slice   string // "" for all rows
	Rows    uint64
	Columns [][]byte // an encoded profile for each column of the baseline; empty for a column that the model does not log
}

// Stray is how many inferences of a version could not be counted.
type Stray struct {
	Version string
	Rows    uint64
}

// maxPartitions bounds what a record can make a reader believe of a topic.
const maxPartitions = 100_000

// deltaVersion is the first byte of an encoded Delta that has sources, 3 of one that has joined panes and no sources, 2 of one
// that has checks alone, 1 of one that has none of them, so that earlier readers read all that they can know of. The rest: clock
// (varint), total (uvarint), the number of marks and for each its partition (uvarint) and watermark (varint), pane (varint), baseline
// (a uvarint length and its bytes), build (varint), the number of panes and for each its start (varint), slice, rows (uvarint) and
// columns (their number, and the length and bytes of each), the number of strays and for each its version and rows; from version 2
// on the number of checks and for each the length and bytes of its JSON; in version 3, and in version 4 after a byte 1 (0: nothing
// was joined), the partition and total of the ids (uvarints), time and build (varints), and the number of joined panes, each its
// start (varint), slice, and the length and bytes of its sums; in version 4 the number of sources and for each its name, partitions
// (uvarint), the number of marks and for each its partition (uvarint), newest time and whole time (varints), and the number of
// slices and for each its name and newest time (varint).
const deltaVersion = 4

// AppendBinary appends the delta's encoding. An error is one of its checks.
func (d *Delta) AppendBinary(dst []byte) ([]byte, error) {
	version := byte(1)
	switch {
	case len(d.Sources) > 0:
		version = deltaVersion
	case d.Joined != nil:
		version = 3
	case len(d.Checks) > 0:
		version = 2
	}
	dst = binary.AppendVarint(append(dst, version), d.Clock)
	dst = binary.AppendUvarint(dst, uint64(d.Total))
	dst = binary.AppendUvarint(dst, uint64(len(d.Marks)))
	for _, m := range d.Marks {
		dst = binary.AppendUvarint(dst, uint64(m.Partition))
		dst = binary.AppendVarint(dst, m.Watermark)
	}
	dst = wire.AppendBytes(binary.AppendVarint(dst, d.Pane), d.Baseline)
	dst = binary.AppendVarint(dst, d.Build)
	dst = binary.AppendUvarint(dst, uint64(len(d.Panes)))
	for i := range d.Panes {
		p := &d.Panes[i]
		dst = binary.AppendVarint(dst, p.Start)
		dst = wire.AppendBytes(dst, p.Slice)
		dst = appendColumns(dst, p.Rows, p.Columns)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Strays)))
	for _, s := range d.Strays {
		dst = binary.AppendUvarint(wire.AppendBytes(dst, s.Version), s.Rows)
	}
	if version == 1 {
		return dst, nil
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Checks)))
	for i := range d.Checks {
		text, err := d.Checks[i].encode()
		if err != nil {
			return nil, err
		}
		dst = wire.AppendBytes(dst, text)
	}
	if version == 2 {
		return dst, nil
	}
	if version == 3 {
		return d.Joined.append(dst), nil
	}
	if d.Joined == nil {
		dst = append(dst, 0)
	} else {
		dst = d.Joined.append(append(dst, 1))
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Sources)))
	for i := range d.Sources {
		dst = d.Sources[i].append(dst)
	}
	return dst, nil
}

func (j *Joined) append(dst []byte) []byte {
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(j.Partition)), uint64(j.Total))
	dst = binary.AppendVarint(binary.AppendVarint(dst, j.Time), j.Build)
	dst = binary.AppendUvarint(dst, uint64(len(j.Panes)))
	for _, p := range j.Panes {
		dst = wire.AppendBytes(wire.AppendBytes(binary.AppendVarint(dst, p.Start), p.Slice), p.Sums)
	}
	return dst
}

func readJoined(r *wire.Reader) *Joined {
	j := &Joined{Partition: int32(min(r.Uvarint(), maxPartitions)), Total: int32(min(r.Uvarint(), maxPartitions)), Time: r.Varint(), Build: r.Varint()}
	for range r.Count() {
		j.Panes = append(j.Panes, JoinedPane{Start: r.Varint(), Slice: r.Text(), Sums: r.Bytes()})
	}
	return j
}

// appendColumns appends the rows and profiles of a pane.
func appendColumns(dst []byte, rows uint64, columns [][]byte) []byte {
	dst = binary.AppendUvarint(dst, rows)
	dst = binary.AppendUvarint(dst, uint64(len(columns)))
	for _, c := range columns {
		dst = wire.AppendBytes(dst, c)
	}
	return dst
}

// DecodeDelta reads what AppendBinary wrote, all of data. Profiles alias data and are not looked into.
func DecodeDelta(data []byte) (*Delta, error) {
	r := wire.NewReader(data)
	version := r.Byte()
	if len(data) > 0 && (version < 1 || version > deltaVersion) {
		return nil, fmt.Errorf("decode a profile record: version %d is not known", version)
	}
	d := &Delta{Clock: r.Varint(), Total: int32(min(r.Uvarint(), maxPartitions))}
	for range r.Count() {
		d.Marks = append(d.Marks, Mark{Partition: int32(min(r.Uvarint(), maxPartitions)), Watermark: r.Varint()})
	}
	d.Pane, d.Baseline, d.Build = r.Varint(), r.Text(), r.Varint()
	for range r.Count() {
		p := PaneDelta{Start: r.Varint(), Slice: r.Text()}
		p.Rows, p.Columns = readColumns(r)
		d.Panes = append(d.Panes, p)
	}
	for range r.Count() {
		d.Strays = append(d.Strays, Stray{Version: r.Text(), Rows: r.Uvarint()})
	}
	var texts [][]byte
	if version > 1 {
		for range r.Count() {
			texts = append(texts, r.Bytes())
		}
	}
	if version > 2 {
		if version == 3 || r.Byte() == 1 {
			d.Joined = readJoined(r)
		}
	}
	if version > 3 {
		for range r.Count() {
			d.Sources = append(d.Sources, readSource(r))
		}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("decode a profile record: %w", err)
	}
	for _, text := range texts {
		c, err := decodeCheck(text)
		if err != nil {
			return nil, fmt.Errorf("decode a profile record: %w", err)
		}
		d.Checks = append(d.Checks, c)
	}
	return d, nil
}

// readColumns reads what appendColumns appends.
func readColumns(r *wire.Reader) (rows uint64, columns [][]byte) {
	rows = r.Uvarint()
	for range r.Count() {
		columns = append(columns, r.Bytes())
	}
	return rows, columns
}
