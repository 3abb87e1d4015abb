package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected messages and generated files anew; read the difference before committing it")

// environment is what the good files refer to.
func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"KAFKA_BROKERS": "k1:9092,k2:9092, k3:9092", "KAFKA_PASSWORD": "kafka-secret", "REDIS_PASSWORD": "redis-secret",
		"FRESHET_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "SLACK_URL": "https://hooks.example.org/secret",
	}[name]
	return v, ok
}

func parseTestFile(t testing.TB, path string) (*Plane, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Parse([]File{{Name: filepath.ToSlash(path), Data: data}}, environment)
}

func testFiles(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func TestGoodFiles(t *testing.T) {
	for _, f := range testFiles(t, "testdata/good/*.yaml") {
		if _, err := parseTestFile(t, f); err != nil {
			t.Errorf("%s:\n%v", f, err)
		}
	}
}

// TestBadFiles: each file has one mistake, and what is said about it stands beside it.
func TestBadFiles(t *testing.T) {
	files := testFiles(t, "testdata/bad/*.yaml")
	if len(files) < 35 {
		t.Errorf("%d bad files; a message without one is not held to its words", len(files))
	}
	for _, f := range files {
		_, err := parseTestFile(t, f)
		if err == nil {
			t.Errorf("%s is accepted", f)
			continue
		}
		issues, ok := err.(Issues)
		if !ok {
			t.Fatalf("%s: %T", f, err)
		}
		var errors []string
		for _, i := range issues {
			if i.Severity == Error {
				errors = append(errors, strings.TrimPrefix(i.String(), "testdata/bad/"))
			}
		}
		got := strings.Join(errors, "\n") + "\n"
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: a secret is printed: %s", f, got)
		}
		want := max(1, map[string]int{"ten_mistakes.yaml": 10, "five_mistakes.yaml": 5}[filepath.Base(f)])
		if len(errors) != want {
			t.Errorf("%s: %d mistakes are reported, want %d:\n%s", f, len(errors), want, got)
		}
		golden(t, strings.TrimSuffix(f, ".yaml")+".txt", got)
	}
}

// golden compares with a committed file, or writes it with -update.
func golden(t testing.TB, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s:\n got %swant %s", path, got, want)
	}
}
