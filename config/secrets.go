package config

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxSecretBytes bounds a secret read from a file.
const maxSecretBytes = 64 << 10

var (
	variableRef  = regexp.MustCompile(`\$\{([^}]*)\}`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// An expander replaces ${VARIABLE} in the settings that differ by environment. No message ever shows a value.
type expander struct {
	lookup func(string) (string, bool)
	is     *issues
	lax    bool // what is missing is a warning: nothing uses it yet
}

func (x *expander) report(p Pos, format string, args ...any) {
	if x.lax {
		x.is.warnf(p, format, args...)
		return
	}
	x.is.errorf(p, format, args...)
}

// text expands the variables in a setting. ok is false where one is missing.
func (x *expander) text(what string, a At[string]) (s string, ok bool) {
	ok = true
	s = variableRef.ReplaceAllStringFunc(a.V, func(ref string) string {
		name := ref[2 : len(ref)-1]
		if !variableName.MatchString(name) {
			x.is.errorf(a.Pos, "%s refers to ${%s}, which is not the name of an environment variable", what, name)
			ok = false
			return ""
		}
		v, found := x.lookup(name)
		if !found || v == "" {
			x.report(a.Pos, "%s needs the environment variable %s, which is not set", what, name)
			ok = false
		}
		return v
	})
	return s, ok
}

// secret expands a setting that must not stand in the definition: it is ${VARIABLE}, or file:PATH, where a relative
// path is beside the definition.
func (x *expander) secret(what string, a At[string]) Secret {
	if !a.Set {
		return ""
	}
	path, isFile := strings.CutPrefix(a.V, "file:")
	if !isFile {
		if !variableRef.MatchString(a.V) || strings.TrimSpace(variableRef.ReplaceAllString(a.V, "")) != "" {
			x.is.errorf(a.Pos, "%s is a secret: write ${VARIABLE} or file:PATH instead of the secret itself", what)
			return ""
		}
		s, _ := x.text(what, a)
		return Secret(s)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(a.File), path)
	}
	b, err := readBounded(path, maxSecretBytes)
	if err != nil {
		x.report(a.Pos, "%s cannot be read from its file: %v", what, err)
		return ""
	}
	return Secret(strings.TrimSpace(string(b)))
}

// address expands a URL in which a password may only stand as a variable, and checks its scheme.
func (x *expander) address(what string, a At[string], schemes ...string) (Secret, bool) {
	if !a.Set {
		return "", false
	}
	if literalPassword(a.V) {
		x.is.errorf(a.Pos, "%s holds a password: write ${VARIABLE} in its place", what)
		return "", false
	}
	s, ok := x.text(what, a)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		x.is.errorf(a.Pos, "%s is not a URL; it starts with one of %s", what, strings.Join(schemes, " "))
		return "", false
	}
	for _, scheme := range schemes {
		if u.Scheme+"://" == scheme {
			if u.Host == "" && scheme != "file://" {
				x.is.errorf(a.Pos, "%s names no host", what)
				return "", false
			}
			return Secret(s), true
		}
	}
	x.is.errorf(a.Pos, "%s must start with one of %s", what, strings.Join(schemes, " "))
	return "", false
}

// literalPassword reports whether the user part of a URL, before variables are replaced, has a password in clear.
func literalPassword(s string) bool {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return false
	}
	authority, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return false
	}
	_, password, ok := strings.Cut(variableRef.ReplaceAllString(authority[:at], ""), ":")
	return ok && password != ""
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}
