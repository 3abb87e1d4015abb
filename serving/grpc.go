package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/freshet-io/freshet/internal/feature"
	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
	typespb "github.com/freshet-io/freshet/serving/feastpb/feast/types"
)

// The response metadata of a lookup, as the headers of the HTTP face.
const (
	metadataAsOf     = "x-freshet-as-of"
	metadataVersions = "x-freshet-versions"
)

// ServerOptions returns what a gRPC server needs so that no client can hold more of it than a lookup takes.
func (l *Lookups) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(l.opts.MaxBodyBytes),
		grpc.MaxConcurrentStreams(1000),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 15 * time.Minute,
			Time:              time.Minute,
			Timeout:           20 * time.Second,
		}),
	}
}

// Register adds the Feast gRPC face, health and reflection to a server.
func (l *Lookups) Register(s *grpc.Server) {
	servingpb.RegisterServingServiceServer(s, &grpcFace{l: l})
	healthpb.RegisterHealthServer(s, &grpcHealth{ready: l.opts.Ready})
	reflection.Register(s)
}

type grpcFace struct {
	servingpb.UnimplementedServingServiceServer
	l *Lookups
}

// GetFeastServingInfo tells the version.
func (f *grpcFace) GetFeastServingInfo(context.Context, *servingpb.GetFeastServingInfoRequest) (*servingpb.GetFeastServingInfoResponse, error) {
	return &servingpb.GetFeastServingInfoResponse{Version: f.l.opts.Version}, nil
}

// GetOnlineFeatures answers a lookup.
func (f *grpcFace) GetOnlineFeatures(ctx context.Context, req *servingpb.GetOnlineFeaturesRequest) (*servingpb.GetOnlineFeaturesResponse, error) {
	start := time.Now()
	resp, did, err := f.lookup(ctx, req)
	f.l.metrics.done(faceGRPC, start, did, err)
	if err != nil {
		f.l.log(ctx, faceGRPC, err)
		return nil, err.status().Err()
	}
	return resp, nil
}

