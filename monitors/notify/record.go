package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// Record is a kept piece of state. A nil value deletes. Keys are unique and make a compacted topic.
type Record struct {
	Key   string
	Value []byte
}

// recordVersion is raised when a reader of the older one would be wrong about the newer.
const recordVersion = 1

// stage is where a delivery stands.
type stage string

const (
	waiting   stage = "waiting"
	resending stage = "resending" // delivered, and sent again until the episode is over (N5)
	delivered stage = "delivered"
	dead      stage = "dead"
	passed    stage = "passed" // not sent, for its resolved has been (N4)
)

func (s stage) final() bool { return s == delivered || s == dead || s == passed }

func (s stage) valid() bool { return s.final() || s == waiting || s == resending }

// delivery is one message for one channel.
type delivery struct {
	Version  int             `json:"version"`
	Channel  string          `json:"channel"`
	Message  string          `json:"message"`
	Episode  string          `json:"episode"`
	Type     alert.Type      `json:"type"`
	Order    int64           `json:"order"` // in which messages came
	Stage    stage           `json:"stage"`
	Attempts int             `json:"attempts,omitempty"`
	Since    time.Time       `json:"since"`
	Next     time.Time       `json:"next,omitzero"`  // when to try, while there is anything to try
	Until    time.Time       `json:"until,omitzero"` // when to forget it, once it is final
	Error    string          `json:"error,omitempty"`
	Event    json.RawMessage `json:"event,omitempty"` // the message, as long as it may have to be sent
}

// endpoint is what is remembered of a channel.
type endpoint struct {
	Version   int       `json:"version"`
	Channel   string    `json:"channel"`
	Target    string    `json:"target"`             // fingerprint of where it sends
	Failures  int       `json:"failures,omitempty"` // in a row
	NotBefore time.Time `json:"not_before,omitzero"`
	Disabled  bool      `json:"disabled,omitempty"`
	Reason    string    `json:"reason,omitempty"`
}

func deliveryKey(channel, message string) string { return "delivery/" + channel + "/" + message }
func endpointKey(channel string) string          { return "endpoint/" + channel }

func (d *delivery) key() string { return deliveryKey(d.Channel, d.Message) }

func encodeRecord(key string, value any) Record {
	text, err := json.Marshal(value)
	if err != nil { // both types are of plain fields, and Event was checked when it came
		return Record{Key: key}
	}
	return Record{Key: key, Value: text}
}

// decodeRecord reads what encodeRecord wrote: one of the results is not nil.
func decodeRecord(r Record) (*delivery, *endpoint, error) {
	fail := func(err error) (*delivery, *endpoint, error) {
		return nil, nil, fmt.Errorf("decode notification state %q: %w", r.Key, err)
	}
	var probe struct {
		Version int    `json:"version"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(r.Value, &probe); err != nil {
		return fail(err)
	}
	if probe.Version != recordVersion {
		return fail(fmt.Errorf("version %d, this program reads %d", probe.Version, recordVersion))
	}
	if probe.Message == "" {
		var e endpoint
		if err := strict(r.Value, &e); err != nil {
			return fail(err)
		}
		if e.Channel == "" || r.Key != endpointKey(e.Channel) || e.Failures < 0 {
			return fail(errors.New("no endpoint of that key"))
		}
		return nil, &e, nil
	}
	var d delivery
	if err := strict(r.Value, &d); err != nil {
		return fail(err)
	}
	switch {
	case r.Key != d.key():
		return fail(errors.New("another delivery's key"))
	case !d.Stage.valid() || d.Attempts < 0 || !d.Type.Delivered():
		return fail(fmt.Errorf("stage %q, type %q, %d attempts", d.Stage, d.Type, d.Attempts))
	}
	if len(d.Event) > 0 || d.Stage != delivered && d.Stage != passed {
		m, err := alert.ParseEvent(d.Event)
		if err != nil {
			return fail(err)
		}
		if m.ID != d.Message || m.Episode != d.Episode || m.Type != d.Type {
			return fail(errors.New("it has another message in it"))
		}
	}
	return &d, nil, nil
}

func strict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more after the end of the document")
	}
	return nil
}
