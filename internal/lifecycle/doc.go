// Package lifecycle is the one form in which the parts of a process start and stop. A part is a function that runs
// until its context ends; a Group starts parts in order, each when the one before it is ready, and stops them in
// reverse. What the parts do is theirs.
package lifecycle
