package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// diagnose tells what to look at after a failed connection, and whether trying again is useless.
func diagnose(err error) (hint string, final bool) {
	var (
		firstEOF *kgo.ErrFirstReadEOF
		cert     *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		op       *net.OpError
	)
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "are the sasl username and password right?", true
	case errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "does the listener accept this sasl mechanism?", true
	case errors.As(err, &cert):
		return "does tls.ca name the authority that signed the broker's certificate, for this host name?", true
	case errors.As(err, &record):
		return "the listener does not speak tls; remove tls or name its tls port", true
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls names an alert from the other side
		return "the broker refused the tls handshake; does it ask for a client certificate (tls.cert, tls.key)?", true
	case strings.Contains(err.Error(), " response size "): // the client's errors of what cannot be a length have no type
		return "what answers is not Kafka; is it Kafka's port, and does it need tls?", true
	case errors.As(err, &firstEOF):
		return "the broker closed the connection at the first request; does the listener need tls or sasl?", true
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the broker closes the connection; is it starting, or are the sasl username and password wrong?", false
	case errors.As(err, &op) && op.Op == "read" && op.Timeout():
		return "the port accepts connections and does not answer; is it Kafka's, and are both sides with tls or both without?", false
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		return "is it running, does a firewall let this host through, and are both sides with tls or both without?", false
	default:
		return "is it running?", false
	}
}
