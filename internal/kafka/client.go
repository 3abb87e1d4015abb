package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/security"
)

// A broker that is down refuses at once; one that is gone answers nothing, and then the next should be tried soon.
const dialTimeout = 5 * time.Second

// Options returns the client options that a connection's definition asks for: seeds, TLS, SASL, client id, timeouts.
// Callers add theirs after these. No error names a password.
func Options(c config.Kafka, clientID string) ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka: no brokers are named")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(clientID),
		kgo.DialTimeout(dialTimeout),
		kgo.ConnIdleTimeout(9 * time.Minute), // under the brokers' connections.max.idle.ms of 10
	}
	if c.SessionTimeout > 0 { // of clients that are in a group
		opts = append(opts, GroupOptions(c.SessionTimeout)...)
	}
	if c.TLS != nil {
		t, err := security.ClientTLS(*c.TLS)
		if err != nil {
			return nil, fmt.Errorf("kafka: %w", err)
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if c.SASL != nil {
		m, err := mechanism(*c.SASL)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// GroupOptions returns the options of a group's members: after sessionTimeout the partitions of a dead one are another's; 0 is
// the default, 10 s. They stand before those of Options, which say otherwise where a definition does.
func GroupOptions(sessionTimeout time.Duration) []kgo.Opt {
	// A member hears of a rebalance with a heartbeat only, and has to within the rebalance timeout.
	const defaultTimeout, slowestHeartbeat = 10 * time.Second, 2 * time.Second
	sessionTimeout = cmp.Or(sessionTimeout, defaultTimeout)
	return []kgo.Opt{kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(min(sessionTimeout/5, slowestHeartbeat))}
}

func mechanism(s config.SASL) (sasl.Mechanism, error) {
	if s.Username == "" || s.Password == "" {
		return nil, fmt.Errorf("kafka: sasl %s needs a username and a password", s.Mechanism)
	}
	scramAuth := scram.Auth{User: s.Username, Pass: string(s.Password)}
	switch s.Mechanism {
	case "PLAIN":
		return plain.Auth{User: s.Username, Pass: string(s.Password)}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scramAuth.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scramAuth.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("kafka: unknown sasl mechanism %q; known are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", s.Mechanism)
	}
}

// Logger passes a client's messages to l, one level quieter than the client names them below a warning: what a client
// calls information is of use only when looking for a fault.
func Logger(l *slog.Logger) kgo.Logger { return clientLogger{l} }

type clientLogger struct{ l *slog.Logger }

func (c clientLogger) Level() kgo.LogLevel {
	switch ctx := context.Background(); {
	case c.l.Enabled(ctx, slog.LevelDebug):
		return kgo.LogLevelInfo
	case c.l.Enabled(ctx, slog.LevelWarn):
		return kgo.LogLevelWarn
	case c.l.Enabled(ctx, slog.LevelError):
		return kgo.LogLevelError
	default:
		return kgo.LogLevelNone
	}
}

func (c clientLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelError
	case kgo.LogLevelWarn:
		to = slog.LevelWarn
	}
	c.l.Log(context.Background(), to, "kafka client: "+msg, keyvals...)
}

// Unreachable says which brokers did not answer, and why.
type Unreachable struct {
	Brokers []string
	Err     error
	Hint    string // what to look at
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("no Kafka at %s: %v; %s", strings.Join(e.Brokers, ", "), e.Err, e.Hint)
}

func (e *Unreachable) Unwrap() error { return e.Err }

// Pinger is the part of a client that WaitReachable uses.
type Pinger interface {
	Ping(ctx context.Context) error
}

// WaitReachable returns when a broker answers and accepts the client's credentials. Until then it tries again, with one
// warning, and gives up when ctx ends, or at once on what trying again cannot mend: a refused password, a certificate
// that does not verify, TLS on one side only. The error is an *Unreachable.
func WaitReachable(ctx context.Context, cl Pinger, brokers []string, logger *slog.Logger) error {
	var cause error // of the last try that was not cut short by ctx: that one tells nothing
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := ping(ctx, cl)
		if err == nil {
			return nil
		}
		first := cause == nil
		if first || ctx.Err() == nil {
			cause = err
		}
		hint, final := diagnose(cause)
		if final || ctx.Err() != nil {
			return &Unreachable{Brokers: brokers, Err: cause, Hint: hint}
		}
		if first {
			logger.Warn("waiting for Kafka", "brokers", brokers, "error", err, "hint", hint)
		}
		select {
		case <-ctx.Done():
			return &Unreachable{Brokers: brokers, Err: cause, Hint: hint}
		case <-time.After(wait):
		}
	}
}

// Probing is an option of clients that only ask whether Kafka is there. The client gives up waiting for an answer before its ping is over:
// else a port that is not Kafka's, which accepts connections and answers nothing, looks like one that cannot be connected to.
func Probing() kgo.Opt { return kgo.RequestTimeoutOverhead(dialTimeout * 4 / 5) } // it tries twice

// ping bounds one try, so that a broker which accepts connections and says nothing does not use up the whole wait
// without a word in the log.
func ping(ctx context.Context, cl Pinger) error {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	return cl.Ping(ctx)
}
