//go:build !nobuckets

package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/gcsblob" // gs://
	_ "gocloud.dev/blob/s3blob"  // s3://
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

// bucket is a place in a part of a bucket. The bucket's own guarantees carry it: a put is whole, and seen by every later
// listing; a put that asks for a free name is refused if the name is taken.
type bucket struct {
	blobs  *blob.Bucket
	prefix string // empty, or ends with a slash
	base   string // the URL of the bucket, for other programs
}

func openBucket(ctx context.Context, u *url.URL) (*bucket, error) {
	b := &bucket{base: u.Scheme + "://" + u.Host + "/"}
	if b.prefix = strings.Trim(u.Path, "/"); b.prefix != "" {
		b.prefix += "/"
	}
	name := *u
	name.Path = ""
	blobs, err := blob.DefaultURLMux().OpenBucket(ctx, name.String())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.base, err)
	}
	b.blobs = blobs
	return b, nil
}

func (b *bucket) key(name string) string { return b.prefix + name }

func (b *bucket) url(name string) string { return b.base + b.key(name) }

func (b *bucket) close() error { return b.blobs.Close() }

// failed says what was being done to which object, in errors that os.ErrNotExist tells apart.
func (b *bucket) failed(doing, name string, err error) error {
	if absent(err) {
		err = errors.Join(fs.ErrNotExist, err)
	}
	return fmt.Errorf("%s %s: %w", doing, b.url(name), err)
}

// absent reports whether there is no such object. Cloud Storage's driver says the same of one that it is forbidden to touch, which may
// well be there.
func absent(err error) bool {
	var answer *googleapi.Error
	if errors.As(err, &answer) && answer.Code == http.StatusForbidden {
		return false
	}
	return gcerrors.Code(err) == gcerrors.NotFound
}

func (b *bucket) list(ctx context.Context, folder string) ([]object, error) {
	var out []object
	it := b.blobs.List(&blob.ListOptions{Prefix: b.key(folder + "/")})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, b.failed("list", folder, err)
		}
		out = append(out, object{name: strings.TrimPrefix(o.Key, b.prefix), size: o.Size, modified: o.ModTime})
	}
}

// wholeObject is the size up to which an object is read at once: one request for all its columns is cheaper than one
// for each.
const wholeObject = 32 << 20

func (b *bucket) open(ctx context.Context, name string, size int64) (source, error) {
	if size < 0 {
		a, err := b.blobs.Attributes(ctx, b.key(name))
		if err != nil {
			return nil, b.failed("open", name, err)
		}
		size = a.Size
	}
	o := &bucketObject{bucket: b, ctx: ctx, name: name, size: size}
	if size <= wholeObject {
		content, err := b.blobs.ReadAll(ctx, b.key(name))
		if err != nil {
			return nil, b.failed("open", name, err)
		}
		o.content, o.size = content, int64(len(content))
	}
	return o, nil
}

// bucketObject is a source in a bucket: in memory if it is small, else read by ranges. Objects of ranges that count are never
// changed under their name but by equal ones, so that ranges of different requests fit together.
type bucketObject struct {
	bucket  *bucket
	ctx     context.Context // of whoever opened it: io.ReaderAt has none
	name    string
	size    int64
	content []byte
}

func (o *bucketObject) Size() int64 { return o.size }

func (o *bucketObject) Close() error { return nil }

func (o *bucketObject) ReadAt(p []byte, off int64) (int, error) {
	if off >= o.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), o.size-off)
	if o.content != nil {
		copy(p, o.content[off:off+want])
	} else if err := o.fetch(p[:want], off); err != nil {
		return 0, o.bucket.failed("read", o.name, err)
	}
	if want < int64(len(p)) {
		return int(want), io.EOF
	}
	return int(want), nil
}

func (o *bucketObject) fetch(p []byte, off int64) error {
	r, err := o.bucket.blobs.NewRangeReader(o.ctx, o.bucket.key(o.name), off, int64(len(p)), nil)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, p)
	return errors.Join(err, r.Close())
}

func (b *bucket) create(ctx context.Context, name string, write func(io.Writer) error) error {
	return b.put(ctx, name, write, false)
}

func (b *bucket) createNew(ctx context.Context, name string, content []byte) error {
	return b.put(ctx, name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}, true)
}

// put writes an object. Until the writer is closed without an error nothing of it can be seen; a context that is cancelled
// before ends the upload.
func (b *bucket) put(ctx context.Context, name string, write func(io.Writer) error, fresh bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.blobs.NewWriter(ctx, b.key(name), &blob.WriterOptions{IfNotExist: fresh, ContentType: "application/octet-stream"})
	if err != nil {
		return b.failed("write", name, err)
	}
	if err := write(w); err != nil {
		cancel()
		_ = w.Close() // it ends the upload, with the error of the context
		return b.failed("write", name, err)
	}
	err = w.Close()
	if fresh && gcerrors.Code(err) == gcerrors.FailedPrecondition {
		err = errExists
	}
	if err != nil {
		return b.failed("write", name, err)
	}
	return nil
}

func (b *bucket) remove(ctx context.Context, name string) error {
	err := b.blobs.Delete(ctx, b.key(name))
	if err == nil || absent(err) {
		return nil
	}
	return b.failed("delete", name, err)
}

func (b *bucket) move(ctx context.Context, from, to string) error {
	err := b.blobs.Copy(ctx, b.key(to), b.key(from), nil)
	if absent(err) {
		return nil
	}
	if err != nil {
		return b.failed("move", from, err)
	}
	return b.remove(ctx, from)
}

func (b *bucket) sweep(context.Context, string, func(string, time.Time) bool) error { return nil }
