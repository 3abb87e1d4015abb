package serving

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Feast's own Python SDK reads from the HTTP face. FRESHET_TEST_FEAST_PYTHON names a Python that has it (`pip install
// feast`, tried with 0.67); without one there is nothing to test.
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
	type answer struct {
		Dict     map[string]json.RawMessage
		Types    map[string]json.RawMessage
		Statuses map[string]json.RawMessage
		Raised   string
		Feast    bool
		Message  string
	}
	var got map[string]answer
	if err := json.Unmarshal(stdout, &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
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
