package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/serving"
)

// ServerOptions are what ServeLookups needs.
type ServerOptions struct {
	Plane    string // file of the definition
	Redis    string // URL
	Embedded bool   // Redis is embedded in another process
	Logger   *slog.Logger
	Stdin    io.Reader // the server ends when it ends
	Stdout   io.Writer // gets the addresses
}

// lookupServer is a server in a process of its own, so that what it uses can be told from what its clients use.
type lookupServer struct {
	HTTP string `json:"http"`
	GRPC string `json:"grpc"`
	Bare string `json:"bare"` // of the bareServer

	cmd    *exec.Cmd
	stdin  io.Closer
	client *http.Client
}

// startServer starts command as a server and waits for its addresses.
func startServer(ctx context.Context, command []string, plane string, store *redisServer, stderr io.Writer) (*lookupServer, error) {
	if len(command) == 0 {
		return nil, errors.New("no command that serves lookups")
	}
	args := append(command[1:len(command):len(command)], "--plane", plane, "--redis", store.url, "--embedded="+strconv.FormatBool(store.embedded))
	s := &lookupServer{cmd: exec.CommandContext(ctx, command[0], args...), client: &http.Client{Timeout: 10 * time.Second}}
	s.cmd.Stderr = stderr
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, s)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not tell its addresses: %w", err), s.stop())
	}
	return s, nil
}

// stop ends the server.
func (s *lookupServer) stop() error {
	s.client.CloseIdleConnections()
	_ = s.stdin.Close() // the server may have ended by itself
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	return nil
}

// cpu is the CPU time that the server has used.
func (s *lookupServer) cpu(ctx context.Context) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+cpuPath, nil)
	if err != nil {
		return 0, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	nanos, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the server's CPU time: %w", err)
	}
	return time.Duration(nanos), nil
}

// cpuPath answers with the nanoseconds of CPU time that the process has used.
const cpuPath = "/cpu"

// ServeLookups serves a definition's lookups over HTTP and gRPC, and a bareServer, on free ports until Stdin ends.
func ServeLookups(ctx context.Context, o ServerOptions) error {
	plane, err := config.Load(o.Plane)
	if err != nil {
		return err
	}
	rdb, err := online.Open(ctx, config.Redis{URL: config.Secret(o.Redis)}, online.Options{Logger: o.Logger, Embedded: o.Embedded})
	if err != nil {
		return err
	}
	defer rdb.Close()
	lookups, err := serving.New(plane, rdb, serving.Options{Logger: o.Logger, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	var lns [3]net.Listener
	for i := range lns {
		if lns[i], err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		defer lns[i].Close()
	}
	addrs := lookupServer{HTTP: lns[0].Addr().String(), GRPC: lns[1].Addr().String(), Bare: lns[2].Addr().String()}
	least, err := newBareServer(plane, rdb, time.Now, "http://"+addrs.HTTP+lookupPath)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: handlerWithCPU(lookups), ReadHeaderTimeout: 10 * time.Second}
	bare := &http.Server{Handler: least, ReadHeaderTimeout: 10 * time.Second}
	rpc := grpc.NewServer(lookups.ServerOptions()...)
	lookups.Register(rpc)
	failed := make(chan error, len(lns))
	go func() { failed <- web.Serve(serving.OneWrite(web, lns[0])) }()
	go func() { failed <- rpc.Serve(lns[1]) }()
	go func() { failed <- bare.Serve(serving.OneWrite(bare, lns[2])) }()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, o.Stdin)
		ended <- err
	}()
	if err = json.NewEncoder(o.Stdout).Encode(&addrs); err == nil {
		select {
		case err = <-ended:
		case err = <-failed:
		case <-ctx.Done():
		}
	}
	rpc.Stop()
	return errors.Join(err, web.Close(), bare.Close())
}

// handlerWithCPU answers lookups, and at cpuPath what the process has used.
func handlerWithCPU(lookups *serving.Lookups) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", lookups.Handler())
	mux.HandleFunc("GET "+cpuPath, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strconv.FormatInt(cpuTime().Nanoseconds(), 10))
	})
	return mux
}
