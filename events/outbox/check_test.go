package outbox_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

func TestCheckDefaults(t *testing.T) {
	t.Parallel()
	e, err := outbox.Endpoint{Name: "ioc", URL: "https://ioc.example/hook"}.Check()
	require.NoError(t, err)
	assert.Equal(t, outbox.Endpoint{
		Name: "ioc", URL: "https://ioc.example/hook", Format: outbox.FormatCloudEvents, Signing: []string{"v1"},
		Timeout: 15 * time.Second, Rate: 20, Concurrency: 1, Heartbeat: 5 * time.Minute, ExpireAfter: 7 * 24 * time.Hour,
	}, e)
	e.Heartbeat = -1
	_, err = e.Check()
	require.NoError(t, err)
}

func TestCheckFields(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*outbox.Endpoint)
		field  string
	}{
		"no name":           {func(e *outbox.Endpoint) { e.Name = "" }, "name"},
		"long name":         {func(e *outbox.Endpoint) { e.Name = strings.Repeat("a", 64) }, "name"},
		"no url":            {func(e *outbox.Endpoint) { e.URL = "" }, "url"},
		"file":              {func(e *outbox.Endpoint) { e.URL = "file:///etc/passwd" }, "url"},
		"gopher":            {func(e *outbox.Endpoint) { e.URL = "gopher://a/" }, "url"},
		"opaque":            {func(e *outbox.Endpoint) { e.URL = "http:a.example" }, "url"},
		"no host":           {func(e *outbox.Endpoint) { e.URL = "https:///x" }, "url"},
		"only port":         {func(e *outbox.Endpoint) { e.URL = "https://:443/" }, "url"},
		"user":              {func(e *outbox.Endpoint) { e.URL = "https://good.example@10.0.0.1/" }, "url"},
		"password":          {func(e *outbox.Endpoint) { e.URL = "https://u:secret@a.example/" }, "url"},
		"empty user":        {func(e *outbox.Endpoint) { e.URL = "https://@a.example/" }, "url"},
		"backslash":         {func(e *outbox.Endpoint) { e.URL = `https://a.example\@10.0.0.1/` }, "url"},
		"line feed":         {func(e *outbox.Endpoint) { e.URL = "https://a.example/\nHost: b" }, "url"},
		"zone":              {func(e *outbox.Endpoint) { e.URL = "https://[fe80::1%25eth0]/" }, "url"},
		"port":              {func(e *outbox.Endpoint) { e.URL = "https://a.example:70000/" }, "url"},
		"fragment":          {func(e *outbox.Endpoint) { e.URL = "https://a.example/#x" }, "url"},
		"long url":          {func(e *outbox.Endpoint) { e.URL = "https://a.example/" + strings.Repeat("x", 2000) }, "url"},
		"format":            {func(e *outbox.Endpoint) { e.Format = "xml" }, "format"},
		"signing":           {func(e *outbox.Endpoint) { e.Signing = []string{"v1", "none"} }, "signing[1]"},
		"signing twice":     {func(e *outbox.Endpoint) { e.Signing = []string{"v1", "v1"} }, "signing[1]"},
		"cidr":              {func(e *outbox.Endpoint) { e.AllowCIDRs = []netip.Prefix{{}} }, "allow_cidrs[0]"},
		"cidr bits":         {func(e *outbox.Endpoint) { e.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")} }, "allow_cidrs[0]"},
		"cidr all":          {func(e *outbox.Endpoint) { e.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }, "allow_cidrs[0]"},
		"cidr mapped":       {func(e *outbox.Endpoint) { e.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")} }, "allow_cidrs[0]"},
		"ca":                {func(e *outbox.Endpoint) { e.CA = "secret" }, "ca"},
		"ca key":            {func(e *outbox.Endpoint) { e.CA = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" }, "ca"},
		"ca broken":         {func(e *outbox.Endpoint) { e.CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }, "ca"},
		"timeout":           {func(e *outbox.Endpoint) { e.Timeout = 31 * time.Second }, "timeout"},
		"rate":              {func(e *outbox.Endpoint) { e.Rate = math.NaN() }, "rate"},
		"rate negative":     {func(e *outbox.Endpoint) { e.Rate = -1 }, "rate"},
		"concurrency":       {func(e *outbox.Endpoint) { e.Concurrency = 33 }, "concurrency"},
		"heartbeat":         {func(e *outbox.Endpoint) { e.Heartbeat = time.Second }, "heartbeat"},
		"expire":            {func(e *outbox.Endpoint) { e.ExpireAfter = time.Hour }, "expire_after"},
		"header":            {func(e *outbox.Endpoint) { e.Headers = map[string]string{"a b": "x"} }, "headers"},
		"header host":       {func(e *outbox.Endpoint) { e.Headers = map[string]string{"Host": "x"} }, "headers.Host"},
		"header signature":  {func(e *outbox.Endpoint) { e.Headers = map[string]string{"Webhook-Signature": "x"} }, "headers.Webhook-Signature"},
		"header line":       {func(e *outbox.Endpoint) { e.Headers = map[string]string{"X": "a\r\nb: c"} }, "headers.X"},
		"filter severity":   {func(e *outbox.Endpoint) { e.Filter.Severity = "huge" }, "filter.severity"},
		"filter steps":      {func(e *outbox.Endpoint) { e.Filter.Steps = []events.Step{"gone"} }, "filter.steps"},
		"filter schedule":   {func(e *outbox.Endpoint) { e.Filter.Schedule = "25:00" }, "filter.schedule"},
		"filter long lists": {func(e *outbox.Endpoint) { e.Filter.Sources = make([]string, 501) }, "filter.sources"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := outbox.Endpoint{Name: "ioc", URL: "https://ioc.example/hook"}
			tt.change(&e)
			_, err := e.Check()
			var field *events.FieldError
			require.ErrorAs(t, err, &field)
			assert.Equal(t, tt.field, field.Field)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestCheckEveryProblem: one call tells all that is wrong.
func TestCheckEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := outbox.Endpoint{Name: "A", URL: "ftp://x", Format: "x", Rate: -1, Timeout: time.Hour}.Check()
	require.Error(t, err)
	assert.Len(t, strings.Split(err.Error(), "\n"), 5)
}

func TestRedactedURL(t *testing.T) {
	t.Parallel()
	e := outbox.Endpoint{Name: "ioc", URL: "https://ioc.example/hook"}
	assert.Equal(t, "https://ioc.example/hook", outbox.SpecOf(e, false).URL)
	e.URL += "?token=verysecret"
	assert.Equal(t, e.URL, outbox.SpecOf(e, true).URL)
	s := outbox.SpecOf(e, false)
	assert.Equal(t, "https://ioc.example/hook?<redacted>", s.URL)
	_, err := s.Endpoint()
	require.ErrorContains(t, err, "url", "what was redacted is no address")
	for shown, want := range map[string]string{
		"https://ioc.example/hook?<redacted>":  e.URL,
		"https://evil.example/hook?<redacted>": "https://evil.example/hook?<redacted>", // the key goes nowhere else
		"https://ioc.example/hook":             "https://ioc.example/hook",
		"https://ioc.example/hook?token=new":   "https://ioc.example/hook?token=new",
	} {
		s.URL = shown
		s.KeepURL(e.URL)
		assert.Equal(t, want, s.URL)
	}
}
