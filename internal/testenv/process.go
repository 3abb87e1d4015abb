package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a server of the tests in a process group and a folder of its own. A watcher, a shell that holds the read
// end of a pipe from this program, kills the group and removes the folder when this program ends without stopping it:
// a test binary that panics or is killed leaves nothing behind.
type process struct {
	dir      string
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the server has ended
	watcher  *exec.Cmd
	lifeline io.WriteCloser // the watcher acts when this closes without a word
}

// start runs argv in dir with its output in dir/log.
func start(dir string, argv ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{dir: dir, exited: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.watch(); err != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
		return nil, fmt.Errorf("watch %s: %w", argv[0], err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is told by its log
		close(p.exited)
	}()
	return p, nil
}

func (p *process) watch() error {
	p.watcher = exec.Command("/bin/sh", "-c", `read word || { kill -KILL -"$1"; rm -rf "$2"; }`, "watcher", strconv.Itoa(p.cmd.Process.Pid), p.dir)
	p.watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal must not end it first
	var err error
	if p.lifeline, err = p.watcher.StdinPipe(); err != nil {
		return err
	}
	return p.watcher.Start()
}

// end signals the server's group, waits until it is gone, and dismisses the watcher. The folder stays.
func (p *process) end(sig syscall.Signal) {
	select {
	case <-p.exited: // its id may belong to another process by now
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
		select {
		case <-p.exited:
		case <-time.After(20 * time.Second):
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.exited
		}
	}
	if p.lifeline != nil {
		_, _ = io.WriteString(p.lifeline, "done\n")
		_ = p.lifeline.Close()
		_ = p.watcher.Wait()
		p.lifeline = nil
	}
}

// awaitReady calls ready until it succeeds, the server ends, or ctx does.
func (p *process) awaitReady(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended at once:\n%s", p.cmd.Args[0], p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log ends with:\n%s", p.cmd.Args[0], errors.Join(ctx.Err(), err), p.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *process) logTail() []byte {
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(log[max(0, len(log)-2000):])
}

// freePorts returns ports of 127.0.0.1 that were free a moment ago. Another process may take one before it is used:
// callers try again with others when a server ends at once.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // all stay open until all are chosen
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func lookPaths(names ...string) error {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	return nil
}
