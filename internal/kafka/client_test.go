package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/internal/testenv"
)

const password = "correct horse battery staple"

func newCluster(t *testing.T, opts ...kfake.Opt) config.Kafka {
	t.Helper()
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return config.Kafka{Brokers: cluster.ListenAddrs()}
}

func newClient(t *testing.T, c config.Kafka) *kgo.Client {
	t.Helper()
	opts, err := kafka.Options(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// reach waits within a time that a failure which is tried again uses up.
func reach(t *testing.T, c config.Kafka, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return kafka.WaitReachable(ctx, newClient(t, c), c.Brokers, slog.New(slog.DiscardHandler))
}

func TestSASL(t *testing.T) {
	c := newCluster(t, kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "ann", password),
		kfake.Superuser("SCRAM-SHA-256", "ann", password),
		kfake.Superuser("SCRAM-SHA-512", "ann", password))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			c := c
			c.SASL = &config.SASL{Mechanism: mechanism, Username: "ann", Password: password}
			if err := reach(t, c, 20*time.Second); err != nil {
				t.Errorf("right password: %v", err)
			}
			c.SASL = &config.SASL{Mechanism: mechanism, Username: "ann", Password: "not the password"}
			err := reach(t, c, 3*time.Second)
			if err == nil {
				t.Fatal("wrong password was accepted")
			}
			if strings.Contains(err.Error(), "not the password") {
				t.Errorf("error shows the password: %v", err)
			}
			if !strings.Contains(err.Error(), "sasl") {
				t.Errorf("error does not point at sasl: %v", err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if err := reach(t, c, time.Second); err == nil {
			t.Error("a client without sasl was accepted")
		}
	})
}

func serverTLS(t *testing.T, certs testenv.Certs) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certs.ServerCert, certs.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func TestTLS(t *testing.T) {
	certs := testenv.NewCerts(t)
	c := newCluster(t, kfake.NumBrokers(1), kfake.TLS(serverTLS(t, certs)))
	for _, tc := range []struct {
		name string
		tls  *config.TLS
		want string // part of the error; empty: reachable
	}{
		{"mutual", &config.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}, ""},
		{"no client certificate", &config.TLS{CA: certs.CA}, "client certificate"},
		{"unknown authority", &config.TLS{Cert: certs.ClientCert, Key: certs.ClientKey}, "tls.ca"},
		{"other name", &config.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey, ServerName: "kafka.example"}, "tls.ca"},
		{"plain client", nil, "tls"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := c
			c.TLS = tc.tls
			err := reach(t, c, 20*time.Second)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that speaks of %q", err, tc.want)
			}
		})
	}
	t.Run("plain listener", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte("\x00\x00\x00\x0aI do not do that"))
				_ = conn.Close()
			}
		}()
		c := config.Kafka{Brokers: []string{ln.Addr().String()}, TLS: &config.TLS{CA: certs.CA}}
		if err := reach(t, c, 20*time.Second); err == nil || !strings.Contains(err.Error(), "does not speak tls") {
			t.Errorf("got %v, want an error that says the listener does not speak tls", err)
		}
	})
}

// TestRefusedCredentialsAreFinal holds that what trying again cannot mend is not tried again.
func TestRefusedCredentialsAreFinal(t *testing.T) {
	for _, cause := range []error{kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism} {
		p := &failingPinger{failures: 3, err: fmt.Errorf("sasl: %w", cause)}
		err := kafka.WaitReachable(t.Context(), p, []string{"a:9092"}, slog.New(slog.DiscardHandler))
		if !errors.Is(err, cause) || p.calls != 1 {
			t.Errorf("after %d pings: %v; want %v after one", p.calls, err, cause)
		}
	}
}

