//go:build race

package cli

const demoFlights = 20_000 // all of them take minutes under the race detector
