//go:build !race

package profile_test

// endless is how many different categories are taken for as many as anyone has.
const endless = 10_000_000
