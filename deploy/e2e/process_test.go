package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-io/freshet/internal/testenv"
)

// plane is a definition on services, of which processes are started.
type plane struct {
	t              *testing.T
	prefix         string // of what is the plane's own in Kafka
	topic          string // of its one source
	file           string
	text           string   // of the definition
	brokers, redis string   // as the processes reach them
	direct         string   // as the tests reach Kafka
	kafka          string   // further fields of the connection to Kafka
	redisURL       string   // of a Redis that is more than one server; empty: redis is its address
	env            []string // further variables of the processes' environment, as NAME=value
	processing     string   // further lines of the section
	stores         string   // the offline stores, as further lines of the section connections
	dir            string   // of the instances' state
}

// newPlane writes a definition, whose text has %[1]s for the project and %[2]s for the topic, and creates the topic.
func newPlane(t *testing.T, text, brokers, direct, redis string, partitions int32) *plane {
	t.Helper()
	unique := testenv.Prefix(t)
	p := &plane{
		t: t, prefix: "freshet." + strings.TrimSuffix(unique, "-") + ".", topic: unique + "events", brokers: brokers, direct: direct, redis: redis,
		dir: t.TempDir(),
	}
	p.define(fmt.Sprintf(text, strings.TrimSuffix(unique, "-"), p.topic))
	p.createTopic(partitions)
	return p
}

// define replaces the definition for the processes that are started from now on.
func (p *plane) define(text string) {
	p.t.Helper()
	p.text, p.file = text, filepath.Join(p.t.TempDir(), "plane.yaml")
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// connections is the file of one instance.
func (p *plane) connections(instance string) string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "connections.yaml")
	text := fmt.Sprintf(`connections:
  kafka: {brokers: [%q], session_timeout: 3s%s}
  redis: {url: %q}
%slisten: {http: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
processing: {instance_id: %q, state_dir: %q%s}
`, p.brokers, p.kafka, cmp.Or(p.redisURL, "redis://"+p.redis), p.stores, instance, p.stateDir(instance), p.processing)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

func (p *plane) stateDir(instance string) string { return filepath.Join(p.dir, instance) }

// cli runs a command and returns what it printed on standard output; it must end with status 0.
func (p *plane) cli(args ...string) []byte {
	p.t.Helper()
	file, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	var out, log bytes.Buffer
	cmd := exec.CommandContext(p.t.Context(), file, args...)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("freshet %s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), log.Bytes())
	}
	return out.Bytes()
}

// instance is one process.
type instance struct {
	p      *plane
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; read it after exited
	ready  chan struct{}

	mu          sync.Mutex
	http, admin string
	log         []string // the last lines
}

// run starts a process, with further flags, and waits until it has opened its listeners.
func (p *plane) run(name string, flags ...string) *instance {
	p.t.Helper()
	in := p.launch(name, flags...)
	in.awaitStart()
	return in
}

// runCommand is the command of a process.
func (p *plane) runCommand(name string, flags ...string) *exec.Cmd {
	p.t.Helper()
	file, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	args := append([]string{"run", "--log-format", "json", "--connections", p.connections(name), p.file}, flags...)
	cmd := exec.Command(file, args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir = p.t.TempDir()
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// launch starts a process, with further flags.
func (p *plane) launch(name string, flags ...string) *instance {
	p.t.Helper()
	in := &instance{p: p, name: name, exited: make(chan struct{}), ready: make(chan struct{})}
	in.cmd = p.runCommand(name, flags...)
	log, err := in.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	started := make(chan error)
	go func() { // the system ends the process with the thread that started it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := in.cmd.Start()
		started <- err
		if err == nil {
			in.read(log)
			in.err = in.cmd.Wait()
			close(in.exited)
		}
	}()
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(in.end)
	return in
}

// read takes the addresses from the log and keeps its end.
func (in *instance) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Level, Msg, HTTP, Admin string
		}
		_ = json.Unmarshal(lines.Bytes(), &l) // what is no JSON is kept as it is
		in.mu.Lock()
		if in.log = append(in.log, lines.Text()); len(in.log) > 60 {
			in.log = in.log[1:]
		}
		if l.Msg == "started" && l.Admin != "" {
			in.http, in.admin = "http://"+l.HTTP, "http://"+l.Admin // the former is no address where there is no such listener
			close(in.ready)
		}
		in.mu.Unlock()
	}
}

