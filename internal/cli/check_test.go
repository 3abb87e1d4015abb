package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCheck checks each definition of testdata: NAME.yaml against NAME.golden.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
	}{{"good", exitOK}, {"warned", exitOK}, {"bad", exitDefinition}} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join("testdata", c.name+".yaml")
			r := run(t, "check", file)
			if r.code != c.code {
				t.Errorf("exit %d, want %d; stderr %s", r.code, c.code, r.stderr)
			}
			golden(t, "check_"+c.name+".golden", r.stdout)
			r = run(t, "check", file, "--output", "json")
			if r.code != c.code {
				t.Errorf("with JSON: exit %d, want %d; stderr %s", r.code, c.code, r.stderr)
			}
			golden(t, "check_"+c.name+"_json.golden", r.stdout)
		})
	}
}

func TestCheckSaysWhenThereIsNoSuchFile(t *testing.T) {
	if r := run(t, "check", filepath.Join(t.TempDir(), "none.yaml")); r.code != exitNotFound || r.stdout != "" {
		t.Errorf("exit %d, want %d; stdout %q", r.code, exitNotFound, r.stdout)
	}
}

func TestCheckTakesConnectionsFromAFileOfTheirOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "connections.yaml")
	if err := os.WriteFile(file, []byte("connections:\n  kafka: {brokers: [\"kafka:9092\"], replicas: 3}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "check", "testdata/good.yaml", "--connections", file); r.code != exitDefinition {
		t.Errorf("an unknown field of --connections: exit %d, want %d", r.code, exitDefinition)
	}
}
