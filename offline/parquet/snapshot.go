package parquet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/offline"
)

// A snapshot is what a table's folder holds at one moment, as every reader sees it.
type snapshot struct {
	table    string
	manifest *manifest
	files    []*dataFile     // to read, sorted by path
	ranges   []*stored       // of files and marks, replaced ones too; sorted
	marks    []*stored       // those of ranges that have only a mark in _empty
	dead     []string        // names of merged files that nobody can name any more, see P9
	present  map[string]bool // replaced and retired files that are still there
}

// A dataFile is a file to read.
type dataFile struct {
	path   string // in the table's folder
	day    day
	bytes  int64
	merged bool
	rng    offline.Range   // of a file that is not merged
	keep   []offline.Range // offsets whose rows are read from it; nil: all
}

// keeps reports whether the row of an offset is read from the file.
func (f *dataFile) keeps(offset int64) bool {
	return f.keep == nil || slices.ContainsFunc(f.keep, func(r offline.Range) bool { return r.First <= offset && offset < r.End })
}

// stored is a range that has files, or had.
type stored struct {
	offline.Range
	files    []*dataFile
	days     map[day]bool // that have a file, or had one that was replaced
	mark     bool         // it is complete and without rows
	replaced bool         // a file of it was replaced: it was complete then
	complete bool
	keep     []offline.Range // the offsets that are read from its files
}

// listing is the names of a table's folder while one manifest counted.
type listing struct {
	objects  []object
	begun    map[offline.Range]bool // that had a name already when an earlier listing ended
	manifest *manifest
}

// maxListings bounds how often a listing is begun anew because the manifest changed meanwhile; compactions change it every
// few seconds at most.
const maxListings = 30

