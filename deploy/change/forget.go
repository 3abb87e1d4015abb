package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/ingest"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/online"
	"github.com/freshet-io/freshet/internal/spell"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/clickhouse"
	"github.com/freshet-io/freshet/offline/parquet"
	"github.com/freshet-io/freshet/processors"
)

// Forgotten is what Forget did, and what it could not do.
type Forgotten struct {
	Entity  string               `json:"entity"`
	Key     string               `json:"key"`
	Rows    map[string]int64     `json:"rows"` // deleted, by store and table
	Residue []processors.Residue `json:"must_age_out"`
	// Kept are the tables whose rows may be of the entity but do not say so.
	Kept []string `json:"cannot_tell,omitempty"`
}

// ErrNoEntity is wrapped by the refusal of an entity that the plane does not have.
var ErrNoEntity = errors.New("the plane has no such entity")

// Forget erases one entity from state, changelog, online store and offline tables. The processors erase what they keep; they
// have to run. The key is spelled as record keys are: plain text, or a JSON array of several join keys.
func (c *Change) Forget(ctx context.Context, entity, key string, patience time.Duration) (*Forgotten, error) {
	e, err := c.entity(entity)
	if err != nil {
		return nil, err
	}
	vals, err := ingest.ParseRecordKey([]byte(key), e.JoinKeys)
	if err != nil {
		return nil, fmt.Errorf("entity %s: %w", entity, err)
	}
	found, err := c.builder.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range found.Views {
		if v.Dead {
			return nil, fmt.Errorf("feature view %q is being built, or its builder died: run freshet apply to its end first, for what it has read may hold the entity", v.View.Name)
		}
	}
	out := &Forgotten{Entity: e.Name, Key: key, Rows: map[string]int64{}}
	if err := c.builder.Forget(ctx, e, vals, patience); err != nil {
		return nil, err
	}
	if _, err := c.builder.ForgetRetired(ctx, e.Name, vals, found.Retired); err != nil {
		return nil, err
	}
	if err := c.forgetOnline(ctx, e, vals, found); err != nil {
		return nil, err
	}
	places, kept := c.places(e, found.Former)
	out.Kept = kept
	for i := range c.stores {
		if err := c.stores[i].forget(ctx, places, vals, out); err != nil {
			return out, err
		}
	}
	out.Residue, err = c.builder.Residues(ctx, e, found.Former)
	return out, err
}

