package kafkastore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/notify"
	"github.com/freshet-io/freshet/monitors/topics"
)

// State is what a store holds.
type State struct {
	Records []notify.Record // in the order of their keys
	// Next is the offset of the first message of the history that has not been taken up, if Known.
	Next  int64
	Known bool
}

// positionKey is the key of the record that says how far the history has been taken up. The keys of notify's records have a
// slash.
const positionKey = "position"

// position is that record's value.
type position struct {
	Version int   `json:"version"`
	Next    int64 `json:"next"`
}

const positionVersion = 1

func encodePosition(next int64) []byte {
	text, err := json.Marshal(position{positionVersion, next})
	if err != nil {
		panic(err) // two integers
	}
	return text
}

func decodePosition(text []byte) (int64, error) {
	var p position
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return 0, fmt.Errorf("decode the position in the history of alerts: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return 0, errors.New("decode the position in the history of alerts: more after the end of the document")
	}
	if p.Version != positionVersion || p.Next < 0 {
		return 0, fmt.Errorf("decode the position in the history of alerts: version %d, offset %d", p.Version, p.Next)
	}
	return p.Next, nil
}

// Read returns the committed state of a plane's notifications. It needs no ownership. The error wraps kafka.ErrNoTopic if
// there is no such state yet.
func Read(ctx context.Context, client []kgo.Opt, p *config.Plane) (State, error) {
	topic := topics.Name(p, topics.Deliveries)
	fail := func(err error) (State, error) {
		return State{}, fmt.Errorf("read the state of notifications from %s: %w", topic, err)
	}
	cl, err := kgo.NewClient(client...)
	if err != nil {
		return fail(err)
	}
	defer cl.Close()
	spans, err := kafka.Whole(ctx, cl, topic)
	if err != nil {
		return fail(err)
	}
	kept := map[string][]byte{}
	err = kafka.ReadSpans(ctx, client, topic, spans, func(rec *kgo.Record) error {
		if rec.Value == nil {
			delete(kept, string(rec.Key))
		} else {
			kept[string(rec.Key)] = rec.Value
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	var s State
	if text, ok := kept[positionKey]; ok {
		if s.Next, err = decodePosition(text); err != nil {
			return fail(err)
		}
		s.Known = true
		delete(kept, positionKey)
	}
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		s.Records = append(s.Records, notify.Record{Key: key, Value: kept[key]})
	}
	return s, nil
}
