// Package expr compiles and evaluates the expressions of a definition: what an event must satisfy (`where`), what a
// feature aggregates (`of`), and features derived from others. The language is CEL with the null rules of feature data.
//
//   - Every variable is nullable. An operator or a function of a null is null, except `== null` and `!= null`, which are
//     true or false; `&&` and `||` are decided by one side where it decides (false && null is false, true || null is
//     true); a condition that is null chooses neither branch and gives null.
//   - int64 and float64 compare and mix: the int64 becomes a float64.
//   - int64 overflow, division of an int64 by zero, an index outside a list, a bad conversion are evaluation errors. An
//     error decides nothing by itself: it is null, and reported beside the value. Floats follow IEEE 754.
//
// A checked expression is lowered to closures over typed slots, which allocate nothing, wherever its operators allow;
// the rest, down to single branches of an expression, is run by cel-go in the same dialect. A property test holds both
// equal.
//
// What lives here knows no definition files and no events: a variable is a name, a type and its place in a row.
package expr
