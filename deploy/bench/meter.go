package bench

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Rate is one measured pass over events.
type Rate struct {
	Events       int     `json:"events"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"events_per_second"`
	CPUSeconds   float64 `json:"cpu_seconds"`
	PerCPUSecond float64 `json:"events_per_cpu_second"`
	MaxRSSBytes  int64   `json:"max_rss_bytes"`
}

// meter measures wall time, this process's CPU time, and its greatest memory.
type meter struct {
	wall time.Time
	cpu  time.Duration
}

// startMeter starts measuring; the greatest memory is that from here on, where the system can tell.
func startMeter() meter {
	forgetPeak()
	return meter{time.Now(), cpuTime()}
}

func (m meter) rate(n int) Rate {
	wall, cpu := time.Since(m.wall).Seconds(), (cpuTime() - m.cpu).Seconds()
	return Rate{
		Events: n, Seconds: wall, PerSecond: float64(n) / wall, CPUSeconds: cpu, PerCPUSecond: float64(n) / cpu, MaxRSSBytes: maxRSS(),
	}
}

// plus returns both passes as one.
func (r Rate) plus(o Rate) Rate {
	sum := Rate{Events: r.Events + o.Events, Seconds: r.Seconds + o.Seconds, CPUSeconds: r.CPUSeconds + o.CPUSeconds, MaxRSSBytes: max(r.MaxRSSBytes, o.MaxRSSBytes)}
	sum.PerSecond, sum.PerCPUSecond = float64(sum.Events)/sum.Seconds, float64(sum.Events)/sum.CPUSeconds
	return sum
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak makes Linux forget the process's greatest memory so far; elsewhere maxRSS is that of the whole process.
func forgetPeak() {
	if f, err := os.OpenFile("/proc/self/clear_refs", os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString("5")
		_ = f.Close()
	}
}

// releaseMemory gives back what earlier work of this process no longer uses, so that it is not measured.
func releaseMemory() { debug.FreeOSMemory() }

// maxRSS is the greatest resident memory since forgetPeak.
func maxRSS() int64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		if kib, ok := statusKiB(string(status), "VmHWM"); ok {
			return kib << 10
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return int64(u.Maxrss) * 1024
}

// statusKiB returns one amount of Linux's /proc/<pid>/status.
func statusKiB(status, name string) (int64, bool) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// Load is the machine's load averages over 1, 5 and 15 minutes, as Linux tells them: figures mean little without.
func Load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}
