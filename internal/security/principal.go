package security

import "context"

// Principal is who sent a request, and what they may use. A nil Principal may use nothing: a handler that is reached
// past the middleware refuses.
type Principal struct {
	Name     string
	all      bool
	sources  map[string]bool
	services map[string]bool
}

// Anyone is the principal of every request where no tokens are configured. It may use everything.
func Anyone() *Principal { return &Principal{Name: "anyone", all: true} }

// Allow tells whether the principal may write to a source.
func (p *Principal) Allow(source string) bool {
	return p != nil && (p.all || p.sources["*"] || p.sources[source])
}

// AllowService tells whether the principal may read a feature service.
func (p *Principal) AllowService(service string) bool {
	return p != nil && (p.all || p.services["*"] || p.services[service])
}

// AllowFeatures tells whether the principal may read features by naming them, outside any service.
func (p *Principal) AllowFeatures() bool {
	return p != nil && (p.all || p.services["*"])
}

type principalKey struct{}

// WithPrincipal puts the principal in a context.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns the context's principal; nil, which may use nothing, when there is none.
func PrincipalFrom(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
