package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
)

// Output is where a training set is written. Nothing of it can be seen under its final name before Commit.
type Output interface {
	// Text says that the values of a spine of text are wanted as they are written there.
	Text() bool
	// Begin is told the columns: the spine's, then the features.
	Begin(ctx context.Context, spine []SpineColumn, features []offline.Column) error
	// Write takes the values of a row; they are valid until it returns.
	Write(spine, features []feature.Value) error
	// Commit ends the set well, and keeps its manifest.
	Commit(ctx context.Context, m *Manifest) error
	// Abort leaves nothing behind. It may follow anything but a Commit that succeeded.
	Abort() error
}

// ManifestSuffix is what the name of a set's manifest has after the set's.
const ManifestSuffix = ".manifest.json"

// NewFile returns the output for a file's name: .csv or .parquet.
func NewFile(path string) (Output, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".csv":
		return &csvOutput{file: newFile{path: path}}, nil
	case ".parquet", ".pq":
		return &parquetOutput{file: newFile{path: path}}, nil
	default:
		return nil, fmt.Errorf("output %s: a training set is a .csv or a .parquet file, or a table, not %q", path, ext)
	}
}

// newFile is a file that gets its name when it is whole.
type newFile struct {
	path string
	f    *os.File
}

func (n *newFile) create() error {
	f, err := os.CreateTemp(filepath.Dir(n.path), "."+filepath.Base(n.path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", n.path, err)
	}
	n.f = f
	return nil
}

// commit puts the file and its manifest in their places.
func (n *newFile) commit(m *Manifest) error {
	err := n.publish(m)
	if err != nil {
		return fmt.Errorf("write %s: %w", n.path, err)
	}
	return nil
}

func (n *newFile) publish(m *Manifest) error {
	return replace(n.path+ManifestSuffix, m, func() error {
		if err := n.seal(); err != nil {
			return err
		}
		return n.rename()
	})
}

// replace puts a set in its place, by commit, and its manifest beside it, in the file path. The manifest of what was there before goes
// first: whatever dies in between leaves a set without a manifest, never one with another set's.
func replace(path string, m *Manifest, commit func() error) error {
	manifest := newFile{path: path}
	if err := manifest.create(); err != nil {
		return err
	}
	text := json.NewEncoder(manifest.f)
	text.SetIndent("", "  ")
	text.SetEscapeHTML(false) // list<string>
	err := text.Encode(m)
	if err == nil {
		err = manifest.seal()
	}
	if err == nil {
		err = removeForGood(path)
	}
	if err == nil {
		err = commit()
	}
	if err == nil {
		err = manifest.rename()
	}
	if err != nil {
		return errors.Join(err, manifest.abort())
	}
	return nil
}

// removeForGood removes a file, if there is one, so that no crash brings it back.
func removeForGood(path string) error {
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes last which files the folder of a file has.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// rename gives a sealed file its name.
func (n *newFile) rename() error {
	if err := os.Rename(n.f.Name(), n.path); err != nil {
		return err
	}
	n.f = nil
	return syncFolder(n.path)
}

// seal makes the file last and gives it the rights that a new file has.
func (n *newFile) seal() error {
	if err := n.f.Chmod(0o644); err != nil {
		return err
	}
	if err := n.f.Sync(); err != nil {
		return err
	}
	return n.f.Close()
}

func (n *newFile) abort() error {
	if n.f == nil {
		return nil
	}
	name := n.f.Name()
	_ = n.f.Close() // it may have been closed
	n.f = nil
	return os.Remove(name)
}
