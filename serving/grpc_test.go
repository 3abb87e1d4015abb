package serving

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/freshet-io/freshet/internal/feature"
	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
	typespb "github.com/freshet-io/freshet/serving/feastpb/feast/types"
)

// dial serves the lookups over gRPC in memory.
func dial(t testing.TB, l *Lookups) *grpc.ClientConn {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	s := grpc.NewServer(l.ServerOptions()...)
	l.Register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return lis.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func str(s string) *typespb.Value { return &typespb.Value{Val: &typespb.Value_StringVal{StringVal: s}} }

func num(i int64) *typespb.Value { return &typespb.Value{Val: &typespb.Value_Int64Val{Int64Val: i}} }

func dbl(f float64) *typespb.Value {
	return &typespb.Value{Val: &typespb.Value_DoubleVal{DoubleVal: f}}
}

func repeated(vs ...*typespb.Value) *typespb.RepeatedValue { return &typespb.RepeatedValue{Val: vs} }

func byFeatures(refs ...string) *servingpb.GetOnlineFeaturesRequest_Features {
	return &servingpb.GetOnlineFeaturesRequest_Features{Features: &servingpb.FeatureList{Val: refs}}
}

// show writes a response a column a line.
func show(r *servingpb.GetOnlineFeaturesResponse) string {
	var b strings.Builder
	for i, n := range r.GetMetadata().GetFeatureNames().GetVal() {
		fmt.Fprintf(&b, "%s:", n)
		c := r.GetResults()[i]
		for row, v := range c.GetValues() {
			text := "null"
			if v.GetVal() != nil {
				text = strings.TrimSpace(strings.NewReplacer(" ", "", "\n", "").Replace(v.String()))
			}
			fmt.Fprintf(&b, " %s/%s/%s", text, c.GetStatuses()[row], c.GetEventTimestamps()[row].AsTime().Format("2006-01-02T15:04:05.999999"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestGRPCAnswersColumns(t *testing.T) {
	l, _, _ := setup(t, Options{Version: "1.2.3"})
	client := servingpb.NewServingServiceClient(dial(t, l))
	f := func(req *servingpb.GetOnlineFeaturesRequest, want ...string) {
		t.Helper()
		resp, err := client.GetOnlineFeatures(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := show(resp), strings.Join(want, "\n")+"\n"; got != want || !resp.GetStatus() {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	f(&servingpb.GetOnlineFeaturesRequest{
		Kind:     byFeatures("carrier_delays:mean_delay_1h", "carrier_delays:last_dest"),
		Entities: map[string]*typespb.RepeatedValue{"carrier": repeated(str("AA"), str("UA"), str("ZZ"))},
	},
		`carrier: string_val:"AA"/PRESENT/1970-01-01T00:00:00 string_val:"UA"/PRESENT/1970-01-01T00:00:00 string_val:"ZZ"/PRESENT/1970-01-01T00:00:00`,
		`mean_delay_1h: double_val:12.5/PRESENT/2026-03-01T11:59:50.123456 null/OUTSIDE_MAX_AGE/2026-02-14T12:00:00.123456 null/NOT_FOUND/1970-01-01T00:00:00`,
		`last_dest: string_val:"BOS"/PRESENT/2026-03-01T11:59:50.123456 null/OUTSIDE_MAX_AGE/2026-02-14T12:00:00.123456 null/NOT_FOUND/1970-01-01T00:00:00`)
	f(&servingpb.GetOnlineFeaturesRequest{
		Kind: &servingpb.GetOnlineFeaturesRequest_FeatureService{FeatureService: "delay_model"},
		Entities: map[string]*typespb.RepeatedValue{
			"carrier": repeated(str("AA")), "origin": repeated(str("JFK")), "dest": repeated(str("LAX")),
		},
		RequestContext:   map[string]*typespb.RepeatedValue{"distance": repeated(dbl(4)), "stops": repeated(num(2))},
		FullFeatureNames: true,
	},
		`carrier: string_val:"AA"/PRESENT/1970-01-01T00:00:00`,
		`dest: string_val:"LAX"/PRESENT/1970-01-01T00:00:00`,
		`origin: string_val:"JFK"/PRESENT/1970-01-01T00:00:00`,
		`distance: double_val:4/PRESENT/1970-01-01T00:00:00`,
		`stops: int64_val:2/PRESENT/1970-01-01T00:00:00`,
		`carrier_delays__mean_delay_1h: double_val:12.5/PRESENT/2026-03-01T11:59:50.123456`,
		`route_delays__mean_delay_24h: double_val:-4/PRESENT/2026-03-01T11:59:00.123456`,
		`carrier_delays__departures_1h: int64_val:2/PRESENT/2026-03-01T11:59:50.123456`,
		`delay_model__delay_ratio: double_val:2.5/PRESENT/1970-01-01T00:00:00`,
		`delay_model__per_stop: int64_val:1/PRESENT/1970-01-01T00:00:00`)

	info, err := client.GetFeastServingInfo(t.Context(), &servingpb.GetFeastServingInfoRequest{})
	if err != nil || info.GetVersion() != "1.2.3" {
		t.Errorf("version %q, %v", info.GetVersion(), err)
	}
}

func TestGRPCTellsWhenAndWhatItRead(t *testing.T) {
	l, _, _ := setup(t, Options{})
	var header metadata.MD
	_, err := servingpb.NewServingServiceClient(dial(t, l)).GetOnlineFeatures(t.Context(), &servingpb.GetOnlineFeaturesRequest{
		Kind: byFeatures("user_profile:visits"), Entities: map[string]*typespb.RepeatedValue{"user_id": repeated(num(1001))},
	}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if got := header.Get("x-freshet-as-of"); !slices.Equal(got, []string{"1772366400123456"}) {
		t.Errorf("as of %q", got)
	}
	if got := header.Get("x-freshet-versions"); !slices.Equal(got, []string{"user_profile=7.2.5.0"}) {
		t.Errorf("versions %q", got)
	}
}

func TestGRPCRefuses(t *testing.T) {
	l, s, _ := setup(t, Options{MaxRows: 2, MaxBodyBytes: 4096, Timeout: 50 * time.Millisecond})
	client := servingpb.NewServingServiceClient(dial(t, l))
	users := func(vs ...*typespb.Value) map[string]*typespb.RepeatedValue {
		return map[string]*typespb.RepeatedValue{"user_id": repeated(vs...)}
	}
	// A kind of value that this protocol version does not know: map_val, field 20.
	unknown := &typespb.Value{}
	unknown.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 20, protowire.BytesType), nil))
	f := func(req *servingpb.GetOnlineFeaturesRequest, code codes.Code, message, detail string) {
		t.Helper()
		_, err := client.GetOnlineFeatures(t.Context(), req)
		st := status.Convert(err)
		if st.Code() != code || !strings.Contains(st.Message(), message) {
			t.Errorf("got %v %q, want %v %q", st.Code(), st.Message(), code, message)
		}
		got := ""
		for _, d := range st.Details() {
			switch d := d.(type) {
			case *errdetails.ErrorInfo:
				got = d.GetDomain() + "." + d.GetReason()
			case *errdetails.BadRequest:
				got = d.GetFieldViolations()[0].GetField()
			}
		}
		if got != detail {
			t.Errorf("%v: detail %q, want %q", st.Message(), got, detail)
		}
	}
	visits := byFeatures("user_profile:visits")
	f(&servingpb.GetOnlineFeaturesRequest{Entities: users(num(1))}, codes.InvalidArgument, "feature_service", "features")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits}, codes.InvalidArgument, "join key user_id", "entities.user_id")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(num(1), str("1"))}, codes.InvalidArgument, "expected int64", "entities.user_id[1]")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(dbl(1))}, codes.InvalidArgument, "expected int64", "entities.user_id[0]")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(unknown)}, codes.InvalidArgument, "expected int64", "entities.user_id[0]")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(&typespb.Value{})}, codes.InvalidArgument, "null", "entities.user_id[0]")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(num(1), num(2), num(3))}, codes.InvalidArgument, "more than 2 rows", "entities.user_id")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(num(1)), RequestContext: users(num(1))}, codes.InvalidArgument, "given twice", "request_context.user_id")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: byFeatures("user_profil:visits"), Entities: users(num(1))}, codes.NotFound,
		`did you mean "user_profile"?`, "feast.errors.FeatureViewNotFoundException")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: byFeatures("user_profile:visits", "user_profile:visits"), Entities: users(num(1))}, codes.InvalidArgument,
		"Duplicate", "feast.errors.FeatureNameCollisionError")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: byFeatures(strings.Repeat("x", 5000)), Entities: users(num(1))}, codes.ResourceExhausted, "larger than max", "")
	s.fail = errors.New("connection refused")
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(num(1))}, codes.Unavailable, "online store", "")
	l.store = slowStore{}
	f(&servingpb.GetOnlineFeaturesRequest{Kind: visits, Entities: users(num(1))}, codes.DeadlineExceeded, "in time", "")
}

