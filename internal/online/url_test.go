package online

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/config"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]target{
		"redis://localhost":                     {addrs: []string{"localhost:6379"}},
		"redis://localhost:1/":                  {addrs: []string{"localhost:1"}},
		"rediss://u:p%40%2F%3A+@h:1/3":          {tls: true, addrs: []string{"h:1"}, user: "u", password: "p@/:+", db: 3},
		"redis://:a@b@[::1]:7":                  {addrs: []string{"[::1]:7"}, password: "a@b"},
		"redis://[::1]":                         {addrs: []string{"[::1]:6379"}},
		"redis-cluster://a,b:2,[::1]:3/0":       {topology: cluster, addrs: []string{"a:6379", "b:2", "[::1]:3"}},
		"rediss-cluster://:p@a":                 {topology: cluster, tls: true, addrs: []string{"a:6379"}, password: "p"},
		"redis-sentinel://a,b:2/main":           {topology: sentinel, addrs: []string{"a:26379", "b:2"}, master: "main"},
		"redis-sentinel://u:p@a/my%20m/4":       {topology: sentinel, addrs: []string{"a:26379"}, user: "u", password: "p", master: "my m", db: 4},
		"redis://h?dial_timeout=1s&pool_size=3": {addrs: []string{"h:6379"}, dial: time.Second, poolSize: 3},
		"redis://h?read_timeout=20ms&write_timeout=2m": {
			addrs: []string{"h:6379"}, read: 20 * time.Millisecond, write: 2 * time.Minute,
		},
		"rediss-sentinel://a/m?sentinel_username=x&sentinel_password=y%26": {
			topology: sentinel, tls: true, addrs: []string{"a:26379"}, master: "m", sentinelUser: "x", sentinelPassword: "y&",
		},
	} {
		got, err := parseURL(url)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, %v, want\n%+v", url, got, err, want)
		}
	}
}

// Every part of a bad URL may be a piece of a password.
func TestBadURLsKeepSecrets(t *testing.T) {
	const secret = "hunter2"
	for url, want := range map[string]string{
		"hunter2":                           "no scheme",
		"hunter2://host":                    "unknown scheme",
		"redis://hunter2@host":              "a user without a password",
		"redis://u:%zzhunter2@host":         "the password is not percent-encoded",
		"redis://%zzhunter2:p@host":         "the user is not percent-encoded",
		"redis://:hunter2/x@host":           "has no host",
		"redis://u:hunter2/x@host":          "percent-encoded",
		"redis://host/hunter2":              "the database in the path is not a number",
		"redis://host/-1":                   "the database in the path is not a number",
		"redis://host:0":                    "port",
		"redis://host:65536":                "port",
		"redis://::1":                       "brackets",
		"redis://":                          "has no host",
		"redis://a,b":                       "several addresses",
		"redis-cluster://a,,b":              "address 2 of 3 has no host",
		"redis-cluster://a/1":               "a cluster has no databases",
		"redis-sentinel://a":                "no name of a master",
		"redis-sentinel://u:/hunter2@h/m":   "",
		"redis://host?hunter2=1":            "unknown option",
		"redis://host?sentinel_password=x":  "unknown option",
		"redis://host?dial_timeout=hunter2": "dial_timeout is not a positive duration",
		"redis://host?read_timeout=-1s":     "read_timeout is not a positive duration",
		"redis://host?pool_size=0":          "pool_size",
		"redis://host?%zz=hunter2":          "query",
	} {
		_, err := Open(t.Context(), config.Redis{URL: config.Secret(url)}, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret: %v", url, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"redis://u:p@h:1/2?pool_size=3", "redis-cluster://a,b:2,[::1]:3", "rediss-sentinel://:p@a,b/m/1?sentinel_password=x", "redis://%", "://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseURL(s)
		if err != nil {
			return
		}
		if len(got.addrs) == 0 || got.topology == single && len(got.addrs) != 1 || got.topology == sentinel && got.master == "" {
			t.Fatalf("%q is accepted as %+v", s, got)
		}
	})
}
