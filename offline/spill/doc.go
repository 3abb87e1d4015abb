// Package spill sorts more records than memory holds. Records are bytes and their order is that of their bytes; whoever
// uses it writes keys that sort so at their beginnings. It knows nothing of what records mean.
//
// Records are added to buckets and read back bucket by bucket, each sorted. In memory a bucket is a list of pages; beyond
// the sorter's budget the pages go to a temporary file. A bucket that is itself larger than its share of the budget is
// sorted in runs, which are merged as they are read, in several rounds if there are many. So neither the number of records
// nor one key that has nearly all of them needs memory.
//
// # The temporary file
//
// One file a sorter, made when it is first needed. It has no name any more once it is open, so nothing is left of it even
// by a crash; where the system cannot remove an open file it is removed on Close. It is chunks, one after the other:
//
//	0   u32  length n of the body, little-endian
//	4   u32  CRC-32C of the body
//	8   n    the body: records, each a uvarint length and its bytes
//
// Where a bucket's chunks are is known in memory alone: the file means nothing to another process. A record never spans
// chunks. A chunk whose checksum differs is an error, never data.
package spill
