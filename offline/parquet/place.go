package parquet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
)

// An object is a file as a listing has it. Names are relative to the place, with slashes.
type object struct {
	name     string
	size     int64
	modified time.Time
}

// A place keeps files: a folder, or a part of a bucket. Its errors name the file and say what was being done.
type place interface {
	// list returns the objects whose names begin with folder and a slash, in any order. It is no snapshot: of what changes
	// meanwhile it has each or has it not. What is being written is not in it.
	list(ctx context.Context, folder string) ([]object, error)

	// open opens an object for reading; os.ErrNotExist if there is none. What was opened can be read to its end or fails,
	// whatever becomes of the name.
	open(ctx context.Context, name string, size int64) (source, error)

	// create makes an object of what write writes, whole and durable, over one of that name, or returns an error and
	// leaves what was there.
	create(ctx context.Context, name string, write func(io.Writer) error) error

	// createNew makes a small object, whole and durable, if there is none of that name, and else returns errExists.
	createNew(ctx context.Context, name string, content []byte) error

	// remove deletes an object; that there is none is no error.
	remove(ctx context.Context, name string) error

	// move gives an object another name. Where it fails it may have both. That there is none is no error.
	move(ctx context.Context, from, to string) error

	// sweep deletes what writers that died left of a table: the temporary files that due says yes to, given the last part
	// of the name that they were to have and the time when they were last written. A bucket has none.
	sweep(ctx context.Context, table string, due func(name string, modified time.Time) bool) error

	// url returns an object's name for other programs.
	url(name string) string

	close() error
}

// source is an object that is open for reading.
type source interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// errExists is returned by place.createNew when another was quicker.
var errExists = errors.New("it exists")

// openPlace opens the place that a URL names: file:///folder, s3://bucket/prefix or gs://bucket/prefix.
func openPlace(ctx context.Context, raw config.Secret) (place, error) {
	u, err := url.Parse(string(raw))
	if err != nil {
		return nil, errors.New("connections.parquet.url is no URL") // its text may hold a secret
	}
	if u.Scheme == "file" {
		return newDisk(u.Path)
	}
	return openBucket(ctx, u)
}

func folderOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// Options are what a Store needs besides its place.
type Options struct {
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
}
