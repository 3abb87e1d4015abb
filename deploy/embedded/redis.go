package embedded

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a server in this process, on a free port of 127.0.0.1.
type Redis struct {
	server *miniredis.Miniredis
	stop   chan struct{}
	clock  sync.WaitGroup
}

// StartRedis starts an empty server.
func StartRedis() (*Redis, error) {
	r := &Redis{server: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	if err := r.server.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded redis: %w", err)
	}
	r.clock.Go(r.expire)
	return r, nil
}

// expire lets the keys' time to live pass: the server moves it only when told how much time went by. Each step looks
// at every key while commands wait, so steps are further apart when they take long: at most a twentieth of the time
// goes into them.
func (r *Redis) expire() {
	const step, share = time.Second, 20
	last, wait := time.Now(), step
	for {
		select {
		case <-r.stop:
			return
		case <-time.After(wait):
		}
		now := time.Now()
		r.server.FastForward(now.Sub(last))
		last = now
		wait = max(step, share*time.Since(now))
	}
}

// Addr returns host:port.
func (r *Redis) Addr() string { return r.server.Addr() }

// URL returns the address as a connection's definition has it.
func (r *Redis) URL() string { return "redis://" + r.server.Addr() + "/0" }

// Close stops the server; its data is gone.
func (r *Redis) Close() {
	close(r.stop)
	r.clock.Wait()
	r.server.Close()
}
