package cli

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// freeAddress returns addr if nothing listens there, else the same host with port 0, which is one that is free. It is for the embedded
// Kafka of `demo` and `dev`: what matters is that the plane starts and says where.
func freeAddress(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usageError(fmt.Errorf("--kafka: %q is not host:port", addr))
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.JoinHostPort(host, "0"), nil
	}
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", addr, err)
	}
	return addr, l.Close()
}
