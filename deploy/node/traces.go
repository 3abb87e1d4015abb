package node

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
)

// callers reads the trace that a request belongs to from its headers (W3C's traceparent).
var callers = propagation.TraceContext{}

// traced tells whether a collector is there. Without one requests do not pass through anything that traces.
func (n *node) traced() bool {
	_, off := n.tracer.(noop.TracerProvider)
	return !off
}

// traceHTTP makes a span of each request but those of probes.
func (n *node) traceHTTP(face http.Handler) http.Handler {
	if !n.traced() {
		return face
	}
	return otelhttp.NewHandler(face, "freshet", otelhttp.WithTracerProvider(n.tracer), otelhttp.WithPropagators(callers),
		otelhttp.WithFilter(func(r *http.Request) bool { return r.URL.Path != "/health" }))
}

// traceGRPC makes a span of each call but those of probes.
func (n *node) traceGRPC() []grpc.ServerOption {
	if !n.traced() {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(n.tracer),
		otelgrpc.WithPropagators(callers), otelgrpc.WithFilter(filters.Not(filters.HealthCheck()))))}
}
