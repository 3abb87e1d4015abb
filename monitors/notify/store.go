package notify

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Store keeps the state of deliveries. A Kafka topic that is compacted by key does.
type Store interface {
	// Load returns the last record of each key that has a value.
	Load(ctx context.Context) ([]Record, error)
	// Save keeps records, all before it returns nil. After an error any of them may be kept; they are saved again.
	Save(ctx context.Context, records []Record) error
}

// Memory is a Store for tests and for running without one. Its zero value is empty.
type Memory struct {
	mu   sync.Mutex
	kept map[string][]byte
}

// Load returns all records in the order of their keys.
func (m *Memory) Load(context.Context) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Record
	for _, key := range slices.Sorted(maps.Keys(m.kept)) {
		out = append(out, Record{key, m.kept[key]})
	}
	return out, nil
}

// Save keeps records.
func (m *Memory) Save(_ context.Context, records []Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[string][]byte{}
	}
	for _, r := range records {
		if r.Value == nil {
			delete(m.kept, r.Key)
		} else {
			m.kept[r.Key] = slices.Clone(r.Value)
		}
	}
	return nil
}
