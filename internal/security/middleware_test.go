package security_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/freshet-io/freshet/internal/security"
)

// whoami answers the name of the request's principal.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if p := security.PrincipalFrom(r.Context()); p != nil {
		_, _ = io.WriteString(w, p.Name)
	}
})

func TestMiddleware(t *testing.T) {
	tokens := loadTokens(t, tokensText)
	for _, tc := range []struct {
		name         string
		tokens       *security.Tokens
		path, header string
		code         int
		body         string
	}{
		{"known", tokens, "/x", "Bearer " + shopToken, 200, "shop"},
		{"unknown", tokens, "/x", "Bearer 0000000000000000", 401, "the bearer token is not known"},
		{"none", tokens, "/x", "", 401, "a bearer token is needed: send the header Authorization: Bearer"},
		{"open path", tokens, "/health", "", 200, ""},
		{"open path with a tail", tokens, "/health/x", "", 401, ""},
		{"no tokens configured", nil, "/x", "", 200, "anyone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tc.path, nil)
			r.Header.Set("Authorization", tc.header)
			w := httptest.NewRecorder()
			tc.tokens.Middleware(whoami, security.RefuseFeast, "/health").ServeHTTP(w, r)
			if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("got %d %q, want %d with %q", w.Code, w.Body, tc.code, tc.body)
			}
			if w.Code == 401 && (!strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") || w.Header().Get("Content-Type") != "application/json") {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
}

// TestRefuseFeast reads the answer as Feast's SDK does: a JSON string that holds the JSON of an exception.
func TestRefuseFeast(t *testing.T) {
	w := httptest.NewRecorder()
	security.RefuseFeast(w, http.StatusForbidden, `no "x"`)
	var outer string
	if err := json.Unmarshal(w.Body.Bytes(), &outer); err != nil {
		t.Fatal(err)
	}
	var inner map[string]string
	if err := json.Unmarshal([]byte(outer), &inner); err != nil {
		t.Fatal(err)
	}
	if w.Code != 403 || inner["module"] != "feast.errors" || inner["class"] != "FeastPermissionError" || inner["message"] != `no "x"` {
		t.Errorf("%d %v", w.Code, inner)
	}
}

func TestAbsentPrincipalMayUseNothing(t *testing.T) {
	p := security.PrincipalFrom(t.Context())
	if p.Allow("clicks") || p.AllowService("ranking_v1") || p.AllowFeatures() {
		t.Error("a request that passed no middleware was let through")
	}
}

func TestInterceptors(t *testing.T) {
	tokens := loadTokens(t, tokensText)
	var seen string
	note := func(ctx context.Context) {
		seen = ""
		if p := security.PrincipalFrom(ctx); p != nil {
			seen = p.Name
		}
	}
	srv := grpc.NewServer(
		grpc.ChainUnaryInterceptor(tokens.UnaryInterceptor(), func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			note(ctx)
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(tokens.StreamInterceptor(), func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			note(s.Context())
			return next(srv, s)
		}),
	)
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	reflection.RegisterV1(srv)
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, ctx context.Context, dec func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
			in := new(grpc_health_v1.HealthCheckRequest)
			if err := dec(in); err != nil {
				return nil, err
			}
			return chain(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/test.Echo/Echo"}, func(context.Context, any) (any, error) { return in, nil })
		}}},
	}, struct{}{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Stop()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	unary := func(ctx context.Context) error {
		msg := new(grpc_health_v1.HealthCheckRequest)
		return conn.Invoke(ctx, "/test.Echo/Echo", msg, msg)
	}
	stream := func(ctx context.Context) error {
		s, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		if err := s.CloseSend(); err != nil {
			return err
		}
		if _, err = s.Recv(); err == io.EOF {
			err = nil
		}
		return err
	}
	for name, call := range map[string]func(context.Context) error{"unary": unary, "stream": stream} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := call(ctx); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s without a token: %v", name, err)
		}
		if err := call(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+modelToken)); err != nil {
			t.Errorf("%s with a token: %v", name, err)
		}
		if seen != "model" {
			t.Errorf("%s: the principal is %q", name, seen)
		}
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("a health probe without a token: %v", err)
	}
}
