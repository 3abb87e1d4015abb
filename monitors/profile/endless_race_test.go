//go:build race

package profile_test

const endless = 200_000 // more take half a minute under the race detector
