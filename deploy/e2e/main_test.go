package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	status := m.Run()
	if dir, err := buildDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "freshet-e2e-") })

// program builds the binary, once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "freshet")
	if out, err := exec.Command("go", "build", "-o", file, "github.com/freshet-io/freshet").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build freshet: %w\n%s", err, out)
	}
	return file, nil
})

// patience is how long the tests wait for what must come; nothing in them is about how soon.
const patience = 2 * time.Minute

// eventually waits until fn returns nil.
func eventually(t *testing.T, what string, fn func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := fn()
		if err == nil {
			t.Logf("%s: after %.1f s", what, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
