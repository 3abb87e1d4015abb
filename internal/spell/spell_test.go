package spell

import "testing"

func TestNearest(t *testing.T) {
	fields := []string{"carrier", "dep_delay", "distance", "departed_at", "dest", "q"}
	tests := []struct{ name, want string }{
		{"dep_dealy", "dep_delay"},
		{"departedat", "departed_at"},
		{"Carrier", "carrier"},
		{"distnace", "distance"},
		{"desty", "dest"},
		{"temperature", ""},
		{"x", ""},
		{"", ""},
		{"nope", ""},
		{"dista", "distance"},
		{"carr", "carrier"},
		{"delay", "dep_delay"},
	}
	for _, tt := range tests {
		got, ok := Nearest(tt.name, fields)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Nearest(%q) = %q, %v; want %q", tt.name, got, ok, tt.want)
		}
	}
	if got := Suggest("dset", fields); got != `; did you mean "dest"?` {
		t.Errorf("Suggest = %q", got)
	}
	if got := Suggest("temperature", fields); got != "" {
		t.Errorf("Suggest = %q", got)
	}
}