func TestGRPCHealthAndReflection(t *testing.T) {
	ready := make(chan error, 1)
	var last error
	l, _, _ := setup(t, Options{Ready: func(context.Context) error {
		select {
		case last = <-ready:
		default:
		}
		return last
	}})
	conn := dial(t, l)
	health := healthpb.NewHealthClient(conn)
	f := func(service string, want healthpb.HealthCheckResponse_ServingStatus, code codes.Code) {
		t.Helper()
		r, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if status.Code(err) != code || r.GetStatus() != want {
			t.Errorf("%q: %v, %v", service, r.GetStatus(), err)
		}
	}
	f("", healthpb.HealthCheckResponse_SERVING, codes.OK)
	f("feast.serving.ServingService", healthpb.HealthCheckResponse_SERVING, codes.OK)
	f("feast.other", 0, codes.NotFound)
	ready <- errors.New("restoring")
	f("", healthpb.HealthCheckResponse_NOT_SERVING, codes.OK)

	w, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING} {
		if r, err := w.Recv(); err != nil || r.GetStatus() != want {
			t.Fatalf("watch: %v, %v; want %v", r.GetStatus(), err, want)
		}
		ready <- nil
	}

	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil || !strings.Contains(r.String(), "feast.serving.ServingService") {
		t.Errorf("reflection: %v, %v", r, err)
	}
}

