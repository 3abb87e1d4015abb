package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// entity is one entity of a view with the events that count for it, in order.
type entity struct {
	key    []any
	events []*event
}

// expectation is what lookups of one view must give. Entities none of whose events pass the view's where are in it too.
type expectation struct {
	view     *view
	entities []*entity
}

// expect assigns events to a view's entities.
func expect(v *view, es []*event) *expectation {
	x := &expectation{view: v}
	known := map[string]*entity{}
	for _, e := range es {
		key, id := make([]any, len(v.joinKeys)), ""
		for i, name := range v.joinKeys {
			key[i] = e.row[name]
			id += fmt.Sprintf("%q,", fmt.Sprint(key[i]))
		}
		if slices.Contains(key, nil) {
			continue
		}
		ent := known[id]
		if ent == nil {
			ent = &entity{key: key}
			known[id], x.entities = ent, append(x.entities, ent)
		}
		if v.where == nil || v.where(e.row) {
			ent.events = append(ent.events, e)
		}
	}
	for _, ent := range x.entities {
		slices.SortFunc(ent.events, inOrder)
	}
	return x
}

// expectAll is expect for several views.
func expectAll(vs []view, es []*event) []*expectation {
	out := make([]*expectation, len(vs))
	for i := range vs {
		out[i] = expect(&vs[i], es)
	}
	return out
}

// checkAll looks every feature of every entity up and compares it.
func checkAll(server string, xs []*expectation) error {
	for _, x := range xs {
		for batch := range slices.Chunk(x.entities, 1000) {
			if err := x.check(server, batch); err != nil {
				return fmt.Errorf("view %s: %w", x.view.name, err)
			}
		}
	}
	return nil
}

// answer is a lookup's.
type answer struct {
	Metadata struct {
		Names []string `json:"feature_names"`
	} `json:"metadata"`
	Results []struct {
		Values   []json.RawMessage `json:"values"`
		Statuses []string          `json:"statuses"`
		Times    []time.Time       `json:"event_timestamps"`
	} `json:"results"`
}

// lookup asks for features of entities, whose keys are given by column, and returns also the time as of which they are.
func lookup(server string, features []string, entities map[string][]any) (*answer, int64, error) {
	body, err := json.Marshal(map[string]any{"features": features, "entities": entities})
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequest(http.MethodPost, server+"/get-online-features", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Freshet-Timeout", "10s")
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("lookup: status %d: %s", resp.StatusCode, text)
	}
	a := &answer{}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, 0, err
	}
	asOf, err := strconv.ParseInt(resp.Header.Get("X-Freshet-As-Of"), 10, 64)
	return a, asOf, err
}

// check compares one batch of entities.
func (x *expectation) check(server string, batch []*entity) error {
	keys := map[string][]any{}
	for i, name := range x.view.joinKeys {
		for _, ent := range batch {
			keys[name] = append(keys[name], ent.key[i])
		}
	}
	var names []string
	for _, f := range x.view.features {
		names = append(names, x.view.name+":"+f.name)
	}
	a, asOf, err := lookup(server, names, keys)
	if err != nil {
		return err
	}
	var wrong []error
	for i := range x.view.features {
		f := &x.view.features[i]
		col := slices.Index(a.Metadata.Names, f.name)
		if col < 0 || len(a.Results[col].Values) != len(batch) {
			return fmt.Errorf("no column %s of %d rows among %v", f.name, len(batch), a.Metadata.Names)
		}
		r := &a.Results[col]
		for row, ent := range batch {
			if err := ent.check(f, r.Values[row], r.Statuses[row], r.Times[row], asOf); err != nil {
				wrong = append(wrong, fmt.Errorf("%s of %v: %w", f.name, ent.key, err))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d wrong values, among them: %w", len(wrong), errors.Join(wrong[:min(5, len(wrong))]...))
	}
	return nil
}

func (ent *entity) check(f *feature, got json.RawMessage, status string, at time.Time, asOf int64) error {
	if len(ent.events) == 0 {
		if status != "NOT_FOUND" || string(got) != "null" {
			return fmt.Errorf("%s %s, but no event of it counts", status, got)
		}
		return nil
	}
	if err := f.check(got, status, ent.events, asOf); err != nil {
		return err
	}
	if last := ent.events[len(ent.events)-1].at; at.UnixMicro() != last {
		return fmt.Errorf("is of %v, want %v", at, time.UnixMicro(last).UTC())
	}
	return nil
}
