// Package bench measures Freshet's paths on real services, each beside the bare ceiling of the same work in the same
// run. It is what `freshet bench` runs; nothing here is used otherwise, and nothing here fails on a timing.
package bench
