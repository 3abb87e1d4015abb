// Package drift judges columns: it puts the profile of a reference beside a current one, asks monitors/distance how far
// apart they are and monitors/significance how surprising that is, and says what came of it, for columns that are
// constant, empty, of another type or too small to tell as well.
//
// Column judges one column; Family then decides over all columns of one evaluation together. Where profiles come
// from (files, streams), how verdicts become alerts and how they are shown is others' matter. There is no I/O, clock or
// goroutine in here.
package drift
