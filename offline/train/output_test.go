package train

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoSetHasTheManifestOfAnother: while a set is put in the place of another there is no manifest, so that dying then, or failing,
// leaves none that belongs to the other set.
func TestNoSetHasTheManifestOfAnother(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "set.csv"+ManifestSuffix)
	if err := os.WriteFile(path, []byte("of the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is gone")
	absent := func() error {
		if text, err := os.ReadFile(path); err == nil {
			t.Errorf("while the set gets its place its manifest is %q", text)
		}
		return broken
	}
	if err := replace(path, &Manifest{Service: "model"}, absent); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := replace(path, &Manifest{Service: "model"}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `"service": "model"`) {
		t.Errorf("%s, %v", text, err)
	}
}
