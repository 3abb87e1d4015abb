package processors

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// A ViewRecord is what the plane topic holds of a view, keyed by its name: the definition under which its state is built
// and the epoch of its versions. It is JSON, for people.
type ViewRecord struct {
	View        string `json:"view"`
	Fingerprint string `json:"fingerprint"`
	Definition  string `json:"definition"`
	Topic       string `json:"topic"`
	TopicID     string `json:"topic_id"` // of the source topic
	Partitions  int32  `json:"partitions"`
	Epoch       uint64 `json:"epoch"` // Unix milliseconds at which this was first recorded

	// Generation tells states of one definition apart: 0 is built by the processors from the topic, the others by a Builder.
	Generation uint32     `json:"generation,omitempty"`
	Bootstrap  *Bootstrap `json:"bootstrap,omitempty"` // nil for generation 0
	// Previous are states of this view that processes with an older definition go on with. They are kept until they are dropped.
	Previous []ViewRecord `json:"previous,omitempty"`
	// Dropped says that the state has been deleted; what remains keeps its generation from being used again.
	Dropped bool `json:"dropped,omitempty"`
	// Used is the highest generation that a state which has been deleted had, where that is above Generation.
	Used uint32 `json:"used_generation,omitempty"`
	// Building marks the record, under a name of its own, of a state that is being built, or whose builder died.
	Building bool `json:"building,omitempty"`
}

// A Bootstrap says what a state that was built out of band has counted.
type Bootstrap struct {
	// Source has for each partition of the source topic the first offset whose event is not counted.
	Source []int64 `json:"source"`
	// Tasks has, for each partition of the view's input, where its task goes on.
	Tasks []TaskBootstrap `json:"tasks"`
}

// TaskBootstrap is the part of a Bootstrap that one task takes up.
type TaskBootstrap struct {
	Next       int64 `json:"next"`        // input offset: events of records below it are counted if they are to be
	StreamTime int64 `json:"stream_time"` // of the events counted, microseconds
	Changelog  int64 `json:"changelog"`   // offset in the task's changelog from which on the cells were written
}

// buildingPrefix begins the name of the record of a state that is being built. No view's name has a slash.
const buildingPrefix = "building/"

// State returns the id of the record's state.
func (r *ViewRecord) State() (config.Fingerprint, error) {
	fp, err := r.fingerprint()
	return fp.State(r.Generation), err
}

func (r *ViewRecord) fingerprint() (config.Fingerprint, error) {
	b, err := hex.DecodeString(r.Fingerprint)
	if err != nil || len(b) != len(config.Fingerprint{}) {
		return config.Fingerprint{}, fmt.Errorf("plane topic: view %q has the fingerprint %q", r.View, r.Fingerprint)
	}
	return config.Fingerprint(b), nil
}

// states returns the record and its previous ones: all whose state exists.
func (r *ViewRecord) states() []ViewRecord {
	if r.Dropped {
		return nil
	}
	return append([]ViewRecord{*r}, r.Previous...)
}

// of returns the record of a definition among those whose state exists.
func (r *ViewRecord) of(fingerprint string) (ViewRecord, bool) {
	for _, s := range r.states() {
		if s.Fingerprint == fingerprint {
			return s, true
		}
	}
	return ViewRecord{}, false
}

// without returns the record without one of its states; ok is false if it has no such state.
func (r ViewRecord) without(state *ViewRecord) (ViewRecord, bool) {
	states := r.states()
	i := slices.IndexFunc(states, func(s ViewRecord) bool { return s.Fingerprint == state.Fingerprint && s.Generation == state.Generation })
	if i < 0 {
		return r, false
	}
	if states = slices.Delete(states, i, i+1); len(states) == 0 {
		r.Dropped = true
		return r, true
	}
	left := states[0]
	left.Previous = states[1:]
	return left, true
}

// deadOf returns the states that the note of a build names: its own and those that it was to clean up.
func deadOf(note ViewRecord) []ViewRecord {
	if note.Fingerprint == "" {
		return nil
	}
	dead := append(slices.Clone(note.Previous), note)
	dead[len(dead)-1].Previous = nil
	return dead
}

// newest returns the highest generation that any state of the view, dropped or being built, has had.
func newest(recorded map[string]ViewRecord, view string) (generation uint32, ok bool) {
	for _, name := range []string{view, buildingPrefix + view} {
		r, there := recorded[name]
		if !there {
			continue
		}
		ok = true
		generation = max(generation, r.Generation, r.Used)
		for _, p := range r.Previous {
			generation = max(generation, p.Generation)
		}
	}
	return generation, ok
}

