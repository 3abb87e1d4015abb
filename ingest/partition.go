package ingest

import "encoding/binary"

// Partition returns the partition of n in which Kafka's Java client, franz-go and the gateway put a record with this
// key: murmur2 without its sign bit, modulo n. librdkafka's default is another (CRC32).
func Partition(recordKey []byte, n int32) int32 {
	return int32(murmur2(recordKey)&0x7fffffff) % n
}

// murmur2 is Austin Appleby's MurmurHash2 for 32 bits, with the seed that Kafka chose.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	if len(b) > 0 {
		var tail uint32
		for i := len(b) - 1; i >= 0; i-- {
			tail = tail<<8 | uint32(b[i])
		}
		h = (h ^ tail) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
