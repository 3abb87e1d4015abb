package watch

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/wire"
)

// Change is a record of the state (W6): Value is nil for one that is deleted.
//
// The keys, after the model's name and a slash: "marks" has the marks, the clock and the strays as JSON;
// "monitor/NAME" a monitor's memory and alerts as JSON; "volume/MONITOR/SLICE" the counts of a slice by hour of the week;
// "sequence/MONITOR/SLICE" the scores of a slice's sequential tests (see sequenceVersion); "source/NAME" the newest times of a source as JSON; "pane/BASELINE/START/SLICE" a pane: a version byte, its
// length and build (varints), rows and columns as in a Delta; "joined/START/SLICE" a pane of joined cases: a version byte, its
// length and build (varints), and encoded quality.Sums. "spread/NAME/END/SLICE" was written by earlier versions: it is deleted.
type Change struct {
	Key, Value []byte
}

const (
	marksRecord = "marks"
	spreadKind  = "spread"
	paneVersion = 1
)

func monitorRecord(name string) string { return "monitor/" + name }

func joinedRecord(k paneKey) string {
	return "joined/" + strconv.FormatInt(k.start, 10) + "/" + k.slice
}

func paneRecord(baseline string, k paneKey) string {
	return "pane/" + baseline + "/" + strconv.FormatInt(k.start, 10) + "/" + k.slice
}

type marksJSON struct {
	progressJSON
	Strays map[string]uint64 `json:"strays,omitempty"`
	Joined map[int32]int64   `json:"joined,omitempty"`
}

type monitorJSON struct {
	memory
	Alerts json.RawMessage `json:"alerts"`
}

// Changes returns the records that differ from those returned before, in order of their keys.
func (w *Watch) Changes() ([]Change, error) {
	if w.progress.takeDirty() || w.markDirty {
		w.changed[marksRecord] = struct{}{}
		w.markDirty = false
	}
	var out []Change
	for _, key := range slices.Sorted(maps.Keys(w.changed)) {
		v, err := w.record(key)
		if err != nil {
			return nil, fmt.Errorf("state record %s: %w", key, err)
		}
		out = append(out, Change{Key: []byte(w.model.Name + "/" + key), Value: v})
	}
	clear(w.changed)
	return out, nil
}

// record makes the value of a record; nil if what it is of is gone.
func (w *Watch) record(key string) ([]byte, error) {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case marksRecord:
		return json.Marshal(marksJSON{progressJSON{w.progress.marks, w.progress.clock}, w.strays, w.labelled.times})
	case "monitor":
		m := w.monitor(rest)
		if m == nil {
			return nil, nil
		}
		text, err := m.alerts.Encode()
		if err != nil {
			return nil, err
		}
		return json.Marshal(monitorJSON{m.memory, text})
	case spreadKind:
		return nil, nil
	case "source":
		if s := w.sources[rest]; s != nil {
			return json.Marshal(s)
		}
		return nil, nil
	case "volume":
		name, slice := parseSliceKey(rest)
		if m := w.monitor(name); m != nil && m.volumes[slice] != nil {
			return m.volumes[slice].encode(), nil
		}
		return nil, nil
	case sequenceKind:
		name, slice := parseSliceKey(rest)
		if m := w.monitor(name); m != nil && m.sequences[slice] != nil {
			return m.sequences[slice].encode(windows(m.Monitor)), nil
		}
		return nil, nil
	}
	if kind == "joined" {
		_, k, err := parsePaneKey("/" + rest)
		if err != nil || w.labelled.panes[k] == nil {
			return nil, err
		}
		head := binary.AppendVarint(binary.AppendVarint([]byte{paneVersion}, w.pane), w.labelled.build)
		return append(head, w.labelled.panes[k]...), nil
	}
	b, k, err := parsePaneKey(rest)
	if err != nil {
		return nil, err
	}
	p := w.panes[b][k]
	if p == nil {
		return nil, nil
	}
	return appendColumns(binary.AppendVarint(binary.AppendVarint([]byte{paneVersion}, w.pane), p.build), p.rows, p.columns), nil
}

// parseSliceKey takes apart what a record of a monitor's slice is called, MONITOR/SLICE.
func parseSliceKey(s string) (monitor, slice string) {
	monitor, slice, _ = strings.Cut(s, "/")
	return monitor, slice
}

func parsePaneKey(s string) (baseline string, k paneKey, err error) {
	parts := strings.SplitN(s, "/", 3)
	if len(parts) != 3 {
		return "", k, fmt.Errorf("%q is no BASELINE/START/SLICE", s)
	}
	if k.start, err = strconv.ParseInt(parts[1], 10, 64); err != nil {
		return "", k, err
	}
	k.slice = parts[2]
	return parts[0], k, nil
}

