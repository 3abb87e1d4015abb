package parquet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/offline"
)

// CompactOptions say how far files are merged. Zero values mean the defaults.
type CompactOptions struct {
	Target int64         // bytes that a merged file should have; a file of half of it is left alone; default 128 MiB
	Grace  time.Duration // how long replaced files stay for those who are reading them; default 15 minutes, negative: none
}

const (
	defaultTarget = 128 << 20
	defaultGrace  = 15 * time.Minute

	// forgetAfter is how long a manifest names a replaced file after its deletion. Until then a writer that lost its
	// partition, slept, and now puts a file of that name does no harm.
	forgetAfter = 24 * time.Hour

	// mergeMemory bounds the pages that the inputs of one merge hold.
	mergeMemory = 96 << 20
)

// Compacted is what a compaction did.
type Compacted struct {
	Replaced int   // files whose rows are in merged ones now
	Merged   int   // files that were made of them
	Rows     int64 // in these
	Deleted  int   // files that were replaced before, and whose grace period is over
}

// Compact merges the small files of each day of a table. Readers of this package see every row once at each moment, see P6 to
// P8; it may be ended at any moment and run again. Who lists the folder without the manifest sees a row twice from the moment
// when a merged file appears until those that it replaces have been moved away, right after.
func (s *Store) Compact(ctx context.Context, table string, o CompactOptions) (Compacted, error) {
	if o.Target == 0 {
		o.Target = defaultTarget
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	o.Grace = max(o.Grace, 0)
	var done Compacted
	sn, err := s.snapshot(ctx, table)
	if err != nil {
		return done, err
	}
	c := &compaction{store: s, table: table, options: o, current: sn.manifest, done: &done}
	if err := c.tidy(ctx, sn); err != nil {
		return done, err
	}
	for _, group := range groups(sn.files, o.Target) {
		if err := c.merge(ctx, group); err != nil {
			return done, err
		}
	}
	if err := c.publish(ctx); err != nil {
		return done, err
	}
	if o.Grace == 0 && done.Replaced > 0 {
		if sn, err = s.snapshot(ctx, table); err != nil {
			return done, err
		}
		c.current = sn.manifest
		return done, c.tidy(ctx, sn)
	}
	return done, nil
}

// compaction is one Compact under way.
type compaction struct {
	store   *Store
	table   string
	options CompactOptions
	current *manifest // that counts, unless another process published
	done    *Compacted

	// Merged and not yet published, since when.
	old    []*dataFile
	merged []mergedFile
	since  time.Time
}

// groups returns the files that are merged with each other: small ones of a day, and those of which not all rows are
// read.
func groups(files []*dataFile, target int64) [][]*dataFile {
	var out [][]*dataFile
	var group []*dataFile
	var size, memory int64
	end := func() {
		if len(group) > 1 || len(group) == 1 && group[0].keep != nil {
			out = append(out, group)
		}
		group, size, memory = nil, 0, 0
	}
	for _, f := range files { // sorted by path: by day
		if len(group) > 0 && group[0].day != f.day {
			end()
		}
		if f.bytes >= target/2 && f.keep == nil {
			continue
		}
		// A small file's pages are about all of it, unpacked; of a large one a page a column is held.
		cost := min(6*f.bytes, 8<<20)
		if len(group) > 0 && (size+f.bytes > target || memory+cost > mergeMemory) {
			end()
		}
		group, size, memory = append(group, f), size+f.bytes, memory+cost
	}
	end()
	return out
}

// publishEvery is how often the manifest changes while a compaction goes on: seldom enough for readers to list a table in
// between, see P7.
const publishEvery = 2 * time.Second

// merge puts the rows of files into one, and publishes it and others if it is time.
func (c *compaction) merge(ctx context.Context, files []*dataFile) error {
	if len(c.old) == 0 {
		c.since = c.store.now()
	}
	m, _, err := c.store.rewrite(ctx, c.table, c.current.Seq, files, nil)
	if err != nil {
		return err
	}
	if m != nil {
		c.merged = append(c.merged, *m)
	}
	c.old = append(c.old, files...)
	if c.store.now().Sub(c.since) < publishEvery {
		return nil
	}
	return c.publish(ctx)
}

// publish puts what has been merged in the place of what it was made of.
func (c *compaction) publish(ctx context.Context) error {
	if len(c.old) == 0 {
		return nil
	}
	next := c.current.next()
	next.replace(c.store.now(), c.old, c.merged)
	if err := c.store.publish(ctx, c.table, next); err != nil {
		return err
	}
	c.current = next
	c.done.Replaced += len(c.old)
	c.done.Merged += len(c.merged)
	for _, m := range c.merged {
		c.done.Rows += m.Rows
	}
	old := c.old
	c.old, c.merged = nil, nil
	for _, f := range old {
		if err := c.store.retire(ctx, c.table, f.path); err != nil {
			return err
		}
	}
	return nil
}

// retire moves a replaced file to where only those look for it who chose it before.
func (s *Store) retire(ctx context.Context, table, path string) error {
	return s.place.move(ctx, table+"/"+path, table+"/"+retiredDir+"/"+path)
}

// tidy finishes what compactions before this one left: it moves away what they replaced, deletes what has had its grace,
// forgets what was deleted long ago, and turns the marks of ranges without rows into a line of the manifest.
func (c *compaction) tidy(ctx context.Context, sn *snapshot) error {
	s := c.store
	for _, path := range sn.dead {
		if err := s.place.remove(ctx, c.table+"/"+path); err != nil {
			return err
		}
	}
	now := s.now()
	next := c.current.next()
	kept := next.Replaced[:0]
	for _, f := range next.Replaced {
		age := now.Sub(time.UnixMicro(f.At))
		retired := retiredDir + "/" + f.Path
		switch {
		case age < c.options.Grace && sn.present[f.Path]:
			if err := s.retire(ctx, c.table, f.Path); err != nil {
				return err
			}
		case age >= c.options.Grace:
			for _, path := range []string{f.Path, retired} {
				if !sn.present[path] {
					continue
				}
				if err := s.place.remove(ctx, c.table+"/"+path); err != nil {
					return err
				}
				c.done.Deleted++
			}
		}
		if age < c.options.Grace+forgetAfter {
			kept = append(kept, f)
		}
	}
	forgotten := len(next.Replaced) - len(kept)
	next.Replaced = kept
	marks := make([]offline.Range, 0, len(sn.marks))
	for _, st := range sn.marks {
		marks = append(marks, st.Range)
	}
	if forgotten == 0 && len(marks) == 0 {
		return nil
	}
	next.cover(marks)
	if err := s.publish(ctx, c.table, next); err != nil {
		return err
	}
	c.current = next
	for _, r := range marks {
		if err := s.place.remove(ctx, c.table+"/"+emptyDir+"/"+rangeName(r)); err != nil {
			return err
		}
	}
	return nil
}

// purge deletes every replaced file of a table at once, whoever may be reading it.
func (s *Store) purge(ctx context.Context, sn *snapshot) error {
	paths := slices.Clone(sn.dead)
	for _, f := range sn.manifest.Replaced {
		paths = append(paths, f.Path, retiredDir+"/"+f.Path)
	}
	for path := range sn.present {
		if strings.HasPrefix(path, retiredDir+"/") && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		if !sn.present[path] {
			continue
		}
		if err := s.place.remove(ctx, sn.table+"/"+path); err != nil {
			return err
		}
	}
	return nil
}
