package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// freeAddress returns addr if nothing listens there, else the same host with a free port. It is for `demo` and `dev`,
// where what matters is that the plane starts and says where; a port could still be taken between this and its use,
// and then starting fails with its name.
func freeAddress(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usageError(fmt.Errorf("%q is not host:port", addr))
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", fmt.Errorf("find a free port on %s: %w", host, err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