func (f *grpcFace) lookup(ctx context.Context, req *servingpb.GetOnlineFeaturesRequest) (resp *servingpb.GetOnlineFeaturesResponse, did answered, err *Error) {
	l := f.l
	timeout := l.opts.Timeout
	if at, ok := ctx.Deadline(); ok { // the client's own, which ctx keeps to
		timeout = min(time.Until(at), l.opts.MaxTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	columns, err := columnsOf(req)
	if err != nil {
		return nil, did, err
	}
	pl, err := l.planOfMessage(req, columns)
	did.plan = pl
	if err != nil {
		return nil, did, err
	}
	if err := l.mayRead(ctx, pl); err != nil {
		return nil, did, err
	}
	b := l.begin(pl)
	defer l.end(b)
	for i := range pl.columns {
		c := &pl.columns[i]
		if b.columns[i], err = appendMessageColumn(b.columns[i], columns[c.from].values, c, l.opts.MaxRows); err != nil {
			return nil, did, err
		}
	}
	if err := b.run(ctx, l); err != nil {
		return nil, did, err
	}
	did.rows = b.rows
	grpc.SetHeader(ctx, metadata.Pairs(metadataAsOf, strconv.FormatInt(b.at, 10), metadataVersions, string(appendVersions(nil, b))))
	return messageOf(b, req.GetIncludeFeatureViewVersionMetadata()), did, nil
}

// messageColumn is an entity column or request data.
type messageColumn struct {
	name   string
	values []*typespb.Value
}

// columnsOf returns the columns of both maps by name: a map has no order to keep.
func columnsOf(req *servingpb.GetOnlineFeaturesRequest) ([]messageColumn, *Error) {
	n := len(req.GetEntities()) + len(req.GetRequestContext())
	if n > maxColumns {
		return nil, invalid("too_long", "more than %d columns", maxColumns).at("entities")
	}
	columns := make([]messageColumn, 0, n)
	for name, vs := range req.GetEntities() {
		columns = append(columns, messageColumn{name, vs.GetVal()})
	}
	for name, vs := range req.GetRequestContext() {
		if _, ok := req.GetEntities()[name]; ok {
			return nil, invalid("value_error", "given twice").at("request_context", name)
		}
		columns = append(columns, messageColumn{name, vs.GetVal()})
	}
	slices.SortFunc(columns, func(a, b messageColumn) int { return cmp.Compare(a.name, b.name) })
	return columns, nil
}

// planOfMessage finds the plan of a request, or makes it.
func (l *Lookups) planOfMessage(req *servingpb.GetOnlineFeaturesRequest, columns []messageColumn) (*plan, *Error) {
	var scratch [1024]byte
	key := append(scratch[:0], 'g', '0')
	if req.GetFullFeatureNames() {
		key[1] = '1'
	}
	if service := req.GetFeatureService(); service != "" {
		key = appendString(append(key, 's'), service)
	} else {
		key = append(key, 'f')
		for _, f := range req.GetFeatures().GetVal() {
			key = appendString(key, f)
		}
	}
	key = append(key, '|')
	for i := range columns {
		key = appendString(key, columns[i].name)
	}
	if pl := l.planner.cached(key); pl != nil {
		return pl, nil
	}
	sh := &shape{service: req.GetFeatureService(), features: slices.Clone(req.GetFeatures().GetVal()), fullNames: req.GetFullFeatureNames()}
	for i := range columns {
		sh.columns = append(sh.columns, columns[i].name)
	}
	sh.own()
	pl, err := l.planner.resolve(sh)
	if err != nil {
		return nil, err
	}
	l.planner.keep(key, pl)
	return pl, nil
}

// appendMessageColumn appends a column's values by the type they must have.
func appendMessageColumn(dst []feature.Value, vs []*typespb.Value, c *planColumn, maxRows int) ([]feature.Value, *Error) {
	if len(vs) > maxRows {
		return dst, tooManyRows(c.name, maxRows)
	}
	for row, m := range vs {
		v, ok := valueOfMessage(m, c.typ)
		if !ok {
			return dst, wrongType(c.name, row, c.typ, m.String())
		}
		if v.IsNull() && c.required {
			return dst, nullValue(c, row)
		}
		dst = append(dst, v)
	}
	return dst, nil
}

// grpcCodes map the kinds of errors.
var grpcCodes = [...]codes.Code{
	Invalid:     codes.InvalidArgument,
	NotFound:    codes.NotFound,
	Forbidden:   codes.PermissionDenied,
	Collision:   codes.InvalidArgument,
	TooLarge:    codes.ResourceExhausted,
	Encoded:     codes.InvalidArgument,
	Slow:        codes.DeadlineExceeded,
	Unavailable: codes.Unavailable,
	Deadline:    codes.DeadlineExceeded,
	Internal:    codes.Internal,
}

// status returns the error as a gRPC status: the field at fault, or the Feast exception, as details.
func (e *Error) status() *status.Status {
	text := e.Message
	path := e.path()
	if path != "" {
		text = path + ": " + text
	}
	code := grpcCodes[e.Kind]
	if errors.Is(e.Err, context.Canceled) {
		code = codes.Canceled
	}
	st := status.New(code, text)
	var detail protoadapt.MessageV1
	switch {
	case e.Class != "":
		detail = &errdetails.ErrorInfo{Reason: e.Class, Domain: feastModule}
	case path != "":
		detail = &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: path, Description: e.Message, Reason: e.Type}}}
	default:
		return st
	}
	if with, err := st.WithDetails(detail); err == nil {
		return with
	}
	return st
}

// path is the field at fault as text: entities.driver_id[3].
func (e *Error) path() string {
	var b []byte
	for i, f := range e.Field {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, f...)
	}
	if e.Row >= 0 {
		b = fmt.Appendf(b, "[%d]", e.Row)
	}
	return string(b)
}

// grpcHealth answers grpc.health.v1 for the server ("") and the serving service.
type grpcHealth struct {
	healthpb.UnimplementedHealthServer
	ready func(context.Context) error
}

func (h *grpcHealth) status(ctx context.Context, service string) healthpb.HealthCheckResponse_ServingStatus {
	switch {
	case service != "" && service != servingpb.ServingService_ServiceDesc.ServiceName:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	case h.ready(ctx) != nil:
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

// Check answers once.
func (h *grpcHealth) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s := h.status(ctx, req.GetService())
	if s == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "unknown service %q", req.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: s}, nil
}

// watchInterval is how soon a watcher hears of a change.
const watchInterval = time.Second

// Watch answers now and at each change.
func (h *grpcHealth) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_UNKNOWN
	for {
		if s := h.status(stream.Context(), req.GetService()); s != last {
			last = s
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: s}); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-tick.C:
		}
	}
}
