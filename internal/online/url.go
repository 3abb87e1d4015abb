package online

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// topology is how the servers behind a URL are organised.
type topology uint8

const (
	single topology = iota
	cluster
	sentinel
)

// target is a parsed URL:
//
//	redis://[[user]:password@]host[:6379][/db]
//	redis-cluster://[[user]:password@]host[:6379][,host[:6379]...]
//	redis-sentinel://[[user]:password@]sentinel[:26379][,...]/master[/db]
//
// and the same with rediss for TLS. The query may set dial_timeout, read_timeout and write_timeout (durations), pool_size,
// and for Sentinel sentinel_username and sentinel_password. User and password are percent-encoded.
type target struct {
	topology                       topology
	tls                            bool
	addrs                          []string
	user, password                 string
	sentinelUser, sentinelPassword string
	master                         string
	db                             int
	dial, read, write              time.Duration
	poolSize                       int
}

// parseURL never repeats any of its input but the names of options in an error: a password with a stray slash may have
// ended up in any part of it.
func parseURL(s string) (target, error) {
	t, err := parseTarget(s)
	if err != nil {
		return target{}, fmt.Errorf("redis url: %w", err)
	}
	return t, nil
}

func parseTarget(s string) (t target, err error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return t, errors.New("no scheme; it begins with redis://, redis-cluster:// or redis-sentinel://, or with rediss for TLS")
	}
	switch scheme {
	case "redis", "rediss":
		t.topology = single
	case "redis-cluster", "rediss-cluster":
		t.topology = cluster
	case "redis-sentinel", "rediss-sentinel":
		t.topology = sentinel
	default:
		return t, errors.New("unknown scheme; supported are redis, redis-cluster and redis-sentinel, and with rediss for TLS")
	}
	t.tls = strings.HasPrefix(scheme, "rediss")

	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := t.parseUser(authority[:at]); err != nil {
			return t, err
		}
		authority = authority[at+1:]
	}
	if err := t.parseAddrs(authority); err != nil {
		return t, err
	}
	if err := t.parsePath(path); err != nil {
		return t, err
	}
	return t, t.parseQuery(query)
}

func (t *target) parseUser(s string) (err error) {
	user, password, found := strings.Cut(s, ":")
	if !found {
		return errors.New("a user without a password; a password alone is written :password@")
	}
	if t.user, err = url.PathUnescape(user); err != nil {
		return errors.New("the user is not percent-encoded correctly")
	}
	if t.password, err = url.PathUnescape(password); err != nil {
		return errors.New("the password is not percent-encoded correctly")
	}
	return nil
}

func (t *target) parseAddrs(s string) error {
	port := "6379"
	if t.topology == sentinel {
		port = "26379"
	}
	list := strings.Split(s, ",")
	if t.topology == single && len(list) > 1 {
		return errors.New("several addresses; they need redis-cluster:// or redis-sentinel://")
	}
	for i, a := range list {
		host, p := strings.Trim(a, "[]"), port
		if h, q, err := net.SplitHostPort(a); err == nil {
			host, p = h, q
		} else if strings.Contains(a, ":") && !strings.HasPrefix(a, "[") {
			return fmt.Errorf("address %d of %d is not host:port; an IPv6 host stands in brackets", i+1, len(list))
		}
		if host == "" {
			return fmt.Errorf("address %d of %d has no host", i+1, len(list))
		}
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("the port of address %d of %d is not a number from 1 to 65535; special characters of a password must be percent-encoded", i+1, len(list))
		}
		t.addrs = append(t.addrs, net.JoinHostPort(host, p))
	}
	return nil
}

func (t *target) parsePath(path string) (err error) {
	db := path
	if t.topology == sentinel {
		t.master, db, _ = strings.Cut(path, "/")
		if t.master, err = url.PathUnescape(t.master); err != nil || t.master == "" || strings.ContainsAny(t.master, "@:/") {
			return errors.New("no name of a master; it is the first part of the path: redis-sentinel://host/master/db")
		}
	}
	if db == "" {
		return nil
	}
	n, err := strconv.ParseUint(db, 10, 31)
	if err != nil {
		return errors.New("the database in the path is not a number; special characters of a password must be percent-encoded")
	}
	if t.topology == cluster && n != 0 {
		return errors.New("a cluster has no databases but 0")
	}
	t.db = int(n)
	return nil
}

func (t *target) parseQuery(s string) error {
	query, err := url.ParseQuery(s)
	if err != nil {
		return errors.New("the query is not percent-encoded correctly")
	}
	durations := map[string]*time.Duration{"dial_timeout": &t.dial, "read_timeout": &t.read, "write_timeout": &t.write}
	texts := map[string]*string{}
	if t.topology == sentinel {
		texts["sentinel_username"], texts["sentinel_password"] = &t.sentinelUser, &t.sentinelPassword
	}
	for name, values := range query {
		value := values[len(values)-1]
		if d, ok := durations[name]; ok {
			if *d, err = time.ParseDuration(value); err != nil || *d <= 0 {
				return fmt.Errorf("%s is not a positive duration such as 500ms", name)
			}
		} else if text, ok := texts[name]; ok {
			*text = value
		} else if name == "pool_size" {
			if t.poolSize, err = strconv.Atoi(value); err != nil || t.poolSize < 1 || t.poolSize > 10_000 {
				return errors.New("pool_size is not a number from 1 to 10000")
			}
		} else {
			return errors.New("unknown option; supported are dial_timeout, read_timeout, write_timeout, pool_size, and for Sentinel sentinel_username and sentinel_password")
		}
	}
	return nil
}
