package offline

// Query says which rows of a table a scan reads, and which of their columns.
type Query struct {
	Columns []int // of Table.Columns, in the order of the batch's values; none: rows of Meta alone

	// From and To bound the event time, microseconds: From <= event time < To. Both 0: all of it.
	From, To int64

	// Below keeps, of the rows that come from the table's own topic, only those below this offset of their partition, and
	// none of a partition that it does not name. Backfilled rows have no such bound. nil: all rows.
	Below map[int32]int64

	Parallel int // readers at a time, at most; 0 is 1
}

// Bounded reports whether the query bounds the event time.
func (q *Query) Bounded() bool { return q.From != 0 || q.To != 0 }
