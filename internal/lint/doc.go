// Package lint holds the project's own rules about its source: which package may import which, what is banned and
// what to use instead, how large a file may be. They run as a test over the whole tree. What general linters know is
// left to them.
package lint
