//go:build !race

package cli

const demoFlights = 0 // all
