package testenv

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// AlertmanagerServer is an Alertmanager of a test's own that tells a webhook at once of what begins and of what is over.
type AlertmanagerServer struct {
	addr    string
	process *process
}

// alertmanagerNames are Debian's name of the command and upstream's.
var alertmanagerNames = []string{"prometheus-alertmanager", "alertmanager"}

// StartAlertmanager starts one for this test alone, as a local process. It posts notifications to the URL.
func StartAlertmanager(t testing.TB, notify string) *AlertmanagerServer {
	t.Helper()
	s, err := launchAlertmanager(startContext(t), t.TempDir(), notify)
	need(t, "Alertmanager", "PATH", err)
	t.Cleanup(s.stop)
	return s
}

// URL is the server's address.
func (s *AlertmanagerServer) URL() string { return "http://" + s.addr }

func (s *AlertmanagerServer) stop() { s.process.end(syscall.SIGKILL) }

func launchAlertmanager(ctx context.Context, dir, notify string) (*AlertmanagerServer, error) {
	command, err := firstPath(alertmanagerNames)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "alertmanager.yml")
	text := fmt.Sprintf("route: {receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s}\n"+
		"receivers: [{name: test, webhook_configs: [{url: %q, send_resolved: true}]}]\n", notify)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s, err := tryAlertmanager(ctx, command, dir, conf)
		if err == nil || try == 3 || ctx.Err() != nil {
			return s, err
		}
	}
}

func tryAlertmanager(ctx context.Context, command, dir, conf string) (*AlertmanagerServer, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s := &AlertmanagerServer{addr: loopback(ports[0])}
	s.process, err = start(dir, command, "--config.file="+conf, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+s.addr, "--cluster.listen-address=")
	if err != nil {
		return nil, err
	}
	if err := s.process.awaitReady(ctx, s.ready); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *AlertmanagerServer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/-/ready", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// firstPath finds the first of several commands.
func firstPath(names []string) (path string, err error) {
	for _, name := range names {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s: %w", names[0], err)
}
