package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/sql"
)

// fileViews are DuckDB's views of a plane's Parquet files, of those that counted when they were listed.
type fileViews struct {
	statements string   // which make them
	files      []string // names or URLs
}

// parquetViews lists the files of every table of a plane.
func (a *app) parquetViews(ctx context.Context, plane *config.Plane, folder string) (_ *fileViews, err error) {
	store, err := openParquet(ctx, a, plane, folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	out := &fileViews{}
	var views []sql.View
	for _, t := range offline.Tables(plane) {
		files, err := store.Files(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		views = append(views, sql.View{Table: t, Files: files})
		for _, f := range files {
			out.files = append(out.files, f.URL)
		}
	}
	out.statements = sql.DuckDB(views)
	return out, nil
}

// replaced reports whether a file of a folder has gone since they were listed: a compaction has merged it, or rows of it were
// forgotten.
func (v *fileViews) replaced() bool {
	for _, f := range v.files {
		if _, err := os.Stat(f); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// listings is how many listings of the files a question may need. A compaction replaces the files of each table once.
const listings = 10

// overFiles asks DuckDB in this process over the files of a plane, which has to be a folder. DuckDB opens files by name while it
// reads; where they were replaced meanwhile the question fails whole, and is asked again over those that there are then.
func (a *app) overFiles(ctx context.Context, plane *config.Plane, folder string, ask func(views string) error) error {
	address, err := parquetAddress(plane, folder)
	if err != nil {
		return err
	}
	if scheme, _, _ := strings.Cut(string(address), "://"); scheme != "file" {
		return fmt.Errorf("the Parquet files are at %s://, and DuckDB in this process reads folders: ask ClickHouse, or DuckDB's own shell with its extension for buckets (freshet sql --views)", scheme)
	}
	for n := 1; ; n++ {
		views, err := a.parquetViews(ctx, plane, folder)
		if err != nil {
			return err
		}
		if err = ask(views.statements); err == nil || n == listings || ctx.Err() != nil || !views.replaced() {
			return err
		}
	}
}
