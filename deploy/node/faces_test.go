package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/deploy/embedded"
	"github.com/freshet-io/freshet/internal/testenv"
	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
)

// startServing starts a process that answers lookups over an empty Redis.
func startServing(t *testing.T, listen func(*config.Listen)) running {
	t.Helper()
	plane := parse(t)
	r, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	plane.Connections.Redis = &config.Redis{URL: config.Secret(r.URL())}
	listen(&plane.Listen)
	return start(t, Options{Plane: plane, Roles: Serve, EmbeddedRedis: true})
}

// info asks over gRPC for the version.
func info(t *testing.T, addr string, creds credentials.TransportCredentials, header metadata.MD) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		return err
	}
	answer, err := servingpb.NewServingServiceClient(conn).GetFeastServingInfo(metadata.NewOutgoingContext(t.Context(), header), &servingpb.GetFeastServingInfoRequest{})
	if err == nil && answer.GetVersion() != "test" {
		t.Errorf("the version is %q", answer.GetVersion())
	}
	return err
}

// TestListenersSpeakTLSAndKnowTheirClients asks both faces with a certificate of the right authority, with none, and
// without TLS.
func TestListenersSpeakTLSAndKnowTheirClients(t *testing.T) {
	certs := testenv.NewCerts(t)
	authority, err := os.ReadFile(certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	pair, err := tls.LoadX509KeyPair(certs.ClientCert, certs.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	anonymous, known := &tls.Config{RootCAs: pool}, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	web := func(scheme, addr string, c *tls.Config) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
		resp, err := client.Get(scheme + "://" + addr + "/health")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET /health answers %s", resp.Status)
		}
		return nil
	}
	for _, c := range []struct {
		name                     string
		clientCA                 string
		plain, anonymous, client bool // is answered
	}{
		{"TLS", "", false, true, true},
		{"client certificates", certs.CA, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startServing(t, func(l *config.Listen) {
				l.TLS = &config.TLS{Cert: certs.ServerCert, Key: certs.ServerKey, ClientCA: c.clientCA}
			})
			want := func(what string, err error, answered bool) {
				t.Helper()
				if (err == nil) != answered {
					t.Errorf("%s: %v; answered: want %v", what, err, answered)
				}
			}
			want("HTTP without TLS", web("http", p.at.HTTP, nil), c.plain)
			want("HTTP without a certificate", web("https", p.at.HTTP, anonymous), c.anonymous)
			want("HTTP with a certificate", web("https", p.at.HTTP, known), c.client)
			want("gRPC without TLS", info(t, p.at.GRPC, insecure.NewCredentials(), nil), c.plain)
			want("gRPC without a certificate", info(t, p.at.GRPC, credentials.NewTLS(anonymous), nil), c.anonymous)
			want("gRPC with a certificate", info(t, p.at.GRPC, credentials.NewTLS(known), nil), c.client)
		})
	}
}

// TestCallsOverGRPCNeedATokenToo is TestTokensGuardBothFacesOfHTTP for the other listener.
func TestCallsOverGRPCNeedATokenToo(t *testing.T) {
	file := t.TempDir() + "/tokens"
	if err := os.WriteFile(file, []byte("model 0123456789abcdef-model services=restock\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServing(t, func(l *config.Listen) { l.TokensFile = file })
	for token, want := range map[string]codes.Code{"": codes.Unauthenticated, "0123456789abcdef-other": codes.Unauthenticated, "0123456789abcdef-model": codes.OK} {
		if got := status.Code(info(t, p.at.GRPC, insecure.NewCredentials(), metadata.Pairs("authorization", "Bearer "+token))); got != want {
			t.Errorf("token %q: %s, want %s", token, got, want)
		}
	}
}

// TestBothFacesAreTraced has requests of two traces answered and finds their spans at a collector, and none of probes.
func TestBothFacesAreTraced(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, body...)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	p := startServing(t, func(*config.Listen) {})
	const web, call, span = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.at.HTTP+"/get-online-features", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("traceparent", "00-"+web+"-"+span+"-01")
	for _, r := range []*http.Request{req, httptest.NewRequest(http.MethodGet, "http://"+p.at.HTTP+"/health", nil)} {
		r.RequestURI = ""
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if err := info(t, p.at.GRPC, insecure.NewCredentials(), metadata.Pairs("traceparent", "00-"+call+"-"+span+"-01")); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err != nil { // sends what was traced
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for trace, name := range map[string]string{web: "POST /get-online-features", call: "feast.serving.ServingService/GetFeastServingInfo"} {
		id, err := hex.DecodeString(trace)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(got, id) || !bytes.Contains(got, []byte(name)) {
			t.Errorf("the collector has no span %q of the trace %s: %q", name, trace, got)
		}
	}
	for _, probe := range []string{"/health", "grpc.health"} {
		if bytes.Contains(got, []byte(probe)) {
			t.Errorf("the collector got a span of the probe %s", probe)
		}
	}
}
