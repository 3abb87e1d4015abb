package files_test

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/columns"
	"github.com/freshet-io/freshet/monitors/files"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDrift compares 1 M x 25 values of a Parquet file with 100 k x 25: values of the current file a second of one
// core, everything included, beside the bare decoding of the same files in the same run, and the most memory that Go had
// from the system. In a run with -short the files are a tenth.
func BenchmarkDrift(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n /= 10
	}
	paths := []string{wideFile(b, n/10, 1), wideFile(b, n, 2)}
	var opened []columns.File
	for _, p := range paths {
		f, err := columns.Open(p, columns.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		opened = append(opened, f)
	}
	values := float64(n * len(opened[1].Columns()))
	o := options()
	runtime.GC()
	var decode, whole time.Duration
	for b.Loop() {
		start := cpu(b)
		for _, f := range opened {
			var wants []columns.Want
			for i, c := range f.Columns() {
				wants = append(wants, columns.Want{Column: i, Type: c.Type, Sink: bare{}})
			}
			if err := f.Read(b.Context(), wants, nil); err != nil {
				b.Fatal(err)
			}
		}
		middle := cpu(b)
		if _, err := files.Compare(b.Context(), opened[0], opened[1], o, nil); err != nil {
			b.Fatal(err)
		}
		decode, whole = decode+middle-start, whole+cpu(b)-middle
	}
	b.ReportMetric(values*float64(b.N)/whole.Seconds()/1e6, "Mvalues/cpu-s")
	b.ReportMetric(float64(whole)/float64(decode), "x-decode")
	b.ReportMetric(peakMB(b), "peak-MB")
}

// peakMB is the most memory that the process was resident with.
func peakMB(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // elsewhere than on Linux
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	var kb float64
	for _, c := range strings.TrimSpace(rest) {
		if c < '0' || c > '9' {
			break
		}
		kb = 10*kb + float64(c-'0')
	}
	return kb / 1e3
}
