package webhook_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/webhook"
)

func headers(t *testing.T, secrets []outbox.Secret, id string, at time.Time, body string) http.Header {
	t.Helper()
	sig, err := webhook.Sign(secrets, []string{"v1", "v1a"}, id, at, []byte(body))
	require.NoError(t, err)
	h := http.Header{}
	h.Set(webhook.HeaderID, id)
	h.Set(webhook.HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(webhook.HeaderSignature, sig)
	return h
}

// TestKnownVector is the example of Standard Webhooks 1.0.
func TestKnownVector(t *testing.T) {
	t.Parallel()
	s, err := outbox.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", time.Time{})
	require.NoError(t, err)
	sig, err := webhook.Sign([]outbox.Secret{s}, []string{"v1"}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	require.NoError(t, err)
	assert.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", sig)
}

// TestOfficialLibrary: the reference library accepts our signatures, also
// while a secret is being changed, and nothing that was tampered with.
func TestOfficialLibrary(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old, oldText, err := newSecret("v1", now.Add(-time.Hour))
	require.NoError(t, err)
	old.Expires = now.Add(time.Hour)
	fresh, freshText, err := newSecret("v1", now)
	require.NoError(t, err)
	asym, public, err := newSecret("v1a", now)
	require.NoError(t, err)
	all := []outbox.Secret{old, asym, fresh}
	h := headers(t, all, "msg-1", now, `{"a":1}`)
	assert.Len(t, strings.Split(h.Get(webhook.HeaderSignature), " "), 3)
	for _, text := range []string{oldText, freshText} {
		lib, err := standardwebhooks.NewWebhook(text)
		require.NoError(t, err)
		require.NoError(t, lib.Verify([]byte(`{"a":1}`), h))
		require.Error(t, lib.Verify([]byte(`{"a":2}`), h))
	}
	// v1a is not in the library: verified by hand, as section "asymmetric" says.
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	require.NoError(t, err)
	seen := false
	for part := range strings.SplitSeq(h.Get(webhook.HeaderSignature), " ") {
		if enc, ok := strings.CutPrefix(part, "v1a,"); ok {
			sig, err := base64.StdEncoding.DecodeString(enc)
			require.NoError(t, err)
			seen = ed25519.Verify(key, fmt.Appendf(nil, "msg-1.%d.%s", now.Unix(), `{"a":1}`), sig)
		}
	}
	assert.True(t, seen)

	old.Expires = now.Add(-time.Second)
	h = headers(t, []outbox.Secret{old, fresh}, "msg-1", now, `{"a":1}`)
	lib, err := standardwebhooks.NewWebhook(oldText)
	require.NoError(t, err)
	require.Error(t, lib.Verify([]byte(`{"a":1}`), h), "it has expired")
	_, err = webhook.Sign([]outbox.Secret{old}, []string{"v1"}, "msg-1", now, nil)
	require.Error(t, err, "nothing goes out unsigned")
	_, err = webhook.Sign([]outbox.Secret{fresh}, []string{"v1"}, "msg.1", now, nil)
	require.Error(t, err, "a dot in the ID would be ambiguous")
}

// TestVerifier: our receiver accepts what the library signs, and refuses all
// that was changed.
func TestVerifier(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, text, err := newSecret("v1", now)
	require.NoError(t, err)
	a, public, err := newSecret("v1a", now)
	require.NoError(t, err)
	v, err := webhook.NewVerifier(text, public)
	require.NoError(t, err)
	onlyPublic, err := webhook.NewVerifier(public)
	require.NoError(t, err)

	lib, err := standardwebhooks.NewWebhook(text)
	require.NoError(t, err)
	sig, err := lib.Sign("m", now, []byte("body"))
	require.NoError(t, err)
	h := http.Header{}
	h.Set(webhook.HeaderID, "m")
	h.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(webhook.HeaderSignature, sig)
	require.NoError(t, v.Verify(h, []byte("body"), now))
	require.Error(t, onlyPublic.Verify(h, []byte("body"), now), "a shared secret is not its scheme")

	good := headers(t, []outbox.Secret{s, a}, "m", now, "body")
	require.NoError(t, onlyPublic.Verify(good, []byte("body"), now))
	for name, change := range map[string]func(http.Header){
		"id":              func(h http.Header) { h.Set(webhook.HeaderID, "n") },
		"no id":           func(h http.Header) { h.Del(webhook.HeaderID) },
		"dot in id":       func(h http.Header) { h.Set(webhook.HeaderID, "m."+h.Get(webhook.HeaderTimestamp)) },
		"time":            func(h http.Header) { h.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix()+1, 10)) },
		"time with a +":   func(h http.Header) { h.Set(webhook.HeaderTimestamp, "+"+h.Get(webhook.HeaderTimestamp)) },
		"no time":         func(h http.Header) { h.Del(webhook.HeaderTimestamp) },
		"no signature":    func(h http.Header) { h.Del(webhook.HeaderSignature) },
		"empty signature": func(h http.Header) { h.Set(webhook.HeaderSignature, "v1,") },
		"no scheme": func(h http.Header) {
			h.Set(webhook.HeaderSignature, strings.ReplaceAll(h.Get(webhook.HeaderSignature), "v1", "v9"))
		},
		"cut": func(h http.Header) { h.Set(webhook.HeaderSignature, h.Get(webhook.HeaderSignature)[:20]) },
	} {
		c := good.Clone()
		change(c)
		require.Error(t, v.Verify(c, []byte("body"), now), name)
	}
	require.Error(t, v.Verify(good, []byte("Body"), now))
	require.Error(t, v.Verify(good, []byte("body"), now.Add(6*time.Minute)), "replayed")
	require.Error(t, v.Verify(good, []byte("body"), now.Add(-6*time.Minute)), "from the future")
	require.NoError(t, v.Verify(good, []byte("body"), now.Add(4*time.Minute)))

	// The public key must not pass for a shared secret.
	forged, err := outbox.ParseSecret("whsec_"+strings.TrimPrefix(public, "whpk_"), now)
	require.NoError(t, err)
	require.Error(t, onlyPublic.Verify(headers(t, []outbox.Secret{forged}, "m", now, "body"), []byte("body"), now))
}

