package parquet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/freshet-io/freshet/offline"
)

// A manifest says what is merged and what is replaced in a table's folder, see P6. A table in which nothing has been
// replaced has none: its sequence is 0.
type manifest struct {
	Version  int            `json:"version"`
	Seq      int64          `json:"sequence"`
	Merged   []mergedFile   `json:"merged"`
	Replaced []replacedFile `json:"replaced"` // until long after their deletion

	// Covered are the complete ranges of which files were replaced: joined where they meet, sorted. With the names of what
	// is left they say what the table has whole.
	Covered []footerRange `json:"covered"`
}

// A mergedFile is data.
type mergedFile struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Rows  int64  `json:"rows"`
}

// A replacedFile is data no more: its rows are in a merged file, or erased.
type replacedFile struct {
	Path string     `json:"path"`
	At   int64      `json:"at"`             // microseconds
	Keep [][2]int64 `json:"keep,omitempty"` // the offsets whose rows were read from it, [first, end), if not all: see P5
}

// decodeManifest checks the content of a manifest of a sequence.
func decodeManifest(seq int64, content []byte) (*manifest, error) {
	m := new(manifest)
	if err := json.Unmarshal(content, m); err != nil {
		return nil, err
	}
	if m.Version < 1 || m.Version > formatVersion {
		return nil, fmt.Errorf("it has format version %d; this Freshet reads up to %d", m.Version, formatVersion)
	}
	if m.Seq != seq {
		return nil, fmt.Errorf("it is of sequence %d", m.Seq)
	}
	for _, f := range m.Merged {
		if p, ok := parsePath(f.Path); !ok || !p.merged || f.Bytes < 0 || f.Rows < 0 {
			return nil, fmt.Errorf("%q is no merged file", f.Path)
		}
	}
	for _, f := range m.Replaced {
		p, ok := parsePath(f.Path)
		for _, k := range f.Keep {
			ok = ok && !p.merged && p.rng.First <= k[0] && k[0] < k[1] && k[1] <= p.rng.End
		}
		if !ok {
			return nil, fmt.Errorf("%q is no data file that was replaced", f.Path)
		}
	}
	for _, r := range m.Covered {
		if r.First < 0 || r.End <= r.First || r.Partition < 0 || r.Topic == "" {
			return nil, fmt.Errorf("%s is no range", offline.Range(r))
		}
	}
	return m, nil
}

// loadManifest returns the manifest that counts.
func (s *Store) loadManifest(ctx context.Context, table string) (*manifest, error) {
	for {
		seq, err := s.lastSequence(ctx, table)
		if err != nil {
			return nil, err
		}
		if seq == 0 {
			return &manifest{Version: formatVersion}, nil
		}
		name := table + "/" + manifestDir + "/" + manifestName(seq)
		content, err := s.readAll(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a newer one made it superfluous meanwhile
		}
		if err != nil {
			return nil, err
		}
		m, err := decodeManifest(seq, content)
		if err != nil {
			return nil, fmt.Errorf("read manifest %s: %w", s.place.url(name), err)
		}
		return m, nil
	}
}

// lastSequence returns the highest sequence that has a manifest, 0 for none.
func (s *Store) lastSequence(ctx context.Context, table string) (int64, error) {
	objects, err := s.place.list(ctx, table+"/"+manifestDir)
	var seq int64
	for _, o := range objects {
		if n, ok := parseManifestName(o.name[len(folderOf(o.name))+1:]); ok {
			seq = max(seq, n)
		}
	}
	return seq, err
}

func (s *Store) readAll(ctx context.Context, name string) ([]byte, error) {
	f, err := s.place.open(ctx, name, -1)
	if err != nil {
		return nil, err
	}
	content := make([]byte, f.Size())
	_, err = f.ReadAt(content, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return content, errors.Join(err, f.Close())
}

// errChanged is returned where another process replaced files of the table at the same time.
var errChanged = errors.New("another process replaced files of the table at the same time; run it again")

// publish makes m the manifest that counts, if none has come after the one it was made from, and removes what it
// supersedes.
func (s *Store) publish(ctx context.Context, table string, m *manifest) error {
	m.Version, m.Seq = formatVersion, m.Seq+1
	content, err := json.Marshal(m)
	if err != nil {
		return err
	}
	folder := table + "/" + manifestDir + "/"
	err = s.place.createNew(ctx, folder+manifestName(m.Seq), content)
	if errors.Is(err, errExists) {
		return fmt.Errorf("table %s: %w", table, errChanged)
	}
	if err != nil {
		return err
	}
	// Superseded manifests are removed, so the name may have been free again. But the last one never is: if there is none
	// above, this one came after the one that it was made from.
	last, err := s.lastSequence(ctx, table)
	if err != nil {
		return err
	}
	if last > m.Seq {
		return errors.Join(fmt.Errorf("table %s: %w", table, errChanged), s.place.remove(ctx, folder+manifestName(m.Seq)))
	}
	return s.place.remove(ctx, folder+manifestName(m.Seq-1))
}

// next returns a copy of a manifest to change and publish.
func (m *manifest) next() *manifest {
	c := *m
	c.Merged = append([]mergedFile(nil), m.Merged...)
	c.Replaced = append([]replacedFile(nil), m.Replaced...)
	c.Covered = append([]footerRange(nil), m.Covered...)
	return &c
}

// replace takes files out and puts merged ones in.
func (m *manifest) replace(now time.Time, old []*dataFile, merged []mergedFile) {
	gone := make(map[string]bool, len(old))
	for _, f := range old {
		gone[f.path] = true
		r := replacedFile{Path: f.path, At: now.UnixMicro()}
		for _, k := range f.keep {
			r.Keep = append(r.Keep, [2]int64{k.First, k.End})
		}
		m.Replaced = append(m.Replaced, r)
	}
	kept := m.Merged[:0]
	for _, f := range m.Merged {
		if !gone[f.Path] {
			kept = append(kept, f)
		}
	}
	m.Merged = append(kept, merged...)
	var covered []offline.Range
	for _, r := range m.Covered {
		covered = append(covered, offline.Range(r))
	}
	for _, f := range old {
		if !f.merged {
			covered = append(covered, f.rng)
		}
	}
	m.Covered = footerRanges(offline.Join(covered))
}

// cover adds ranges without rows.
func (m *manifest) cover(ranges []offline.Range) {
	for _, r := range m.Covered {
		ranges = append(ranges, offline.Range(r))
	}
	m.Covered = footerRanges(offline.Join(ranges))
}
