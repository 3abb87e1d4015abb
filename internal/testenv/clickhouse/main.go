// Command clickhouse is a ClickHouse server for tests: the real engine, as the library libchdb.so, behind the native
// protocol and the HTTP interface.
//
//	clickhouse -lib libchdb.so -data DIR -native 127.0.0.1:9000 -http 127.0.0.1:8123
//
// It has what the tests of Freshet use, and no more: no TLS, no users, no asynchronous inserts, no replication. It is a
// module of its own, so that nothing of it is among what Freshet depends on.
//
//	engine.go     calls of the library: a session runs a statement
//	statement.go  statements as both interfaces take them: settings, cancellation, where an INSERT's rows are
//	block.go      blocks of columns, which the engine writes in an older form than clients speak
//	native.go     the native protocol
//	http.go       the HTTP interface
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	libPath := flag.String("lib", "libchdb.so", "file of the engine")
	data := flag.String("data", "", "folder of the tables")
	native := flag.String("native", "127.0.0.1:9000", "address of the native protocol")
	httpAddr := flag.String("http", "127.0.0.1:8123", "address of the HTTP interface")
	flag.Parse()
	if err := run(*libPath, *data, *native, *httpAddr); err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse:", err)
		os.Exit(1)
	}
}

// run serves until a signal asks it to stop, then lets statements that run end.
func run(libPath, data, native, httpAddr string) error {
	if data == "" {
		return errors.New("-data names no folder")
	}
	sv, err := newServer(libPath, data)
	if err != nil {
		return err
	}
	nativeLn, err := net.Listen("tcp", native)
	if err != nil {
		return err
	}
	httpLn, err := net.Listen("tcp", httpAddr)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(httpLn, sv) }() // ends with its listener
	go func() {
		for {
			c, err := nativeLn.Accept()
			if err != nil {
				return
			}
			go sv.serveNative(c)
		}
	}()
	fmt.Println("ready", nativeLn.Addr(), httpLn.Addr(), sv.version)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
	_ = nativeLn.Close()
	_ = httpLn.Close()
	idle := make(chan struct{})
	go func() {
		sv.busy.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(10 * time.Second):
	}
	sv.root.close()
	return os.RemoveAll(sv.spool)
}

func newServer(libPath, data string) (*server, error) {
	path, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	sv := &server{data: path, spool: filepath.Join(path, "spool")}
	if err := os.RemoveAll(sv.spool); err != nil { // a killed process left some
		return nil, err
	}
	if err := os.MkdirAll(sv.spool, 0o755); err != nil {
		return nil, err
	}
	if sv.lib, err = load(libPath); err != nil {
		return nil, err
	}
	restore := keepSignals()
	sv.root, err = sv.lib.open(path)
	restore()
	if err != nil {
		return nil, err
	}
	about, err := sv.root.text("SELECT version(), timezone()", "TSVRaw")
	if err != nil {
		return nil, err
	}
	version, zone, _ := strings.Cut(strings.TrimSpace(about), "\t")
	sv.zone = zone
	_, err = fmt.Sscanf(version, "%d.%d.%d", &sv.version[0], &sv.version[1], &sv.version[2])
	return sv, err
}
