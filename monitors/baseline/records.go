package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Record is one record of the topic of baselines. A baseline is split into parts, because Kafka bounds records: the key
// is NAME/PART, the value a version byte, the build (8 bytes, big-endian), the number of parts (2 bytes) and the part's
// bytes. A deleted baseline has parts without values. The topic is compacted, so parts of several builds may be there;
// a build counts once all of its parts are.
type Record struct {
	Key, Value []byte
}

const (
	recordVersion = 1
	recordHeader  = 1 + 8 + 2
	partBytes     = 512 << 10
	maxParts      = 128
)

// Records splits a baseline into records, which are produced in this order, in one partition.
func Records(b *Baseline) ([]Record, error) {
	data := b.AppendBinary(nil)
	n := (len(data) + partBytes - 1) / partBytes
	if n > maxParts {
		return nil, fmt.Errorf("baseline %s has %d MiB, and may have %d: watch fewer columns or slices", b.Name, len(data)>>20, maxParts*partBytes>>20)
	}
	var out []Record
	for i := range n {
		v := append(make([]byte, 0, recordHeader+partBytes), recordVersion)
		v = binary.BigEndian.AppendUint64(v, uint64(b.Build))
		v = binary.BigEndian.AppendUint16(v, uint16(n))
		v = append(v, data[i*partBytes:min(len(data), (i+1)*partBytes)]...)
		out = append(out, Record{Key: partKey(b.Name, i), Value: v})
	}
	return out, nil
}

// Deletion returns the records that delete a baseline.
func Deletion(name string) []Record {
	var out []Record
	for i := range maxParts {
		out = append(out, Record{Key: partKey(name, i)})
	}
	return out
}

func partKey(name string, part int) []byte { return []byte(name + "/" + strconv.Itoa(part)) }

// Collection puts records together to baselines. The zero Collection is empty and ready; it is used by one goroutine.
type Collection struct {
	parts map[string]map[int]part
	known map[string]*Baseline
}

type part struct {
	build int64
	of    int
	data  []byte
}

// Add takes one record, in the topic's order. It returns the name of the baseline that the record completed or deleted,
// else "". An error is of this record, which is left out.
func (c *Collection) Add(key, value []byte) (changed string, err error) {
	name, num, ok := strings.Cut(string(key), "/")
	i, convErr := strconv.Atoi(num)
	if !ok || convErr != nil || i < 0 || i >= maxParts {
		return "", fmt.Errorf("baseline record: the key %q is not NAME/PART", key)
	}
	if c.parts == nil {
		c.parts, c.known = map[string]map[int]part{}, map[string]*Baseline{}
	}
	if value == nil {
		delete(c.parts[name], i)
		if _, had := c.known[name]; had && i == 0 {
			delete(c.known, name)
			return name, nil
		}
		return "", nil
	}
	if len(value) < recordHeader || value[0] != recordVersion {
		return "", fmt.Errorf("baseline record %q: it is no part of a baseline that this version knows", key)
	}
	p := part{build: int64(binary.BigEndian.Uint64(value[1:])), of: int(binary.BigEndian.Uint16(value[9:])), data: value[recordHeader:]}
	if c.parts[name] == nil {
		c.parts[name] = map[int]part{}
	}
	c.parts[name][i] = p
	data, ok := whole(c.parts[name], p)
	if !ok {
		return "", nil
	}
	b, err := Decode(data)
	if err == nil && (b.Name != name || b.Build != p.build) {
		err = errors.New("its name or build is another than its records'")
	}
	if err != nil {
		return "", fmt.Errorf("baseline %s: %w", name, err)
	}
	c.known[name] = b
	return name, nil
}

// whole joins the parts of the build that p belongs to.
func whole(parts map[int]part, p part) ([]byte, bool) {
	var data []byte
	for i := range p.of {
		q, ok := parts[i]
		if !ok || q.build != p.build || q.of != p.of {
			return nil, false
		}
		data = append(data, q.data...)
	}
	return data, p.of > 0
}

// Get returns a baseline; nil if there is none of that name.
func (c *Collection) Get(name string) *Baseline { return c.known[name] }

// All returns every baseline by name.
func (c *Collection) All() map[string]*Baseline { return c.known }