// The wire bytes that Feast's own clients write and read.
func TestMessagesAreFeastsOnTheWire(t *testing.T) {
	f := func(m proto.Message, want string) {
		t.Helper()
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", b); got != want {
			t.Errorf("%v: got %s, want %s", m, got, want)
		}
	}
	value := func(v feature.Value) *typespb.Value {
		m := &typespb.Value{}
		setMessage(m, &v)
		return m
	}
	f(value(feature.Int64Value(5)), "2005")
	f(value(feature.Int64Value(0)), "2000")
	f(value(feature.Float64Value(0.5)), "29000000000000e03f")
	f(value(feature.BoolValue(true)), "3801")
	f(value(feature.StringValue("a")), "120161")
	f(value(feature.Value{}), "")
	f(value(feature.ListValue(feature.Int64, []feature.Value{feature.Int64Value(1), feature.Int64Value(2)})), "72040a020102")
	f(value(feature.ListValue(feature.Float64, []feature.Value{feature.Float64Value(0.5)})), "7a0a0a08000000000000e03f")
	f(value(feature.TimestampValue(1_700_000_000_999_999)), "4080e2cfaa06")
	f(&typespb.Value{Val: &typespb.Value_NullVal{}}, "980100")
	f(&typespb.Value{Val: &typespb.Value_FloatVal{FloatVal: 0.25}}, "350000803e")
	// A request as other clients order its fields.
	b, err := hex.DecodeString("0a0173" + "1a090a016b12040a022001" + "2001" + "3001")
	var got servingpb.GetOnlineFeaturesRequest
	want := &servingpb.GetOnlineFeaturesRequest{
		Kind:             &servingpb.GetOnlineFeaturesRequest_FeatureService{FeatureService: "s"},
		Entities:         map[string]*typespb.RepeatedValue{"k": repeated(num(1))},
		FullFeatureNames: true, IncludeFeatureViewVersionMetadata: true,
	}
	if err := errors.Join(err, proto.Unmarshal(b, &got)); err != nil || !proto.Equal(&got, want) {
		t.Errorf("got %v, %v; want %v", &got, err, want)
	}
}