// nextEpoch returns an epoch greater than any before it, whatever the clock says.
func nextEpoch(recorded map[string]ViewRecord, now time.Time) uint64 {
	next := uint64(now.UnixMilli())
	for _, r := range recorded {
		next = max(next, r.Epoch+1)
		for _, p := range r.Previous {
			next = max(next, p.Epoch+1)
		}
	}
	return next
}

// errDefinitionChanged is wrapped by the refusal of a view whose definition is not the recorded one.
var errDefinitionChanged = errors.New("definition changed")

// reconcile compares what is wanted with what is recorded: it returns the record under which each view runs, and those to
// write.
func reconcile(recorded map[string]ViewRecord, wanted []ViewRecord, now time.Time) (bound, fresh []ViewRecord, err error) {
	epoch := nextEpoch(recorded, now)
	var refused []error
	for _, w := range wanted {
		have, ok := recorded[w.View]
		if !ok || have.Dropped {
			w.Epoch = epoch
			if generation, used := newest(recorded, w.View); used {
				w.Generation = generation + 1
			}
			bound, fresh = append(bound, w), append(fresh, w)
			continue
		}
		if same, ok := have.of(w.Fingerprint); ok {
			have = same
		}
		if err := refuse(&have, &w); err != nil {
			refused = append(refused, err)
		}
		bound = append(bound, have)
	}
	return bound, fresh, errors.Join(refused...)
}

// refuse says why a view's recorded state cannot be gone on with, nil if it can.
func refuse(have, w *ViewRecord) error {
	if err := refuseTopic(have, w); err != nil {
		return err
	}
	if have.Fingerprint != w.Fingerprint {
		return fmt.Errorf("feature view %q: %w since its state was built; %s. `freshet apply` builds the changed view while this one is served",
			w.View, errDefinitionChanged, strings.Join(config.Diff(have.Definition, w.Definition), "; "))
	}
	return nil
}

// refuseTopic says why a view's recorded state does not go with the source topic as it is.
func refuseTopic(have, w *ViewRecord) error {
	switch {
	case have.TopicID != w.TopicID:
		return fmt.Errorf("feature view %q: topic %s was deleted and created again since the view's state was built: its offsets have started again, "+
			"and new events would be taken for counted ones. Give the view a new name to build it anew", w.View, w.Topic)
	case have.Partitions != w.Partitions:
		return fmt.Errorf("feature view %q: topic %s had %d partitions when its state was built and has %d: keys have moved between partitions, "+
			"and its numbers would be wrong. To count the topic anew wherever its records are, give the source and its views new names, and the source "+
			"`partitioning: unknown`", w.View, w.Topic, have.Partitions, w.Partitions)
	}
	return nil
}

// wantedRecord describes a view over its source topic as it is now.
func wantedRecord(v *config.View, topic [16]byte, partitions int32) ViewRecord {
	return ViewRecord{
		View: v.Name, Fingerprint: hex.EncodeToString(v.Fingerprint[:]), Definition: v.Describe(),
		Topic: v.Source.Topic, TopicID: hex.EncodeToString(topic[:]), Partitions: partitions,
	}
}

// A boundView is the state under which a task keeps a view.
type boundView struct {
	state      config.Fingerprint
	epoch      uint64
	generation uint32
	bootstrap  *Bootstrap
}

func bind(r *ViewRecord) (boundView, error) {
	state, err := r.State()
	if err != nil {
		return boundView{}, err
	}
	if b := r.Bootstrap; b != nil && len(b.Tasks) != int(r.Partitions) {
		return boundView{}, fmt.Errorf("plane topic: view %q was built for %d partitions and its topic has %d", r.View, len(b.Tasks), r.Partitions)
	}
	return boundView{state: state, epoch: r.Epoch, generation: r.Generation, bootstrap: r.Bootstrap}, nil
}

// counted reports whether the build of a state has counted the event at an order: its copy may come through a repartition
// topic later than where the task goes on.
func (b *Bootstrap) counted(at *feature.Order) bool {
	return at.Ordinal == sourceOrdinal && int(at.Partition) < len(b.Source) && at.Offset < b.Source[at.Partition]
}

// placesOf returns the changelog and the entity of a recorded state. A view that has left the definition has both in its
// recorded text.
func (b *Builder) placesOf(rec *ViewRecord) (changelog, entity string, err error) {
	lines := map[string]string{}
	for _, line := range strings.Split(rec.Definition, "\n") {
		if name, value, ok := strings.Cut(line, " "); ok && lines[name] == "" {
			lines[name] = value
		}
	}
	source, entity, input := lines["source"], lines["entity"], lines["input"]
	if source == "" || entity == "" || input == "" {
		return "", "", fmt.Errorf("plane topic: the definition of view %q does not name its source, entity and input", rec.View)
	}
	changelog = b.rt.topo.prefix + "changelog." + source
	if input == "repartitioned" {
		changelog += "." + entity
	}
	return changelog, entity, nil
}