func (in *instance) awaitStart() {
	in.p.t.Helper()
	select {
	case <-in.ready:
	case <-in.exited:
		in.p.t.Fatalf("%s ended before it had started: %v\n%s", in.name, in.err, in.tail())
	case <-time.After(patience):
		in.p.t.Fatalf("%s has not started:\n%s", in.name, in.tail())
	}
}

func (in *instance) tail() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return strings.Join(in.log, "\n")
}

// fails runs a process that must end by itself with a status, and returns what it logged.
func fails(t *testing.T, cmd *exec.Cmd, status int) (log string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var how *exec.ExitError
	if err == nil || !errors.As(err, &how) || how.ExitCode() != status {
		t.Errorf("it ends with %v, want exit code %d:\n%s", err, status, out)
	}
	if bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("it panics:\n%s", out)
	}
	return string(out)
}

// kill ends the process as a crash does.
func (in *instance) kill() {
	_ = in.cmd.Process.Kill()
	<-in.exited
}

// stop ends the process as a deployment does; it must end well.
func (in *instance) stop() {
	in.p.t.Helper()
	if err := in.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		in.p.t.Fatalf("%s has ended: %v\n%s", in.name, err, in.tail())
	}
	select {
	case <-in.exited:
	case <-time.After(patience):
		in.p.t.Fatalf("%s does not stop:\n%s", in.name, in.tail())
	}
	if in.err != nil {
		in.p.t.Fatalf("%s stopped with %v:\n%s", in.name, in.err, in.tail())
	}
}

// end is the cleanup: a test that failed shows what the process last said.
func (in *instance) end() {
	select {
	case <-in.exited:
		var how *exec.ExitError
		if errors.As(in.err, &how) && how.ProcessState.Sys().(syscall.WaitStatus).Signaled() || in.err == nil {
			return // as the test wanted
		}
		in.p.t.Errorf("%s ended by itself: %v\n%s", in.name, in.err, in.tail())
		return
	default:
	}
	if in.p.t.Failed() {
		in.p.t.Logf("%s: %v\n%s\nwhere its processors are:\n%s", in.name, in.caughtUp(), in.tail(), in.stacks())
	}
	in.kill()
}

// stacks returns the goroutines of the process that are in the stream runtime.
func (in *instance) stacks() string {
	_, body, err := get(in.admin + "/debug/pprof/goroutine?debug=2")
	if err != nil {
		return err.Error()
	}
	var found []string
	for _, g := range strings.Split(string(body), "\n\n") {
		if strings.Contains(g, "freshet/processors.") {
			found = append(found, g)
		}
	}
	return strings.Join(found, "\n\n")
}

var httpClient = &http.Client{Timeout: 20 * time.Second}

func get(url string) (status int, body []byte, err error) {
	resp, err := httpClient.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// caughtUp is nil when the process says that it is.
func (in *instance) caughtUp() error {
	status, body, err := get(in.admin + "/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("not ready: %s", bytes.Join(bytes.Fields(body), []byte(" ")))
	}
	return err
}

// metric returns the sum of the metric's series that have all the labels, each given as name="value".
func (in *instance) metric(name string, labels ...string) (float64, error) {
	_, body, err := get(in.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
series:
	for line := range strings.Lines(string(body)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if own, _, _ := strings.Cut(series, "{"); own != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue series
			}
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += x
	}
	return sum, nil
}
