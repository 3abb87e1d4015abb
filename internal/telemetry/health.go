package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Check tells why something is not ready, or nil.
type Check func(ctx context.Context) error

// checkWithin bounds a check, so that a probe gets an answer while a dependency hangs.
const checkWithin = 2 * time.Second

// Health holds the named checks of a process. The zero value has none and is ready.
type Health struct {
	mu struct {
		sync.RWMutex
		checks []namedCheck // by name
	}
}

type namedCheck struct {
	name  string
	check Check
}

// Set adds a check, or puts another in the place of the one with its name.
func (h *Health) Set(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, found := slices.BinarySearchFunc(h.mu.checks, name, func(c namedCheck, name string) int { return strings.Compare(c.name, name) })
	if found {
		h.mu.checks[i].check = check
		return
	}
	h.mu.checks = slices.Insert(h.mu.checks, i, namedCheck{name, check})
}

// Report is what /readyz answers.
type Report struct {
	Ready  bool          `json:"ready"`
	Checks []CheckResult `json:"checks"`
}

// CheckResult is one check's outcome.
type CheckResult struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// Report runs every check at once. One that takes too long is not ready.
func (h *Health) Report(ctx context.Context) Report {
	h.mu.RLock()
	checks := slices.Clone(h.mu.checks)
	h.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	results := make([]CheckResult, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i] = result(ctx, c) })
	}
	wg.Wait()
	notReady := slices.ContainsFunc(results, func(r CheckResult) bool { return !r.Ready })
	return Report{Ready: !notReady, Checks: results}
}

// result waits for the check no longer than ctx lasts, even if the check does not heed it.
func result(ctx context.Context, c namedCheck) CheckResult {
	answer := make(chan error, 1)
	go func() { answer <- c.check(ctx) }()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = fmt.Errorf("no answer within %s", checkWithin)
	}
	if err != nil {
		return CheckResult{Name: c.name, Reason: err.Error()}
	}
	return CheckResult{Name: c.name, Ready: true}
}

// ServeHTTP answers a readiness probe: 200, or 503 with the reasons.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report := h.Report(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !report.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(report) // the prober may have left
}
