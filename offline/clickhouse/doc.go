// Package clickhouse keeps the offline tables in ClickHouse: it creates and migrates them, inserts ranges of rows by the
// native protocol or HTTP, each once however often it is sent, and scans them for replays.
//
// A table NAME of package offline is a storage table NAME_rows, a table NAME_ranges of what that has whole, and a view NAME.
// The storage table may hold a row twice for a while after a retry; the view, which people read, never shows one twice.
//
//	ident.go    names and parameters in SQL
//	conn.go     connections; native.go and http.go carry one query each
//	column.go   values in the columns of a block
//	ddl.go      what a table should look like, as statements
//	migrate.go  what is missing in the database
//	write.go    a range of rows into the storage table
//	ranges.go   which ranges the table has whole
//	scan.go     rows out of it
//
// What is read from Kafka, and when, is the business of package sink.
package clickhouse
