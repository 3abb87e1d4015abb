package parquet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
)

// Store keeps tables in a place. It is safe for concurrent use; two writers of one partition are not, but see P5.
type Store struct {
	place   place
	logger  *slog.Logger
	now     func() time.Time
	known   nameSet // files whose range is known to be complete
	writers writers
}

// Open opens the store that a URL names: file:///folder, s3://bucket/prefix or gs://bucket/prefix. Credentials of a bucket
// come from the environment, as its cloud's own tools take them.
func Open(ctx context.Context, url config.Secret, o Options) (*Store, error) {
	p, err := openPlace(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open the Parquet store: %w", err)
	}
	return newStore(p, o), nil
}

func newStore(p place, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{place: p, logger: o.Logger, now: o.Now}
}

// Close lets the place go. Nothing is pending: what was written is durable.
func (s *Store) Close() error { return s.place.close() }

// nameSet is names that are known to have a property, for ever.
type nameSet struct {
	mu struct {
		sync.Mutex
		names map[string]struct{}
	}
}

func (n *nameSet) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.mu.names[name]
	return ok
}

func (n *nameSet) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.names == nil {
		n.mu.names = map[string]struct{}{}
	}
	n.mu.names[name] = struct{}{}
}

// strayAge is how old a temporary file is that surely nobody writes any more.
const strayAge = 24 * time.Hour

// Prepare checks that a table can be written into its folder: that no file there has one of its columns with another type.
// There is nothing to create or to migrate: a file lacks the columns that were added after it, and reads as null there.
func (s *Store) Prepare(ctx context.Context, t *offline.Table) error {
	stray := s.now().Add(-strayAge)
	if err := s.place.sweep(ctx, t.Name, func(_ string, modified time.Time) bool { return modified.Before(stray) }); err != nil {
		return err
	}
	_, err := s.Plan(ctx, t)
	return err
}

// Plan checks as Prepare does. There are no statements, ever.
func (s *Store) Plan(ctx context.Context, t *offline.Table) ([]string, error) {
	return nil, s.fits(ctx, t)
}

// fits refuses a definition of which the newest file has a column of another type: an offline.ErrDiffers.
func (s *Store) fits(ctx context.Context, t *offline.Table) error {
	l, err := s.listTable(ctx, t.Name)
	if err != nil {
		return err
	}
	sn := sort(t.Name, l)
	var newest *dataFile
	for _, st := range sn.ranges {
		if len(st.files) > 0 {
			newest = st.files[len(st.files)-1]
		}
	}
	if newest == nil && len(sn.files) > 0 {
		newest = sn.files[len(sn.files)-1]
	}
	if newest == nil {
		return nil
	}
	info, err := s.info(ctx, t.Name, newest)
	if err != nil {
		return err
	}
	if _, err := layoutOf(t).union(info.layout); err != nil {
		return fmt.Errorf("%w: table %s: %s: %w", offline.ErrDiffers, t.Name, s.place.url(t.Name+"/"+newest.path), err)
	}
	return nil
}

// Identify returns the id of the topic of which the table has offsets; it is id from now on if none was known. It is the content of an
// object, so that whatever becomes of files, it is known which offsets they have.
func (s *Store) Identify(ctx context.Context, t *offline.Table, topic, id string) (string, error) {
	name := t.Name + "/" + topicDir + "/" + escapeTopic(topic)
	err := s.place.createNew(ctx, name, []byte(id))
	if !errors.Is(err, errExists) {
		return id, err
	}
	known, err := s.readAll(ctx, name)
	return string(known), err
}

// Resume says what the files know of partitions, see P2 to P4. It first removes what writers of the partitions that died
// left half written: the caller is their writer now.
func (s *Store) Resume(ctx context.Context, t *offline.Table, topic string, nums []int32) (map[int32]offline.Place, error) {
	ours := func(p partition) bool { return p.topic == topic && slices.Contains(nums, p.num) }
	if err := s.place.sweep(ctx, t.Name, func(name string, _ time.Time) bool {
		r, ok := parseRangeName(strings.TrimSuffix(name, extension))
		return ok && ours(partitionOf(r))
	}); err != nil {
		return nil, err
	}
	sn, err := s.snapshot(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	out := map[int32]offline.Place{}
	for _, r := range sn.covered() {
		if ours(partitionOf(r)) {
			out[r.Partition] = offline.Place{Next: max(out[r.Partition].Next, r.End)}
		}
	}
	for _, st := range sn.ranges {
		p := out[st.Partition]
		if ours(partitionOf(st.Range)) && !st.complete && st.First >= p.Next && p.Pending == nil {
			r := st.Range
			p.Pending = &r
			out[st.Partition] = p
		}
	}
	return out, nil
}

// Covered returns for each partition of each topic the offsets whose records the table has whole. Where offsets in between
// are missing, because the topic had lost them when they were due, there are several ranges.
func (s *Store) Covered(ctx context.Context, t *offline.Table) ([]offline.Range, error) {
	sn, err := s.snapshot(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	return sn.covered(), nil
}

// File is a data file as other programs read it.
type File struct {
	URL   string
	Day   string
	Bytes int64

	// Keep are the offsets whose rows are read from the file; nil is all of them, as nearly always: see P5.
	Keep []offline.Range
}

// Files returns exactly the files that hold a table at this moment.
func (s *Store) Files(ctx context.Context, table string) ([]File, error) {
	sn, err := s.snapshot(ctx, table)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, f := range sn.files {
		out = append(out, File{URL: s.place.url(table + "/" + f.path), Day: f.day.String(), Bytes: f.bytes, Keep: f.keep})
	}
	return out, nil
}

// opened is a data file that is open for reading.
type opened struct {
	source
	file *pq.File
	info *fileInfo
}

// readBuffer is how much of a column is read at once.
const readBuffer = 256 << 10

// open opens a data file. One that was replaced since it was chosen is found among the retired.
func (s *Store) open(ctx context.Context, table string, f *dataFile, opts ...pq.FileOption) (*opened, error) {
	name := table + "/" + f.path
	src, err := s.place.open(ctx, name, f.bytes)
	if errors.Is(err, fs.ErrNotExist) {
		src, err = s.place.open(ctx, table+"/"+retiredDir+"/"+f.path, f.bytes)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s was replaced, and deleted, after this read had begun; read again: %w", s.place.url(name), err)
	}
	if err != nil {
		return nil, err
	}
	opts = append([]pq.FileOption{pq.SkipBloomFilters(true), pq.ReadBufferSize(readBuffer), pq.OptimisticRead(true)}, opts...)
	o, err := openSource(src, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", s.place.url(name), err), src.Close())
	}
	return o, nil
}

func openSource(src source, opts []pq.FileOption) (*opened, error) {
	file, err := pq.OpenFile(src, src.Size(), opts...)
	if err != nil {
		return nil, err
	}
	text, ok := file.Lookup(footerKey)
	if !ok {
		return nil, fmt.Errorf("its footer has no %q: it was not written by Freshet", footerKey)
	}
	info, err := decodeFooter(text)
	if err != nil {
		return nil, err
	}
	return &opened{source: src, file: file, info: info}, nil
}

// info returns what a file says of itself.
func (s *Store) info(ctx context.Context, table string, f *dataFile) (*fileInfo, error) {
	o, err := s.open(ctx, table, f, pq.SkipPageIndex(true))
	if err != nil {
		return nil, err
	}
	return o.info, o.Close()
}
