package security

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Refuse answers a request that is not let through with 401 or 403.
type Refuse func(w http.ResponseWriter, code int, reason string)

// RefuseFeast answers as Feast's servers do: a JSON string that holds the JSON of an exception. Its SDK reads nothing
// else, and raises FeastPermissionError from this.
func RefuseFeast(w http.ResponseWriter, code int, reason string) {
	inner, _ := json.Marshal(map[string]string{"module": "feast.errors", "class": "FeastPermissionError", "message": reason}) // strings always encode
	w.Header().Set("Content-Type", "application/json")
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(string(inner)) // the client may have left
}

// Middleware lets requests with a known token through, their principal in the context, and answers the others with
// 401. The open paths, which probes ask, need no token; nobody is their principal.
func (t *Tokens) Middleware(next http.Handler, refuse Refuse, open ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(open, r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		p, err := t.Authenticate(r.Header.Get("Authorization"))
		if err != nil {
			refuse(w, http.StatusUnauthorized, err.Error())
			return
		}
		next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), p)))
	})
}

// openMethods are called by probes and need no token.
const openMethods = "/grpc.health.v1.Health/"

// UnaryInterceptor is Middleware for gRPC calls: Unauthenticated without a known token in the metadata.
func (t *Tokens) UnaryInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, err := t.authenticateCall(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// StreamInterceptor is Middleware for gRPC streams.
func (t *Tokens) StreamInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, err := t.authenticateCall(stream.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		return next(srv, &principalStream{ServerStream: stream, ctx: ctx})
	}
}

func (t *Tokens) authenticateCall(ctx context.Context, method string) (context.Context, error) {
	if strings.HasPrefix(method, openMethods) {
		return ctx, nil
	}
	header := ""
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		header = values[0]
	}
	p, err := t.Authenticate(header)
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return WithPrincipal(ctx, p), nil
}

// principalStream is a stream whose context holds the principal.
type principalStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *principalStream) Context() context.Context { return s.ctx }
