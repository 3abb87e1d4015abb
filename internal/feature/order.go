package feature

import "encoding/binary"

// Order is the place of an event among all events of its entity: (event time, source ordinal, source partition,
// source offset) of the original record, compared in that order. No two events of an entity share an Order. A live
// record has its source's ordinal, at least 1; a backfilled row has ordinal 0 and its file and row.
type Order struct {
	Time      int64 // event time, microseconds
	Ordinal   uint8
	Partition int32
	Offset    int64
}

// orderWidth is the length of an encoded Order.
const orderWidth = 8 + 1 + 4 + 8

// Compare returns -1, 0 or 1.
func (o *Order) Compare(p *Order) int {
	if c := cmpInt(o.Time, p.Time); c != 0 {
		return c
	}
	if c := cmpInt(int64(o.Ordinal), int64(p.Ordinal)); c != 0 {
		return c
	}
	if c := cmpInt(int64(o.Partition), int64(p.Partition)); c != 0 {
		return c
	}
	return cmpInt(o.Offset, p.Offset)
}

// put writes o into the first orderWidth bytes of b, big-endian with the sign bits flipped, so that encoded orders
// compare bytewise as the orders do.
func (o *Order) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(o.Time)^1<<63)
	b[8] = o.Ordinal
	binary.BigEndian.PutUint32(b[9:], uint32(o.Partition)^1<<31)
	binary.BigEndian.PutUint64(b[13:], uint64(o.Offset)^1<<63)
}

// orderAt is the inverse of put.
func orderAt(b []byte) Order {
	return Order{
		Time:      int64(binary.BigEndian.Uint64(b) ^ 1<<63),
		Ordinal:   b[8],
		Partition: int32(binary.BigEndian.Uint32(b[9:]) ^ 1<<31),
		Offset:    int64(binary.BigEndian.Uint64(b[13:]) ^ 1<<63),
	}
}