// newSecret returns a signing key and what its receiver is given.
func newSecret(scheme string, now time.Time) (s outbox.Secret, shown string, err error) {
	s = outbox.NewSecret(scheme, now)
	return s, s.Text(), nil
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, text := range []string{
		"", "whsec_", "whsec_" + b64(23), "whsec_" + b64(65), "whsec_!!!", "whsk_" + b64(31), "whsk_" + b64(64), "whpk_" + b64(32), b64(32),
	} {
		_, err := outbox.ParseSecret(text, time.Time{})
		require.Error(t, err, text)
		assert.NotContains(t, err.Error(), b64(23))
	}
	s, err := outbox.ParseSecret("whsk_"+b64(32), time.Time{})
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(s.Public, "whpk_"))
	for _, keys := range [][]string{nil, {"whpk_" + b64(31)}, {"whsk_" + b64(32)}, {"x"}} {
		_, err := webhook.NewVerifier(keys...)
		require.Error(t, err)
	}
}

func FuzzVerify(f *testing.F) {
	v, err := webhook.NewVerifier("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(f, err)
	f.Add("msg", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(`{}`))
	f.Add("", "-1", "v1a, v1,,", []byte(nil))
	f.Fuzz(func(t *testing.T, id, stamp, sig string, body []byte) {
		h := http.Header{webhook.HeaderID: {id}}
		h.Set(webhook.HeaderID, id)
		h.Set(webhook.HeaderTimestamp, stamp)
		h.Set(webhook.HeaderSignature, sig)
		require.Error(t, v.Verify(h, body, time.Unix(1614265330, 0)))
	})
}

func BenchmarkSign(b *testing.B) {
	for _, scheme := range []string{"v1", "v1a"} {
		b.Run(scheme, func(b *testing.B) {
			s, _, err := newSecret(scheme, time.Now())
			require.NoError(b, err)
			body := make([]byte, 2000)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = webhook.Sign([]outbox.Secret{s}, []string{scheme}, "0199-raised", time.Unix(1614265330, 0), body)
			}
		})
	}
}