func TestOptionsRefuses(t *testing.T) {
	brokers := []string{"127.0.0.1:9092"}
	for _, tc := range []struct {
		name, want string
		c          config.Kafka
	}{
		{"no brokers", "no brokers", config.Kafka{}},
		{"unknown mechanism", `"OAUTHBEARER"`, config.Kafka{Brokers: brokers, SASL: &config.SASL{Mechanism: "OAUTHBEARER", Username: "ann", Password: password}}},
		{"no password", "needs a username and a password", config.Kafka{Brokers: brokers, SASL: &config.SASL{Mechanism: "PLAIN", Username: "ann"}}},
		{"no such ca", "missing.pem", config.Kafka{Brokers: brokers, TLS: &config.TLS{CA: "missing.pem"}}},
		{"cert without key", "tls cert and key", config.Kafka{Brokers: brokers, TLS: &config.TLS{Cert: "missing.pem"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := kafka.Options(tc.c, "test")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), password) {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}

func TestWaitReachableNamesTheBroker(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	c := config.Kafka{Brokers: []string{addr}}
	var logged bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	err = kafka.WaitReachable(ctx, newClient(t, c), c.Brokers, slog.New(slog.NewTextHandler(&logged, nil)))
	var unreachable *kafka.Unreachable
	if !errors.As(err, &unreachable) {
		t.Fatalf("got %v, want an *Unreachable", err)
	}
	if got := err.Error(); !strings.HasPrefix(got, "no Kafka at "+addr+": ") || !strings.HasSuffix(got, "; is it running?") {
		t.Errorf("error reads %q", got)
	}
	if n := strings.Count(logged.String(), "waiting for Kafka"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, logged.String())
	}
}

// TestAPortOfAnotherServiceIsTold: one that takes connections and waits for requests that it understands, and one that answers.
func TestAPortOfAnotherServiceIsTold(t *testing.T) {
	for name, answer := range map[string]string{"silent": "", "HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, answer)
				}
			}()
			c := config.Kafka{Brokers: []string{ln.Addr().String()}}
			opts, err := kafka.Options(c, "test")
			if err != nil {
				t.Fatal(err)
			}
			cl, err := kgo.NewClient(append(opts, kafka.Probing())...)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var logged bytes.Buffer
			logger := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) { // the first warning ends the wait
				defer cancel()
				return logged.Write(b)
			}), nil))
			err = kafka.WaitReachable(ctx, cl, c.Brokers, logger)
			if !strings.Contains(fmt.Sprint(err), "is it Kafka's") {
				t.Errorf("error %v", err)
			}
			if final := logged.Len() == 0; final != (answer != "") || !final && !strings.Contains(logged.String(), "is it Kafka's") {
				t.Errorf("it goes on waiting: %v, and says %q", !final, logged.String())
			}
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// failingPinger fails its first calls.
type failingPinger struct {
	failures, calls int
	err             error
}

func (p *failingPinger) Ping(context.Context) error {
	if p.calls++; p.calls <= p.failures {
		return p.err
	}
	return nil
}

// hangingPinger fails once and then hangs until the wait is over.
type hangingPinger struct{ failingPinger }

func (p *hangingPinger) Ping(ctx context.Context) error {
	if err := p.failingPinger.Ping(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestWaitReachableTellsTheCause holds that the end of the wait does not hide why it was long.
func TestWaitReachableTellsTheCause(t *testing.T) {
	cause := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	p := &hangingPinger{failingPinger{failures: 1, err: cause}}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := kafka.WaitReachable(ctx, p, []string{"a:9092"}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, cause) || p.calls != 2 {
		t.Errorf("after %d pings: %v; want %v", p.calls, err, cause)
	}
}

func TestWaitReachableTriesAgain(t *testing.T) {
	p := &failingPinger{failures: 2, err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}
	if err := kafka.WaitReachable(t.Context(), p, []string{"a:9092"}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if p.calls != 3 {
		t.Errorf("%d pings, want 3", p.calls)
	}
}

func TestLoggerLevels(t *testing.T) {
	for _, tc := range []struct {
		level slog.Level
		want  kgo.LogLevel
	}{
		{slog.LevelDebug, kgo.LogLevelInfo},
		{slog.LevelInfo, kgo.LogLevelWarn},
		{slog.LevelError, kgo.LogLevelError},
		{slog.LevelError + 4, kgo.LogLevelNone},
	} {
		var out bytes.Buffer
		l := kafka.Logger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tc.level})))
		if got := l.Level(); got != tc.want {
			t.Errorf("at %s: client level %s, want %s", tc.level, got, tc.want)
		}
		l.Log(kgo.LogLevelInfo, "metadata updated", "topic", "a")
		if shown := strings.Contains(out.String(), "metadata updated"); shown != (tc.level == slog.LevelDebug) {
			t.Errorf("at %s: client information shown: %v", tc.level, shown)
		}
	}
}

// A dead member's partitions are another's after the definition's timeout, and a living one hears of rebalances soon.
func TestGroupOptions(t *testing.T) {
	for given, want := range map[time.Duration][2]time.Duration{
		0: {10 * time.Second, 2 * time.Second}, 3 * time.Second: {3 * time.Second, 600 * time.Millisecond}, 10 * time.Minute: {10 * time.Minute, 2 * time.Second},
	} {
		opts, err := kafka.Options(config.Kafka{Brokers: []string{"localhost:9092"}, SessionTimeout: given}, "test")
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(slices.Concat(kafka.GroupOptions(0), opts, []kgo.Opt{kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t")})...)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]any{cl.OptValue(kgo.SessionTimeout), cl.OptValue(kgo.HeartbeatInterval)}; got != [2]any{want[0], want[1]} {
			t.Errorf("%s: timeout and heartbeat %v, want %v", given, got, want)
		}
		cl.Close()
	}
}
