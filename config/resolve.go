package config

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/internal/spell"
)

// A resolver turns the form of the files into a Plane: it follows names, compiles expressions, fills in defaults, and
// collects what is wrong. After a mistake it goes on with what is still known, and keeps silent about consequences.
type resolver struct {
	*issues
	spec  *planeSpec
	first string // the first file
	env   expander
	plane *Plane

	entities  map[string]*Entity
	sources   map[string]*Source
	views     map[string]*View
	services  map[string]*Service
	models    map[string]*Model
	baselines map[string]*Baseline
	channels  map[string]*Channel

	entityNames, sourceNames, viewNames, serviceNames names
	modelNames, baselineNames, channelNames           names
	topics                                            map[string]Pos
}

func (r *resolver) resolve() {
	r.entities, r.sources, r.views = map[string]*Entity{}, map[string]*Source{}, map[string]*View{}
	r.services, r.models, r.topics = map[string]*Service{}, map[string]*Model{}, map[string]Pos{}
	r.baselines, r.channels = map[string]*Baseline{}, map[string]*Channel{}
	r.entityNames.kind, r.sourceNames.kind, r.viewNames.kind = "entity", "source", "feature view"
	r.serviceNames.kind, r.modelNames.kind = "feature service", "model"
	r.baselineNames.kind, r.channelNames.kind = "baseline", "channel"

	r.project()
	r.connections()
	r.listen()
	r.processing()
	r.offline()
	for i := range r.spec.Entities {
		r.entity(&r.spec.Entities[i])
	}
	for i := range r.spec.Sources {
		r.source(&r.spec.Sources[i])
	}
	for i := range r.spec.Views {
		r.view(&r.spec.Views[i])
	}
	for i := range r.spec.Services {
		r.service(&r.spec.Services[i])
	}
	r.monitoring()
}

var (
	identifier  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	projectName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	topicName   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)
)

const identifierRule = "letters, digits and _ only, not starting with a digit, at most 64"

// name checks the form of a name that is used in expressions, topics and tables.
func (r *resolver) name(kind string, a At[string]) bool {
	if a.Set && !identifier.MatchString(a.V) {
		r.errorf(a.Pos, "%s name %q is not allowed: %s", kind, a.V, identifierRule)
		return false
	}
	return a.Set
}

// column is name for what becomes a column of an offline table, which has columns of its own besides.
func (r *resolver) column(kind string, a At[string]) bool {
	if a.Set && strings.HasPrefix(a.V, "_") {
		r.errorf(a.Pos, "%s name %q is not allowed: names that begin with _ are Freshet's own columns offline", kind, a.V)
		return false
	}
	return r.name(kind, a)
}

func (r *resolver) project() {
	s := r.spec
	if !s.Project.Set {
		if !s.Project.Bad {
			r.errorf(Pos{File: r.first}, "the definition has no project")
		}
		return
	}
	if !projectName.MatchString(s.Project.V) {
		r.errorf(s.Project.Pos, "project %q is not allowed: lower-case letters, digits, - and _ only, at most 63", s.Project.V)
		return
	}
	r.plane.Project = s.Project.V
	r.plane.Prefix = "freshet." + s.Project.V + "."
	if s.Prefix.Set {
		if !topicName.MatchString(s.Prefix.V) || len(s.Prefix.V) > 100 {
			r.errorf(s.Prefix.Pos, "prefix %q is not allowed: letters, digits, dots, - and _ only, at most 100", s.Prefix.V)
			return
		}
		r.plane.Prefix = s.Prefix.V
	}
}

// listenDefaults are loopback addresses: nothing is open to others unless it is said.
var listenDefaults = Listen{HTTP: "127.0.0.1:6566", GRPC: "127.0.0.1:6567", Admin: "127.0.0.1:6580"}

func (r *resolver) listen() {
	r.plane.Listen = listenDefaults
	s := r.spec.Listen
	if s == nil {
		return
	}
	l := &r.plane.Listen
	used, last := map[string]string{}, Pos{}
	for _, a := range []struct {
		name string
		at   At[string]
		to   *string
	}{{"listen.http", s.HTTP, &l.HTTP}, {"listen.grpc", s.GRPC, &l.GRPC}, {"listen.admin", s.Admin, &l.Admin}} {
		if a.at.Set {
			v, ok := r.env.text(a.name, a.at)
			if !ok {
				continue
			}
			if _, port, err := net.SplitHostPort(v); err != nil || !validPort(port) {
				r.errorf(a.at.Pos, "%s must be an address host:port like 127.0.0.1:6566 or :6566", a.name)
				continue
			}
			*a.to = v
		}
		if other, dup := used[*a.to]; dup && !strings.HasSuffix(*a.to, ":0") {
			at := a.at.Pos
			if !a.at.Set {
				at = last
			}
			r.errorf(at, "%s and %s both listen on %s", other, a.name, *a.to)
		}
		last = cmp.Or(a.at.Pos, last)
		used[*a.to] = a.name
	}
	if s.TLS != nil {
		l.TLS = &TLS{
			Cert:     r.path("listen.tls.cert", s.TLS.Cert),
			Key:      r.path("listen.tls.key", s.TLS.Key),
			ClientCA: r.path("listen.tls.client_ca", s.TLS.ClientCA),
		}
	}
	l.TokensFile = r.path("listen.tokens_file", s.TokensFile)
}

func validPort(p string) bool {
	n := 0
	for _, c := range p {
		if c < '0' || c > '9' {
			return false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return false
		}
	}
	return p != ""
}

