package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/monitors/alert"
)

// WebhookOptions are of a channel that posts each message as a CloudEvent, signed by Standard Webhooks 1.0.0
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
type WebhookOptions struct {
	Name string
	URL  string
	// Secrets are whsec_ and the base64 of 24 to 64 bytes. Each signs, so that a receiver may change from one to the next.
	Secrets []Secret
	Network Network
}

// The headers of a signed message.
const (
	IDHeader        = "Webhook-Id"
	TimestampHeader = "Webhook-Timestamp"
	SignatureHeader = "Webhook-Signature"
)

// NewWebhook returns the channel.
func NewWebhook(o WebhookOptions) (*Channel, error) {
	keys, err := signingKeys(o.Secrets)
	if err != nil {
		return nil, fmt.Errorf("channel %q (webhook): %w", o.Name, err)
	}
	c, u, err := newChannel(o.Name, webhookKind, Secret(o.URL), o.Network, o.Secrets)
	if err != nil {
		return nil, err
	}
	c.render = func(m *alert.Message, now time.Time) (*http.Request, error) {
		body, err := m.Event()
		if err != nil {
			return nil, err
		}
		r, err := post(u, alert.EventContentType, body)
		if err != nil {
			return nil, err
		}
		stamp := strconv.FormatInt(now.Unix(), 10)
		r.Header.Set(IDHeader, m.ID)
		r.Header.Set(TimestampHeader, stamp)
		r.Header.Set(SignatureHeader, sign(keys, m.ID, stamp, body))
		return r, nil
	}
	return c, nil
}

const secretPrefix = "whsec_"

// signingKeys decodes secrets. Errors say which, never what.
func signingKeys(secrets []Secret) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, errors.New("it has no secret to sign with")
	}
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), secretPrefix))
		if err != nil || !strings.HasPrefix(string(s), secretPrefix) {
			return nil, fmt.Errorf("secret %d of %d: want whsec_ and base64", i+1, len(secrets))
		}
		if len(key) < 24 || len(key) > 64 {
			return nil, fmt.Errorf("secret %d of %d: it has %d bytes, want 24 to 64", i+1, len(secrets), len(key))
		}
		keys[i] = key
	}
	return keys, nil
}

// sign returns the signature header: for each key v1, and the base64 of HMAC-SHA256 of id.timestamp.body.
func sign(keys [][]byte, id, stamp string, body []byte) string {
	out := make([]string, len(keys))
	for i, key := range keys {
		out[i] = "v1," + base64.StdEncoding.EncodeToString(mac(key, id, stamp, body))
	}
	return strings.Join(out, " ")
}

func mac(key []byte, id, stamp string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + stamp + "."))
	h.Write(body)
	return h.Sum(nil)
}