// listTable lists a table by the rule of P7.
func (s *Store) listTable(ctx context.Context, table string) (*listing, error) {
	for try := range maxListings {
		before, err := s.loadManifest(ctx, table)
		if err != nil {
			return nil, err
		}
		l := &listing{begun: map[offline.Range]bool{}}
		earlier, err := s.place.list(ctx, table)
		if err != nil {
			return nil, err
		}
		for _, o := range earlier {
			if r, ok := rangeOfName(strings.TrimPrefix(o.name, table+"/")); ok {
				l.begun[r] = true
			}
		}
		if l.objects, err = s.place.list(ctx, table); err != nil {
			return nil, err
		}
		if l.manifest, err = s.loadManifest(ctx, table); err != nil {
			return nil, err
		}
		if l.manifest.Seq == before.Seq {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(try) * 20 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("list table %s: its files are replaced faster than they can be listed", table)
}

// rangeOfName returns the range of a file or a mark of a table's folder.
func rangeOfName(name string) (offline.Range, bool) {
	if mark, ok := strings.CutPrefix(name, emptyDir+"/"); ok {
		return parseRangeName(mark)
	}
	p, ok := parsePath(name)
	return p.rng, ok && !p.merged
}

// snapshot returns what a table holds.
func (s *Store) snapshot(ctx context.Context, table string) (*snapshot, error) {
	l, err := s.listTable(ctx, table)
	if err != nil {
		return nil, err
	}
	sn := sort(table, l)
	if err := s.judge(ctx, sn); err != nil {
		return nil, err
	}
	sn.resolve()
	return sn, nil
}

// sort puts the names of a listing into a snapshot; which ranges are complete and what is read of which file is still
// to be found out.
func sort(table string, l *listing) *snapshot {
	sn := &snapshot{table: table, manifest: l.manifest, present: map[string]bool{}}
	byRange := map[offline.Range]*stored{}
	rangeOf := func(r offline.Range) *stored {
		st := byRange[r]
		if st == nil {
			st = &stored{Range: r, days: map[day]bool{}}
			byRange[r] = st
			sn.ranges = append(sn.ranges, st)
		}
		return st
	}
	replaced := make(map[string]bool, len(l.manifest.Replaced))
	for _, f := range l.manifest.Replaced {
		replaced[f.Path] = true
		if p, _ := parsePath(f.Path); !p.merged {
			st := rangeOf(p.rng)
			st.replaced, st.days[p.day], st.keep = true, true, []offline.Range{p.rng}
			if len(f.Keep) > 0 {
				st.keep = nil
			}
			for _, k := range f.Keep {
				st.keep = append(st.keep, offline.Range{Topic: p.rng.Topic, Partition: p.rng.Partition, First: k[0], End: k[1]})
			}
		}
	}
	merged := map[string]bool{}
	for _, f := range l.manifest.Merged {
		p, _ := parsePath(f.Path)
		merged[f.Path] = true
		sn.files = append(sn.files, &dataFile{path: f.Path, day: p.day, bytes: f.Bytes, merged: true})
	}
	for _, o := range l.objects {
		name := strings.TrimPrefix(o.name, table+"/")
		if mark, ok := strings.CutPrefix(name, emptyDir+"/"); ok {
			if r, ok := parseRangeName(mark); ok && l.begun[r] {
				rangeOf(r).mark = true
			}
			continue
		}
		if strings.HasPrefix(name, retiredDir+"/") {
			sn.present[name] = true
			continue
		}
		p, ok := parsePath(name)
		switch {
		case !ok:
		case replaced[name]:
			sn.present[name] = true
		case p.merged && !merged[name]:
			if p.base < l.manifest.Seq {
				sn.dead = append(sn.dead, name)
				sn.present[name] = true
			}
		case !p.merged && l.begun[p.rng]:
			st := rangeOf(p.rng)
			st.files = append(st.files, &dataFile{path: name, day: p.day, bytes: o.size, rng: p.rng})
			st.days[p.day] = true
		}
	}
	slices.SortFunc(sn.ranges, func(a, b *stored) int { return offline.CompareRanges(a.Range, b.Range) })
	return sn
}

// judge finds out which ranges are complete. By P3 that is all of them but the newest of a partition, unless they
// overlap: then, and of the newest, a footer is asked.
func (s *Store) judge(ctx context.Context, sn *snapshot) error {
	var covered []offline.Range
	for _, r := range sn.manifest.Covered {
		covered = append(covered, offline.Range(r))
	}
	for i, st := range sn.ranges {
		if st.mark || st.replaced || within(st.Range, covered) {
			st.complete = true
			continue
		}
		newest := i+1 == len(sn.ranges) || partitionOf(sn.ranges[i+1].Range) != partitionOf(st.Range)
		if newest || sn.disputed(i) {
			complete, err := s.complete(ctx, sn.table, st)
			if err != nil {
				return err
			}
			st.complete = complete
			continue
		}
		st.complete = true
	}
	return nil
}

// disputed reports whether range i overlaps another.
func (sn *snapshot) disputed(i int) bool {
	r := sn.ranges[i].Range
	for j := i + 1; j < len(sn.ranges) && overlap(r, sn.ranges[j].Range); j++ {
		return true
	}
	// Ranges before it end where they like: usually the one just before it ends at its beginning.
	for j := i - 1; j >= 0 && partitionOf(sn.ranges[j].Range) == partitionOf(r); j-- {
		if overlap(r, sn.ranges[j].Range) {
			return true
		}
		if sn.ranges[j].End == r.First {
			break
		}
	}
	return false
}

// complete reports whether every day of a range has its file.
func (s *Store) complete(ctx context.Context, table string, st *stored) (bool, error) {
	key := table + "/" + st.files[0].path
	if s.known.has(key) {
		return true, nil
	}
	info, err := s.info(ctx, table, st.files[0])
	if err != nil {
		return false, err
	}
	for _, d := range info.days {
		if !st.days[d] {
			return false, nil
		}
	}
	s.known.add(key)
	return true, nil
}

// resolve says which files are read, and which of their rows, by the rule of P5.
func (sn *snapshot) resolve() {
	taken := map[partition][]offline.Range{}
	take := func(p partition, keep []offline.Range) {
		have := taken[p]
		if n := len(have) - 1; n >= 0 && len(keep) == 1 && keep[0].First == have[n].End {
			have[n].End = keep[0].End // as nearly always: it goes on where the one before ended
			return
		}
		taken[p] = offline.Join(append(have, keep...))
	}
	for _, st := range sn.ranges {
		if st.replaced {
			take(partitionOf(st.Range), st.keep)
		}
	}
	for _, st := range sn.ranges {
		if !st.complete {
			continue
		}
		if !st.replaced {
			st.keep = subtract(st.Range, taken[partitionOf(st.Range)])
			take(partitionOf(st.Range), st.keep)
		}
		if len(st.keep) == 0 {
			continue // every offset of it is another's
		}
		for _, f := range st.files {
			if len(st.keep) != 1 || st.keep[0] != st.Range {
				f.keep = st.keep
			}
			sn.files = append(sn.files, f)
		}
		if st.mark && len(st.files) == 0 {
			sn.marks = append(sn.marks, st)
		}
	}
	slices.SortFunc(sn.files, func(a, b *dataFile) int { return strings.Compare(a.path, b.path) })
}

// covered returns the offsets that the table has whole, joined.
func (sn *snapshot) covered() []offline.Range {
	var out []offline.Range
	for _, r := range sn.manifest.Covered {
		out = append(out, offline.Range(r))
	}
	for _, st := range sn.ranges {
		if st.complete {
			out = append(out, st.Range)
		}
	}
	return offline.Join(out)
}
