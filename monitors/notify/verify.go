package notify

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Why a Verifier refuses a message.
var (
	ErrHeaders   = errors.New("the webhook's headers are missing or malformed")
	ErrSignature = errors.New("no signature of the webhook is by a known secret")
	ErrStale     = errors.New("the webhook was signed more than five minutes ago or ahead")
)

const tolerance = 5 * time.Minute

// Verifier checks messages at their receiver.
type Verifier struct{ keys [][]byte }

// NewVerifier accepts what one of the secrets signed.
func NewVerifier(secrets ...Secret) (*Verifier, error) {
	keys, err := signingKeys(secrets)
	if err != nil {
		return nil, fmt.Errorf("verifier of webhooks: %w", err)
	}
	return &Verifier{keys}, nil
}

// Verify checks a request's headers and whole body at now, and returns the message's id. Who has handled a message of
// that id before has nothing to do.
func (v *Verifier) Verify(h http.Header, body []byte, now time.Time) (id string, err error) {
	id, stamp := h.Get(IDHeader), h.Get(TimestampHeader)
	if id == "" || stamp == "" || h.Get(SignatureHeader) == "" {
		return "", ErrHeaders
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", ErrHeaders
	}
	signed := false
	for _, part := range strings.Fields(h.Get(SignatureHeader)) {
		text, ok := strings.CutPrefix(part, "v1,")
		if !ok {
			continue
		}
		given, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for _, key := range v.keys {
			signed = hmac.Equal(given, mac(key, id, stamp, body)) || signed
		}
	}
	if !signed {
		return "", ErrSignature
	}
	if age := now.Unix() - seconds; age > int64(tolerance/time.Second) || -age > int64(tolerance/time.Second) {
		return "", ErrStale
	}
	return id, nil
}
