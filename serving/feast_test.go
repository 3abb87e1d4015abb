package serving

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	servingpb "github.com/freshet-io/freshet/serving/feastpb/feast/serving"
)

// sdkAnswer is what Feast's SDK made of an answer: to_dict() of the response with the types that it inferred, or what it raised.
type sdkAnswer struct {
	Dict     map[string]json.RawMessage
	Types    map[string]json.RawMessage
	Statuses map[string]json.RawMessage
	Raised   string
	Feast    bool // it is one of Feast's own exceptions
	Message  string
}

// Feast's own Python SDK reads from the HTTP face. FRESHET_TEST_FEAST_PYTHON names a Python that has it (`pip install feast`, tried with
// 0.67), which takes longer to install than all tests take to run. The test after this one holds the same without it.
func TestFeastSDKReads(t *testing.T) {
	python := os.Getenv("FRESHET_TEST_FEAST_PYTHON")
	if python == "" {
		t.Skip("FRESHET_TEST_FEAST_PYTHON is not set: no Feast SDK")
	}
	l, _, _ := setup(t, Options{})
	srv := httptest.NewServer(l.Handler())
	defer srv.Close()
	cmd := exec.CommandContext(t.Context(), python, "testdata/feast_interop.py", srv.URL)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got map[string]sdkAnswer
	if err := json.Unmarshal(stdout, &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	checkSDK(t, got)
}

// TestFeastSDKWouldRead sends the bytes that the SDK sends and reads the answers as it does.
func TestFeastSDKWouldRead(t *testing.T) {
	l, _, _ := setup(t, Options{})
	srv := httptest.NewServer(l.Handler())
	defer srv.Close()
	got := map[string]sdkAnswer{}
	for name, body := range map[string]string{
		"carriers":        `{"entities": {"carrier": ["AA", "UA", "ZZ"]}, "full_feature_names": false, "include_feature_view_version_metadata": false, "features": ["carrier_delays:mean_delay_1h", "carrier_delays:departures_ever", "carrier_delays:last_dest"]}`,
		"full":            `{"entities": {"origin": ["JFK"], "dest": ["LAX"]}, "full_feature_names": true, "include_feature_view_version_metadata": false, "features": ["route_delays:mean_delay_24h"]}`,
		"types":           `{"entities": {"user_id": [1001]}, "full_feature_names": false, "include_feature_view_version_metadata": false, "features": ["user_profile:score", "user_profile:member", "user_profile:visits", "user_profile:seen", "user_profile:token", "user_profile:tags", "user_profile:last_scores"]}`,
		"unknown_view":    `{"entities": {"carrier": ["AA"]}, "full_feature_names": false, "include_feature_view_version_metadata": false, "features": ["carrier_delay:last_dest"]}`,
		"unknown_feature": `{"entities": {"carrier": ["AA"]}, "full_feature_names": false, "include_feature_view_version_metadata": false, "features": ["carrier_delays:last_dst"]}`,
		"wrong_type":      `{"entities": {"user_id": ["1001"]}, "full_feature_names": false, "include_feature_view_version_metadata": false, "features": ["user_profile:visits"]}`,
	} {
		resp, err := http.Post(srv.URL+"/get-online-features", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got[name], err = asSDK(resp.StatusCode, text); err != nil {
			t.Errorf("%s: the SDK cannot read %s: %v", name, text, err)
		}
	}
	checkSDK(t, got)
}

// asSDK reads an answer as feast.infra.online_stores.remote does: types are inferred from JSON, statuses from their names, exceptions of
// Feast's from a JSON string that holds JSON.
func asSDK(status int, text []byte) (a sdkAnswer, err error) {
	if status != http.StatusOK {
		var body string
		var detail struct{ Module, Class, Message string }
		if json.Unmarshal(text, &body) == nil && json.Unmarshal([]byte(body), &detail) == nil && detail.Module == "feast.errors" {
			return sdkAnswer{Raised: detail.Class, Feast: true, Message: detail.Message}, nil
		}
		return sdkAnswer{Raised: "RuntimeError", Message: string(text)}, nil
	}
	var body struct {
		Metadata struct {
			Names []string `json:"feature_names"`
		}
		Results []struct {
			Values   []json.RawMessage
			Statuses []string
		}
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return a, err
	}
	if len(body.Metadata.Names) != len(body.Results) {
		return a, fmt.Errorf("%d names of %d columns", len(body.Metadata.Names), len(body.Results))
	}
	a = sdkAnswer{Dict: map[string]json.RawMessage{}, Types: map[string]json.RawMessage{}, Statuses: map[string]json.RawMessage{}}
	for i, name := range body.Metadata.Names {
		r := &body.Results[i]
		types, statuses := make([]any, len(r.Values)), make([]int, len(r.Statuses))
		for k, v := range r.Values {
			typ, err := inferred(v)
			if err != nil {
				return a, fmt.Errorf("%s: %w", name, err)
			}
			if typ != "" {
				types[k] = typ + "_val"
			}
		}
		for k, s := range r.Statuses {
			statuses[k] = int(servingpb.FieldStatus_value[s])
		}
		for into, of := range map[*map[string]json.RawMessage]any{&a.Dict: r.Values, &a.Types: types, &a.Statuses: statuses} {
			if (*into)[name], err = json.Marshal(of); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}

// inferred is the type that the SDK gives to a value, "" to null. It raises for lists that are empty or of several types.
func inferred(v json.RawMessage) (string, error) {
	switch c := v[0]; {
	case string(v) == "null":
		return "", nil
	case c == '"':
		return "string", nil
	case c == 't' || c == 'f':
		return "bool", nil
	case c == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(v, &list); err != nil {
			return "", err
		}
		of := ""
		for i, e := range list {
			typ, err := inferred(e)
			if err != nil || typ == "" || i > 0 && typ != of {
				return "", fmt.Errorf("a list of several types: %s", v)
			}
			of = typ
		}
		if of == "" {
			return "", fmt.Errorf("no type can be inferred from %s", v)
		}
		return of + "_list", nil
	case strings.ContainsAny(string(v), ".eE"):
		return "double", nil
	}
	return "int64", nil
}

// checkSDK compares what the SDK made of the answers to what feast_interop.py asks.
func checkSDK(t *testing.T, got map[string]sdkAnswer) {
	t.Helper()
	same := func(what string, got json.RawMessage, want string) {
		t.Helper()
		if g := strings.ReplaceAll(string(got), " ", ""); g != want {
			t.Errorf("%s: got %s, want %s", what, g, want)
		}
	}
	c := got["carriers"]
	same("mean", c.Dict["mean_delay_1h"], `[12.5,null,null]`)
	same("mean's statuses", c.Statuses["mean_delay_1h"], `[1,4,3]`)
	same("mean's types", c.Types["mean_delay_1h"], `["double_val",null,null]`)
	same("count", c.Dict["departures_ever"], `[3,null,null]`)
	same("count's types", c.Types["departures_ever"], `["int64_val",null,null]`)
	same("last", c.Dict["last_dest"], `["BOS",null,null]`)
	same("full name", got["full"].Dict["route_delays__mean_delay_24h"], `[-4.0]`)
	u := got["types"]
	same("float", u.Types["score"], `["double_val"]`)
	same("bool", u.Dict["member"], `[true]`)
	same("int", u.Types["visits"], `["int64_val"]`)
	same("timestamp", u.Dict["seen"], `[1772366398]`)
	same("bytes", u.Dict["token"], `["/wA="]`)
	same("strings", u.Types["tags"], `["string_list_val"]`)
	same("floats", u.Dict["last_scores"], `[[0.5]]`)
	raises := func(name, class, message string) {
		t.Helper()
		if e := got[name]; e.Raised != class || !strings.Contains(e.Message, message) {
			t.Errorf("%s raised %q: %s; want %s: %s", name, e.Raised, e.Message, class, message)
		}
	}
	raises("unknown_view", "FeatureViewNotFoundException", `did you mean "carrier_delays"?`)
	raises("unknown_feature", "FeastObjectNotFoundException", `did you mean "last_dest"?`)
	raises("wrong_type", "RuntimeError", `expected int64, got \"1001\"`)
}
