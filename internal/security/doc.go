// Package security protects what Freshet listens on and authenticates it to what it dials: TLS configurations from
// files, the bearer tokens file, the HTTP middleware and gRPC interceptors that check a caller, and the HTTP server
// with its limits. What a caller may do with a source or a service is asked of the Principal here and enforced by the
// packages that own those; no handler lives here.
package security