func (w *Watch) monitor(name string) *monitor {
	for _, m := range w.monitors {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// RecordedStrays returns the inferences of versions without a baseline, by version, as a record of the state has them. ok is false
// for records of other things.
func RecordedStrays(key, value []byte) (strays map[string]uint64, ok bool, err error) {
	if _, rest, _ := strings.Cut(string(key), "/"); rest != marksRecord || value == nil {
		return nil, false, nil
	}
	var j marksJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return nil, false, fmt.Errorf("decode the state record %s: %w", key, err)
	}
	return j.Strays, true, nil
}

// Model returns the name of the model whose state a record is of.
func Model(key []byte) string {
	name, _, _ := strings.Cut(string(key), "/")
	return name
}

// Restore takes a record that Changes returned. It is called before anything else, once for each key, with
// the last value it was given. What was counted for other windows
// than those that are defined now is let go, and monitors that are not defined any more are retired.
func (w *Watch) Restore(key, value []byte) error {
	_, rest, _ := strings.Cut(string(key), "/")
	kind, name, _ := strings.Cut(rest, "/")
	if value == nil && kind != "pane" {
		return nil // it was never there, or is not any more
	}
	var err error
	switch kind {
	case marksRecord:
		var j marksJSON
		if err = json.Unmarshal(value, &j); err == nil {
			w.progress = Progress{marks: j.Marks, clock: j.Clock}
			maps.Copy(w.strays, j.Strays)
			maps.Copy(w.labelled.times, j.Joined)
		}
	case "monitor":
		if m := w.monitor(name); m != nil {
			err = m.restore(value)
		} else {
			err = w.retire(name, value)
		}
	case "source":
		err = w.restoreSource(name, value)
	case "volume":
		err = w.restoreVolume(name, value)
	case sequenceKind:
		err = w.restoreSequence(name, value)
	case "pane":
		err = w.restorePane(name, value)
	case spreadKind:
		w.changed[rest] = struct{}{}
	case "joined":
		err = w.restoreJoined(name, value)
	default:
		err = fmt.Errorf("%q is no kind of record", kind)
	}
	if err != nil {
		return fmt.Errorf("restore the state record %s: %w", key, err)
	}
	return nil
}

// retire takes the alerts of a monitor that is no longer defined: what they told is resolved by the next Advance.
func (w *Watch) retire(name string, value []byte) error {
	var j monitorJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return err
	}
	state, err := alert.Decode(j.Alerts)
	if err != nil {
		return err
	}
	w.retired = append(w.retired, state)
	w.changed[monitorRecord(name)] = struct{}{}
	return nil
}

func (m *monitor) restore(value []byte) error {
	var j monitorJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return err
	}
	state, err := alert.Decode(j.Alerts)
	if err != nil {
		return err
	}
	m.alerts = state
	if j.Ticks == nil {
		j.Ticks = map[string]int64{}
	}
	m.Ticks = j.Ticks
	if j.Windows != windows(m.Monitor) {
		return nil // its windows have been defined anew, and begin anew
	}
	if m.memory = j.memory; m.Bad == nil {
		m.Bad = map[string][]int64{}
	}
	return nil
}

// restoreJoined takes a pane of joined cases, unless it was counted for other windows or under another definition.
func (w *Watch) restoreJoined(name string, value []byte) error {
	_, k, err := parsePaneKey("/" + name)
	if err != nil {
		return err
	}
	r := wire.NewReader(value)
	if v := r.Take(1); v != nil && v[0] != paneVersion {
		return fmt.Errorf("version %d is not known", v[0])
	}
	length, build := r.Varint(), r.Varint()
	if err := r.Err(); err != nil {
		return err
	}
	if length != w.pane || build != w.labelled.build {
		w.changed[joinedRecord(k)] = struct{}{}
		return nil
	}
	w.labelled.panes[k] = r.Rest()
	return nil
}

func (w *Watch) restorePane(name string, value []byte) error {
	b, k, err := parsePaneKey(name)
	if err != nil {
		return err
	}
	if w.panes[b] == nil {
		w.panes[b] = map[paneKey]*pane{}
	}
	if value == nil {
		delete(w.panes[b], k)
		return nil
	}
	r := wire.NewReader(value)
	if v := r.Take(1); v != nil && v[0] != paneVersion {
		return fmt.Errorf("version %d is not known", v[0])
	}
	length := r.Varint()
	p := &pane{build: r.Varint()}
	p.rows, p.columns = readColumns(r)
	if err := r.End(); err != nil {
		return err
	}
	if length != w.pane { // counted for windows that have been defined anew
		w.changed[paneRecord(b, k)] = struct{}{}
		return nil
	}
	w.panes[b][k] = p
	return nil
}