// Both faces answer the same request with the same values, statuses and timestamps.
func TestFacesAgree(t *testing.T) {
	l, s, p := setup(t, Options{})
	client := servingpb.NewServingServiceClient(dial(t, l))
	v := p.Views[2]
	rapid.Check(t, func(rt *rapid.T) {
		in := []any{
			rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN())).Draw(rt, "score"), rapid.Bool().Draw(rt, "member"), rapid.Int().Draw(rt, "visits"),
			time.UnixMicro(rapid.Int64Range(-1e15, 1e16).Draw(rt, "seen")), rapid.SliceOf(rapid.Byte()).Draw(rt, "token"),
			rapid.SliceOf(rapid.String()).Draw(rt, "tags"), rapid.Float64().Draw(rt, "last"),
		}
		for i := range in {
			if rapid.IntRange(0, 4).Draw(rt, "null") == 0 {
				in[i] = nil
			}
		}
		s.put(t, p, "user_profile", []any{7}, event{at: ago(time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "age")) * time.Microsecond), in: in})
		ids := rapid.SliceOfN(rapid.SampledFrom([]int64{7, 8, 1001}), 1, 5).Draw(rt, "ids")
		var refs []string
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(v.Features)-1), 1, -1, rapid.ID[int]).Draw(rt, "features") {
			refs = append(refs, "user_profile:"+v.Features[i].Name)
		}
		full := rapid.Bool().Draw(rt, "full")
		body, err := json.Marshal(map[string]any{"features": refs, "entities": map[string]any{"user_id": ids}, "full_feature_names": full})
		if err != nil {
			rt.Fatal(err)
		}
		var values []*typespb.Value
		for _, id := range ids {
			values = append(values, num(id))
		}
		resp, err := client.GetOnlineFeatures(t.Context(), &servingpb.GetOnlineFeaturesRequest{
			Kind: byFeatures(refs...), Entities: map[string]*typespb.RepeatedValue{"user_id": repeated(values...)}, FullFeatureNames: full,
		})
		if err != nil {
			rt.Fatal(err)
		}
		sameAnswer(rt, post(t, l, string(body)).Body.Bytes(), resp)
	})
}

// sameAnswer compares a JSON response with a protobuf one: what JSON cannot say is null there.
func sameAnswer(t *rapid.T, body []byte, resp *servingpb.GetOnlineFeaturesResponse) {
	var h struct {
		Results []struct {
			Values          []json.RawMessage
			Statuses        []string
			EventTimestamps []time.Time `json:"event_timestamps"`
		}
		Metadata struct {
			FeatureNames []string `json:"feature_names"`
		}
	}
	if err := json.Unmarshal(body, &h); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if !slices.Equal(h.Metadata.FeatureNames, resp.GetMetadata().GetFeatureNames().GetVal()) {
		t.Fatalf("names %q and %q", h.Metadata.FeatureNames, resp.GetMetadata().GetFeatureNames().GetVal())
	}
	for i, c := range resp.GetResults() {
		for row, m := range c.GetValues() {
			value := messageValue(m)
			want := string(appendValue(nil, &value))
			wantStatus := c.GetStatuses()[row].String()
			if wantStatus == "PRESENT" && want == "null" {
				wantStatus = "NULL_VALUE"
			}
			if got := string(h.Results[i].Values[row]); got != want || h.Results[i].Statuses[row] != wantStatus {
				t.Fatalf("%s[%d]: HTTP %s %s, gRPC %s %s", h.Metadata.FeatureNames[i], row, got, h.Results[i].Statuses[row], want, wantStatus)
			}
			if got, want := h.Results[i].EventTimestamps[row], c.GetEventTimestamps()[row].AsTime(); !got.Equal(want) {
				t.Fatalf("%s[%d]: timestamps %v and %v", h.Metadata.FeatureNames[i], row, got, want)
			}
		}
	}
}

// messageValue reads a response's value as whatever type it has.
func messageValue(m *typespb.Value) feature.Value {
	for _, t := range []feature.Type{feature.Bool, feature.Int64, feature.Float64, feature.String, feature.Bytes, feature.Timestamp} {
		if v, ok := valueOfMessage(m, t); ok {
			return v
		}
		if v, ok := valueOfMessage(m, feature.ListOf(t)); ok {
			return v
		}
	}
	return feature.Value{} // NaN and infinities
}
