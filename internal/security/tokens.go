package security

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// A shorter token can be guessed; `openssl rand -hex 16` makes one of 32 characters.
const minTokenLength = 16

// Tokens is a file of bearer tokens, one a line:
//
//	# name, token, and what it may use: everything, or only what is listed (* is all of a kind)
//	console   3f1c…
//	shop      a77e…   sources=clicks,orders
//	ranker    90bd…   services=ranking_v1,ranking_v2
//
// A token that lists sources or services may use nothing that is not listed. A name may have several lines, so that a
// token can be replaced by another before it is taken away. A changed file is read again within a few seconds; one
// that has become wrong is told of in the log and the last good one stays in force.
//
// A nil *Tokens asks nobody who they are.
type Tokens struct {
	file    string
	logger  *slog.Logger
	current atomic.Pointer[tokenSet]
	next    atomic.Int64 // Unix nanoseconds: when to look at the file again
}

// tokenSet is one content of the file. The tokens are kept as hashes, so that looking one up takes a time that tells
// nothing of how much of a guess was right, and memory holds no token.
type tokenSet struct {
	state      fileState
	principals map[[sha256.Size]byte]*Principal
}

// LoadTokens reads the file.
func LoadTokens(file string, logger *slog.Logger) (*Tokens, error) {
	t := &Tokens{file: file, logger: logger}
	set, err := t.read()
	if err != nil {
		return nil, err
	}
	t.current.Store(set)
	t.next.Store(time.Now().Add(recheckEvery).UnixNano())
	return t, nil
}

func (t *Tokens) read() (*tokenSet, error) {
	state := statFile(t.file) // before the content: a write in between is seen at the next look
	text, err := os.ReadFile(t.file)
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	principals, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("tokens file %s: %w", t.file, err)
	}
	return &tokenSet{state: state, principals: principals}, nil
}

// parseTokens reads the lines. Its errors name lines and names, never tokens.
func parseTokens(text []byte) (map[[sha256.Size]byte]*Principal, error) {
	principals := map[[sha256.Size]byte]*Principal{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			return nil, fmt.Errorf("line %d: want a name and a token", n)
		}
		name, token := words[0], words[1]
		if len(token) < minTokenLength {
			return nil, fmt.Errorf("line %d: the token of %q is shorter than %d characters", n, name, minTokenLength)
		}
		p, err := newPrincipal(name, words[2:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		hash := sha256.Sum256([]byte(token))
		if other, ok := principals[hash]; ok {
			return nil, fmt.Errorf("line %d: %q has the token of %q", n, name, other.Name)
		}
		principals[hash] = p
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(principals) == 0 {
		return nil, errors.New("it holds no token")
	}
	return principals, nil
}

func newPrincipal(name string, limits []string) (*Principal, error) {
	p := &Principal{Name: name, all: len(limits) == 0}
	for _, word := range limits {
		kind, list, _ := strings.Cut(word, "=")
		var set *map[string]bool
		switch kind {
		case "sources":
			set = &p.sources
		case "services":
			set = &p.services
		default:
			return nil, fmt.Errorf("%q of %q is neither sources=… nor services=…", kind, name)
		}
		if *set == nil {
			*set = map[string]bool{}
		}
		for item := range strings.SplitSeq(list, ",") {
			if item == "" {
				return nil, fmt.Errorf("%s= of %q has an empty entry", kind, name)
			}
			(*set)[item] = true
		}
	}
	return p, nil
}

// set returns the tokens in force, after a look at the file when the last is some seconds ago.
func (t *Tokens) set() *tokenSet {
	cur := t.current.Load()
	now, due := time.Now(), t.next.Load()
	if now.UnixNano() < due || !t.next.CompareAndSwap(due, now.Add(recheckEvery).UnixNano()) {
		return cur // not due, or another request looks
	}
	if statFile(t.file) == cur.state {
		return cur
	}
	set, err := t.read()
	if err != nil {
		t.logger.Error("the tokens file changed and cannot be used; the former tokens stay in force", "error", err)
		return cur
	}
	t.current.Store(set)
	t.logger.Info("read the changed tokens file", "file", t.file, "tokens", len(set.principals))
	return set
}

// Authenticate returns whose token an Authorization header holds. The error says what is wrong with the header.
func (t *Tokens) Authenticate(header string) (*Principal, error) {
	if t == nil {
		return Anyone(), nil
	}
	if header == "" {
		return nil, errors.New("a bearer token is needed: send the header Authorization: Bearer <token>")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, errors.New("the Authorization header is not of the form: Bearer <token>")
	}
	p, ok := t.set().principals[sha256.Sum256([]byte(strings.TrimSpace(token)))]
	if !ok {
		return nil, errors.New("the bearer token is not known")
	}
	return p, nil
}

// AllowSource decides whether a request may write to a source: 0, or an HTTP status and the reason. It needs no
// middleware around the handler.
func (t *Tokens) AllowSource(r *http.Request, source string) (status int, reason string) {
	p, err := t.Authenticate(r.Header.Get("Authorization"))
	if err != nil {
		return http.StatusUnauthorized, err.Error()
	}
	if !p.Allow(source) {
		return http.StatusForbidden, fmt.Sprintf("the token of %q may not write to %q", p.Name, source)
	}
	return 0, ""
}