// path expands a file name; a relative one is beside the definition.
func (r *resolver) path(what string, a At[string]) string {
	if !a.Set {
		return ""
	}
	p, ok := r.env.text(what, a)
	if !ok || p == "" {
		return ""
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(filepath.Dir(a.File), p)
	}
	return p
}

func (r *resolver) processing() {
	p := &r.plane.Processing
	*p = Processing{
		CommitInterval:   time.Second,
		RouteInterval:    20 * time.Millisecond,
		PublishInterval:  10 * time.Millisecond,
		StateCacheBytes:  512 << 20,
		MaxPendingWrites: 200_000,
	}
	s := r.spec.Processing
	if s == nil {
		s = &processingSpec{}
	}
	r.interval("processing.commit_interval", s.CommitInterval, 10*time.Millisecond, time.Minute, &p.CommitInterval)
	r.interval("processing.route_interval", s.RouteInterval, time.Millisecond, 10*time.Second, &p.RouteInterval)
	r.interval("processing.publish_interval", s.PublishInterval, time.Millisecond, 10*time.Second, &p.PublishInterval)
	if s.StateCacheBytes.Set {
		p.StateCacheBytes = int64(s.StateCacheBytes.V)
		if p.StateCacheBytes < 1<<20 {
			r.errorf(s.StateCacheBytes.Pos, "processing.state_cache_bytes must be at least 1MiB")
		}
	}
	if s.MaxPendingWrites.Set {
		p.MaxPendingWrites = s.MaxPendingWrites.V
		if p.MaxPendingWrites < 1 {
			r.errorf(s.MaxPendingWrites.Pos, "processing.max_pending_writes must be at least 1")
		}
	}
	p.StateDir, p.InstanceID = s.StateDir.V, s.InstanceID.V
	if s.StateDir.Set {
		p.StateDir = r.path("processing.state_dir", s.StateDir)
	} else if dir, err := os.UserCacheDir(); err == nil {
		p.StateDir = filepath.Join(dir, "freshet", r.plane.Project)
	} else {
		p.StateDir = filepath.Join(os.TempDir(), "freshet", r.plane.Project)
	}
	if s.InstanceID.Set {
		p.InstanceID, _ = r.env.text("processing.instance_id", s.InstanceID)
	} else if host, err := os.Hostname(); err == nil {
		p.InstanceID = host
	}
}

func (r *resolver) offline() {
	o := &r.plane.Offline
	*o = Offline{FlushInterval: 5 * time.Second, FlushRows: 100_000, Memory: 128 << 20}
	s := r.spec.Offline
	if s == nil {
		return
	}
	r.interval("offline.flush_interval", s.FlushInterval, 10*time.Millisecond, time.Hour, &o.FlushInterval)
	if s.FlushRows.Set {
		o.FlushRows = s.FlushRows.V
		if o.FlushRows < 1 || o.FlushRows > 1_000_000 { // beyond it a server splits a batch where it likes
			r.errorf(s.FlushRows.Pos, "offline.flush_rows must be from 1 to 1000000")
		}
	}
	if s.Memory.Set {
		o.Memory = int64(s.Memory.V)
		if o.Memory < 16<<20 {
			r.errorf(s.Memory.Pos, "offline.memory must be at least 16MiB")
		}
	}
}

// interval sets *to from a duration within bounds, if one is given.
func (r *resolver) interval(what string, a At[time.Duration], least, most time.Duration, to *time.Duration) bool {
	if !a.Set {
		return true
	}
	if a.V < least || a.V > most {
		r.errorf(a.Pos, "%s must be from %s to %s, not %s", what, formatDuration(least), formatDuration(most), formatDuration(a.V))
		return false
	}
	*to = a.V
	return true
}

func (r *resolver) entity(s *entitySpec) {
	r.name("entity", s.Name)
	if !r.entityNames.add(r.issues, s.Name) {
		return
	}
	e := &Entity{Name: s.Name.V, Description: s.Description.V}
	keys := names{kind: "join key"}
	for _, k := range s.JoinKeys {
		r.column("join key", k.Name)
		if !keys.add(r.issues, k.Name) {
			continue
		}
		t, err := feature.ParseType(k.Type.V)
		if !k.Type.Set || err != nil {
			r.entities[s.Name.V] = nil
			continue
		}
		e.JoinKeys = append(e.JoinKeys, Field{Name: k.Name.V, Type: t, Required: true})
	}
	if s.JoinKeys != nil && len(s.JoinKeys) == 0 && s.Name.Set {
		r.errorf(s.Name.Pos, "entity %q has no join keys", s.Name.V)
	}
	if _, broken := r.entities[s.Name.V]; !broken {
		r.entities[s.Name.V] = e
		r.plane.Entities = append(r.plane.Entities, e)
	}
}

// lookup finds what a reference names in a section, or says that it does not exist.
func lookup[T any](r *resolver, a At[string], all map[string]T, known *names) (T, bool) {
	v, ok := all[a.V]
	if !a.Set {
		return v, false
	}
	if _, exists := known.first[a.V]; !exists {
		r.errorf(a.Pos, "unknown %s %q%s", known.kind, a.V, spell.Suggest(a.V, known.sorted()))
		return v, false
	}
	return v, ok
}

// fieldIndex returns the index of a named field, or says that the source has none.
func (r *resolver) fieldIndex(a At[string], src *Source) int {
	if !a.Set {
		return -1
	}
	i := slices.IndexFunc(src.Schema, func(f Field) bool { return f.Name == a.V })
	if i < 0 {
		r.errorf(a.Pos, "unknown field %q of source %s%s", a.V, src.Name, spell.Suggest(a.V, fieldNames(src.Schema)))
	}
	return i
}

func fieldNames(fs []Field) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.Name
	}
	return out
}
