package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/freshet-io/freshet/internal/security"
)

// guard is how the faces' listeners are protected: TLS and tokens, where the definition asks for them.
type guard struct {
	tls    *tls.Config      // nil: none
	tokens *security.Tokens // nil: anyone may use everything
}

func (n *node) newGuard() (*guard, error) {
	l := n.Plane.Listen
	g := &guard{}
	var err error
	if l.TLS != nil {
		if g.tls, err = security.ListenerTLS(*l.TLS); err != nil {
			return nil, fmt.Errorf("listen.tls: %w", err)
		}
	}
	if l.TokensFile != "" {
		if g.tokens, err = security.LoadTokens(l.TokensFile, n.Logger); err != nil {
			return nil, fmt.Errorf("listen.tokens_file: %w", err)
		}
	}
	faces := map[string]string{"http": l.HTTP}
	if n.Roles.Has(Serve) {
		faces["grpc"] = l.GRPC
	}
	for face, addr := range faces {
		if warning := security.OpenWarning(face, addr, g.tls, g.tokens != nil); warning != "" {
			n.Logger.Warn(warning)
		}
	}
	return g, nil
}

// lookups asks every lookup over HTTP for its token. Probes need none.
func (g *guard) lookups(face http.Handler) http.Handler {
	return g.tokens.Middleware(face, security.RefuseFeast, "/health")
}

// mayRead is who may read which feature service; nil, everyone everything, without tokens.
func (g *guard) mayRead() func(ctx context.Context, service string) bool {
	if g.tokens == nil {
		return nil
	}
	return func(ctx context.Context, service string) bool {
		p := security.PrincipalFrom(ctx)
		if service == "" {
			return p.AllowFeatures()
		}
		return p.AllowService(service)
	}
}

// grpc is what protects a gRPC server.
func (g *guard) grpc() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(g.tokens.UnaryInterceptor()), grpc.ChainStreamInterceptor(g.tokens.StreamInterceptor()),
	}
	if g.tls != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(g.tls)))
	}
	return opts
}
