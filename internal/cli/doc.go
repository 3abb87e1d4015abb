// Package cli is the command line: one file a subcommand, the flags they share, their exit codes and how they print. A
// command reads its arguments, calls the packages that know the subject, and prints; what it prints for programs
// (--output json) is as stable as its flags. Nothing here decides how features, topics or stores work.
package cli
