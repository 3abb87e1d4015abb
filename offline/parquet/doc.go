// Package parquet keeps offline tables as Parquet files, on local disk or in a bucket, laid out so that DuckDB, Polars,
// Spark, ClickHouse and BigQuery read them as they are:
//
//	<root>/<table>/dt=2026-01-31/<topic>-<partition>-<first>-<last>.parquet   rows of one range of offsets, of one day
//	<root>/<table>/dt=2026-01-31/merged-<sequence>-<random>.parquet           rows of files that it replaced
//	<root>/<table>/_empty/<topic>-<partition>-<first>-<last>                  a range whose records have no row
//	<root>/<table>/_topic/<topic>                                             the id of the topic whose offsets these are
//	<root>/<table>/_manifest/<sequence>.json                                  what is merged, what is replaced
//	<root>/<table>/_retired/dt=…/…                                            replaced files, until their grace is over
//	<root>/<table>/_tmp/…                                                     being written; never read
//
// It writes ranges (Store.Write), says where a partition goes on (Store.Resume), reads tables (Store.Scan), merges small
// files (Store.Compact) and removes an entity (Store.Forget). It knows nothing of Kafka, of SQL or of what rows mean.
//
// # Why each record is there once
//
//   - P1 A file appears under its name whole, or not at all: it is written elsewhere, synced and renamed, or put as one
//     object. Names in _tmp are never read.
//   - P2 A range is complete when each of its days has its file. Every file of it lists all the days of the range in its
//     footer; a range without rows is one mark in _empty. Readers read complete ranges only.
//   - P3 A partition's ranges are written in order, each after the one before it is complete. So only the newest can be
//     written in part, and its bounds are in the name of any of its files: Resume returns it as pending, and who goes on
//     writes exactly it, replacing files by equal ones.
//   - P4 The files are the truth of what is stored, whatever a consumer group has committed: next is the end of the last
//     complete range.
//   - P5 An offset is read from one file. Where ranges of a partition overlap, because a writer went on after it had lost
//     the partition, they count in the order of their beginnings (what is replaced counts first), and a later one is
//     read only for the offsets that none before it has. Rows are a function of their offset, so it does not matter whose
//     are read. An incomplete range that another overlaps is never read.
//   - P6 A file is replaced by the manifest alone. The manifest with the highest sequence counts and is never removed;
//     sequences are taken by exclusive creation, and one that a higher one has passed meanwhile does not count, so that of two
//     who replace files at once one fails. A merged file is read if that manifest
//     names it, and a file of a range unless that manifest names it as replaced. The switch is the appearance of one
//     object.
//   - P7 A reader loads the manifest, lists the files twice, and loads the manifest again; if it has changed it begins anew.
//     Of the second listing it takes the ranges that the first one had a name of: those but the newest were complete
//     before it (P3), so it has all their names, though a listing is no snapshot.
//   - P8 A replaced file is moved to _retired at once and deleted after a grace period. A reader that chose it before
//     finds it there; after that it gets an error, never other rows. Erasure deletes at once.
//   - P9 A merged file that no manifest names was made against a sequence in its name. Once the manifest is past that
//     sequence nobody can name it any more, and it is deleted.
package parquet