func (c *Change) entity(name string) (*config.Entity, error) {
	var names []string
	for _, e := range c.plane.Entities {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return nil, fmt.Errorf("%w: %s%s", ErrNoEntity, name, spell.Suggest(name, names))
}

// onlinePatience is how long the processors' last word on an entity may take to reach the online store: they publish what
// they erased, and what was on its way before that arrives first.
const onlinePatience = 10 * time.Second

// forgetOnline deletes the entity's hash when no view has anything in it any more.
func (c *Change) forgetOnline(ctx context.Context, e *config.Entity, vals []feature.Value, found *processors.Inspection) error {
	key, err := feature.AppendKey(nil, vals...)
	if err != nil {
		return err
	}
	name := online.AppendKey(nil, c.plane.Project, e.Name, key)
	for until := c.opts.Now().Add(onlinePatience); c.opts.Now().Before(until); {
		empty, err := c.emptyOnline(ctx, e, string(name), found)
		if err != nil {
			return err
		}
		if empty {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.online.Delete(ctx, [][]byte{name})
}

func (c *Change) emptyOnline(ctx context.Context, e *config.Entity, key string, found *processors.Inspection) (bool, error) {
	for _, v := range found.Views {
		if v.View.Entity != e || v.Recorded == nil {
			continue
		}
		state, err := v.Recorded.State()
		if err != nil {
			return false, err
		}
		head, tail := online.Fields(v.View.Name, state)
		blobs := make([][][]byte, 1)
		if err := c.online.Fetch(ctx, []online.FetchRequest{{Key: key, Fields: []string{head, tail}}}, blobs); err != nil {
			return false, fmt.Errorf("look at the entity in the online store: %w", err)
		}
		var r feature.Reader
		_, at, _, err := r.Read(v.View.Layout, blobs[0][0], blobs[0][1], feature.MaxTime, nil, nil)
		if err != nil && !errors.Is(err, feature.ErrTornBlob) {
			return false, err
		}
		if err != nil || at != feature.NoTime {
			return false, nil
		}
	}
	return true, nil
}

// place is where a table names an entity: the columns of its join keys, in their order.
type place struct {
	table   *offline.Table
	columns []int
	// abandoned: no sink of this definition writes the table.
	abandoned bool
}

// places finds an entity in the offline tables: in the events of the sources of its views, in the logs of its views, of those too
// that are not defined any more or keep no log now, and in the inferences of models that are served its features. kept are
// the tables of models that do not log its join keys.
func (c *Change) places(e *config.Entity, former []processors.FormerView) (todo []place, kept []string) {
	written := map[string]bool{}
	for _, t := range offline.Tables(c.plane) {
		written[t.Name] = true
	}
	add := func(p place) {
		p.abandoned = !written[p.table.Name]
		if !slices.ContainsFunc(todo, func(o place) bool { return o.table.Name == p.table.Name && slices.Equal(o.columns, p.columns) }) {
			todo = append(todo, p)
		}
	}
	for _, v := range c.plane.Views {
		if v.Entity == e {
			add(place{table: offline.EventsTable(v.Source), columns: v.KeyFields})
			t := offline.FeaturesTable(c.plane, v)
			add(place{table: t, columns: t.Key})
		}
	}
	for _, v := range former {
		if v.Entity == e.Name {
			add(formerLog(v.Name, e))
		}
	}
	for _, m := range c.plane.Models {
		if !slices.ContainsFunc(m.Service.Features, func(f config.ServiceFeature) bool { return f.View.Entity == e }) {
			continue
		}
		t := offline.InferencesTable(m)
		if columns := loggedKeys(m, e); columns != nil {
			add(place{table: t, columns: columns})
		} else {
			kept = append(kept, t.Name)
		}
	}
	return todo, kept
}

// formerLog is the log of a view that has left the definition, as far as its key goes.
func formerLog(view string, e *config.Entity) place {
	p := place{table: &offline.Table{Name: "features_" + view, Source: &config.Source{Name: view}}}
	for i, k := range e.JoinKeys {
		p.table.Columns = append(p.table.Columns, offline.Column{Name: k.Name, Type: k.Type})
		p.table.Key, p.columns = append(p.table.Key, i), append(p.columns, i)
	}
	return p
}

// loggedKeys returns the fields of a model's inferences that are an entity's join keys, nil unless all are logged.
func loggedKeys(m *config.Model, e *config.Entity) []int {
	var out []int
	for _, k := range e.JoinKeys {
		i := slices.IndexFunc(m.JoinKeys, func(l config.ModelKey) bool { return l.Name == k.Name && l.Type == k.Type })
		if i < 0 {
			return nil
		}
		out = append(out, m.JoinKeys[i].Field)
	}
	return out
}

// forget deletes the rows of an entity.
func (s *Store) forget(ctx context.Context, places []place, vals []feature.Value, out *Forgotten) error {
	for _, p := range places {
		var rows int64
		var err error
		switch store := s.OfflineStore.(type) {
		case *parquet.Store:
			rows, err = store.Forget(ctx, p.table, parquet.Match{Columns: p.columns, Values: vals, Abandoned: p.abandoned})
		case *clickhouse.Store:
			rows, err = store.Forget(ctx, p.table, p.columns, vals)
		}
		if err != nil {
			return err
		}
		out.Rows[s.Name+" "+p.table.Name] += rows
	}
	return nil
}
