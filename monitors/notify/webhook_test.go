package notify

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/freshet-io/freshet/monitors/alert"
)

// The value is of the specification's own libraries, libraries/*/test.
func TestSignatureIsThatOfTheSpecification(t *testing.T) {
	keys, err := signingKeys([]Secret{testSecret})
	if err != nil {
		t.Fatal(err)
	}
	got := sign(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

const otherSecret Secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD9q8b0GB1kXo="

// sent returns the request that a channel makes at now.
func sent(t *testing.T, c *Channel, m *alert.Message, now time.Time) (*http.Request, []byte) {
	t.Helper()
	r, err := c.render(m, now)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

func TestOfficialVerifierAcceptsOurs(t *testing.T) {
	c, err := NewWebhook(WebhookOptions{Name: "hook", URL: "https://receiver.example/", Secrets: []Secret{testSecret, otherSecret}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, body := sent(t, c, message("ep_1", alert.FiringType), now)
	for _, secret := range []Secret{testSecret, otherSecret} {
		official, err := standardwebhooks.NewWebhook(string(secret))
		if err != nil {
			t.Fatal(err)
		}
		if err := official.Verify(body, r.Header); err != nil {
			t.Errorf("refuses: %v", err)
		}
		tampered := []byte(strings.Replace(string(body), "distance", "distanct", 1))
		if err := official.Verify(tampered, r.Header); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
			t.Errorf("a tampered body: %v", err)
		}
		old, oldBody := sent(t, c, message("ep_1", alert.FiringType), now.Add(-6*time.Minute))
		if err := official.Verify(oldBody, old.Header); !errors.Is(err, standardwebhooks.ErrMessageTooOld) {
			t.Errorf("a stale message: %v", err)
		}
	}
	stranger, _ := standardwebhooks.NewWebhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	if err := stranger.Verify(body, r.Header); err == nil {
		t.Error("a verifier with another secret accepts")
	}
}

func TestVerifierAcceptsOfficialSignatures(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	body := []byte(`{"type":"x"}`)
	official, _ := standardwebhooks.NewWebhook(string(otherSecret))
	signature, err := official.Sign("msg_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	head := func(id, stamp, sig string) http.Header {
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-timestamp", stamp)
		h.Set("webhook-signature", sig)
		return h
	}
	v, err := NewVerifier(testSecret, otherSecret) // the receiver changes secrets
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		h    http.Header
		body string
		at   time.Duration
		want error
	}{
		{"as sent", head("msg_1", "1800000000", signature), string(body), 0, nil},
		{"among others", head("msg_1", "1800000000", "v1a,xx v1,AAAA "+signature), string(body), 0, nil},
		{"five minutes later", head("msg_1", "1800000000", signature), string(body), tolerance, nil},
		{"older", head("msg_1", "1800000000", signature), string(body), tolerance + time.Second, ErrStale},
		{"ahead", head("msg_1", "1800000000", signature), string(body), -tolerance - time.Second, ErrStale},
		{"another body", head("msg_1", "1800000000", signature), `{"type":"y"}`, 0, ErrSignature},
		{"another id", head("msg_2", "1800000000", signature), string(body), 0, ErrSignature},
		{"another time", head("msg_1", "1800000001", signature), string(body), 0, ErrSignature},
		{"a wrong signature", head("msg_1", "1800000000", "v1,AAAA"), string(body), 0, ErrSignature},
		{"an unknown version", head("msg_1", "1800000000", strings.Replace(signature, "v1,", "v2,", 1)), string(body), 0, ErrSignature},
		{"no id", head("", "1800000000", signature), string(body), 0, ErrHeaders},
		{"no signature", head("msg_1", "1800000000", ""), string(body), 0, ErrHeaders},
		{"a time in words", head("msg_1", "now", signature), string(body), 0, ErrHeaders},
		{"a time beyond reason", head("msg_1", "-9223372036854775808", signature), string(body), 0, ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, err := v.Verify(tc.h, []byte(tc.body), now.Add(tc.at))
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if (id == "msg_1") != (tc.want == nil) {
				t.Errorf("id %q", id)
			}
		})
	}
}

func TestBadSecretsAreRefusedWithoutBeingTold(t *testing.T) {
	for _, secret := range []Secret{"", "whsec_", "whsec_c2hvcnQ=", "hush-hush-hush", "whsec_not base64 hush", Secret("whsec_" + strings.Repeat("hush", 23))} {
		_, err := NewWebhook(WebhookOptions{Name: "hook", URL: "https://receiver.example/", Secrets: []Secret{secret}})
		if err == nil {
			t.Errorf("takes a bad secret of %d bytes", len(secret))
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("tells the secret: %v", err)
		}
	}
	if _, err := NewVerifier(); err == nil {
		t.Error("a verifier without a secret")
	}
}

func TestWebhookKeepsItsIDAndBodyOverRetries(t *testing.T) {
	c, _ := NewWebhook(WebhookOptions{Name: "hook", URL: "https://receiver.example/", Secrets: []Secret{testSecret}})
	now := time.Now()
	first, body := sent(t, c, message("ep_1", alert.FiringType), now)
	later, again := sent(t, c, message("ep_1", alert.FiringType), now.Add(time.Hour))
	if first.Header.Get(IDHeader) != "ep_1-firing" || first.Header.Get(IDHeader) != later.Header.Get(IDHeader) || string(body) != string(again) {
		t.Error("the id or the body changed")
	}
	if first.Header.Get(TimestampHeader) == later.Header.Get(TimestampHeader) || first.Header.Get(SignatureHeader) == later.Header.Get(SignatureHeader) {
		t.Error("the time of the attempt is not signed anew")
	}
	if got := first.Header.Get("Content-Type"); got != "application/cloudevents+json" {
		t.Errorf("content type %s", got)
	}
}
