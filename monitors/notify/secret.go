package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Secret is text that does not print itself (N7).
type Secret string

const redacted = "[redacted]"

// Format writes that there is a secret, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String says that there is a secret.
func (Secret) String() string { return redacted }

// MarshalText says that there is a secret. JSON and slog use it.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// redact takes secrets out of text that came from elsewhere.
func redact(text string, secrets []Secret) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, string(s), redacted)
		}
	}
	return text
}

// fingerprint names a target without telling it.
func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}
