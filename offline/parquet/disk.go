package parquet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// disk is a place in a folder of a file system that has fsync, rename and hard links.
type disk struct{ root string }

func newDisk(root string) (*disk, error) {
	abs, err := filepath.Abs(filepath.FromSlash(root))
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", root, err)
	}
	return &disk{root: abs}, nil
}

func (d *disk) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

func (d *disk) url(name string) string { return filepath.ToSlash(d.path(name)) }

func (d *disk) close() error { return nil }

func (d *disk) list(ctx context.Context, folder string) ([]object, error) {
	var out []object
	skip := d.path(folder + "/" + tempDir)
	err := filepath.WalkDir(d.path(folder), func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went meanwhile, or was never there
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() && path == skip:
			return filepath.SkipDir
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.root, path)
		out = append(out, object{name: filepath.ToSlash(rel), size: info.Size(), modified: info.ModTime()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path(folder), err)
	}
	return out, nil
}

// diskFile is a source on disk.
type diskFile struct {
	*os.File
	size int64
}

func (f *diskFile) Size() int64 { return f.size }

func (d *disk) open(_ context.Context, name string, _ int64) (source, error) {
	f, err := os.Open(d.path(name)) // its error names the file
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &diskFile{File: f, size: info.Size()}, nil
}

// write puts content into a new temporary file of the table that name belongs to, synced, and returns its path.
func (d *disk) write(name string, write func(io.Writer) error) (temp string, err error) {
	table, _, _ := strings.Cut(name, "/")
	dir := d.path(table + "/" + tempDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	temp = filepath.Join(dir, filepath.Base(d.path(name))+"."+rand.Text())
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	return temp, nil
}

func (d *disk) create(ctx context.Context, name string, write func(io.Writer) error) error {
	return d.place(ctx, name, write, os.Rename)
}

func (d *disk) createNew(ctx context.Context, name string, content []byte) error {
	return d.place(ctx, name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}, func(temp, path string) error {
		err := os.Link(temp, path) // a link is made only if the name is free
		if errors.Is(err, fs.ErrExist) {
			err = errExists
		}
		return errors.Join(err, os.Remove(temp))
	})
}

// place writes a temporary file and lets publish give it its name.
func (d *disk) place(ctx context.Context, name string, write func(io.Writer) error, publish func(temp, path string) error) error {
	path := d.path(name)
	temp, err := d.write(name, write)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(temp))
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(temp))
	}
	if err := publish(temp, path); err != nil {
		_ = os.Remove(temp) // the first error tells what is wrong; what stays is swept
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// makeFolder makes a folder and those above it, durably.
func makeFolder(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFolder(filepath.Dir(path)); err != nil {
			return err
		}
		if err = os.Mkdir(path, 0o755); errors.Is(err, fs.ErrExist) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *disk) remove(_ context.Context, name string) error {
	err := os.Remove(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_ = os.Remove(filepath.Dir(d.path(name))) // a day's folder goes with its last file; it fails if it has another
	}
	return err
}

func (d *disk) move(_ context.Context, from, to string) error {
	if err := makeFolder(filepath.Dir(d.path(to))); err != nil {
		return err
	}
	err := os.Rename(d.path(from), d.path(to))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *disk) sweep(_ context.Context, table string, due func(string, time.Time) bool) error {
	dir := d.path(table + "/" + tempDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !due(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), info.ModTime()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return nil
}
