package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/freshet-io/freshet/config"
)

// loadPlane writes a definition to a folder of its own in dir, which becomes the state's too, and loads it as a user's
// would be. remove removes the folder.
func loadPlane(dir string, tmpl *template.Template, data any) (p *config.Plane, remove func() error, err error) {
	if dir, err = os.MkdirTemp(dir, "freshet-bench-"); err != nil {
		return nil, nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	var b bytes.Buffer
	file := filepath.Join(dir, "plane.yaml")
	err = tmpl.Execute(&b, data)
	if err == nil {
		err = os.WriteFile(file, b.Bytes(), 0o600)
	}
	if err == nil {
		p, err = config.Load(file)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the definition of the run: %w", err), remove())
	}
	p.Processing.StateDir, p.Processing.InstanceID = filepath.Join(dir, "state"), "bench"
	return p, remove, nil
}
