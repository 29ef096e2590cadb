package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const endpointDocument = `endpoint: ioc-tinh
url: https://ioc.example/hook
filter: {severity: medium, kinds: [intrusion], cameras: [cong-cho], steps: [raised, cleared], schedule: "daily 06:00-22:00"}
signing: [v1, v1a]
allow_cidrs: [10.92.0.0/16]
timeout: 10s
heartbeat: 2m
headers: {Authorization: Bearer geheim-token}
`

// TestApplyEndpoints: endpoints stand beside cameras, their new secrets are
// shown once, and what export writes is taken as unchanged.
func TestApplyEndpoints(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	file := writeFile(t, "all.yaml", "# a comment\n---\n"+endpointDocument+"---\ncamera: a\nurl: rtsp://127.0.0.1:1/a\n---\nendpoint: b\nurl: https://b.example/\nenabled: false\n"+
		"secret: whsec_"+strings.Repeat("QUJD", 8)+"\n")
	r := xacam(t, "apply", "-c", db.config, "-f", file, "--dry-run")
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "1 cameras and 2 endpoints are valid")
	r = xacam(t, "check-config", "-f", file)
	require.Equal(t, exitOK, r.code, r.stderr)
	r = xacam(t, "apply", "-c", db.config, "-f", file)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "a: added, version 1\n")
	assert.Contains(t, r.stdout, "endpoint ioc-tinh: added, version 1\n")
	assert.Equal(t, 2, strings.Count(r.stdout, "endpoint ioc-tinh: secret"))
	assert.Contains(t, r.stdout, "whpk_")
	r = xacam(t, "apply", "-c", db.config, "-f", file)
	assert.Equal(t, "a: unchanged, version 1\nendpoint b: unchanged, version 1\nendpoint ioc-tinh: unchanged, version 1\n", r.stdout)

	out := xacam(t, "export", "-c", db.config)
	require.Equal(t, exitOK, out.code, out.stderr)
	for _, says := range []string{"Bearer geheim-token", "whsec_" + strings.Repeat("QUJD", 8), "whsk_", "camera: a"} {
		assert.Contains(t, out.stdout, says)
	}
	r = xacamStdin(t, out.stdout, "apply", "-c", db.config, "-f", "-", "--prune")
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Equal(t, "a: unchanged, version 1\nendpoint b: unchanged, version 1\nendpoint ioc-tinh: unchanged, version 1\n", r.stdout)
	r = xacam(t, "export", "-c", db.config, "--redact", "b", "ioc-tinh")
	require.Equal(t, exitOK, r.code, r.stderr)
	for _, secret := range []string{"geheim", "QUJD", "whsk_", "camera"} {
		assert.NotContains(t, r.stdout, secret+":")
		assert.NotContains(t, r.stdout, secret+"-")
	}
	r = xacamStdin(t, r.stdout, "apply", "-c", db.config, "-f", "-")
	assert.Equal(t, exitUsage, r.code)
	assert.Contains(t, r.stderr, "endpoints[1].headers.Authorization: ")
	r = xacamStdin(t, endpointDocument, "apply", "-c", db.config, "-f", "-", "--prune")
	assert.Equal(t, "endpoint ioc-tinh: unchanged, version 1\nendpoint b: deleted\n", r.stdout, "the cameras stay: the file is not about them")
}

func TestApplyListsEveryProblemOfEndpoints(t *testing.T) {
	t.Parallel()
	text := "camera: a\nurl: rtsp://127.0.0.1:1/a\n---\nendpoint: OK\nurl: https://u:geheim@x.example/\ntimeout: soon\nallow_cidrs: [10.0.0.1]\n" +
		"filter: {severity: huge}\nsecret: whsec_geheim\n---\nendpoint: b\nurl: ftp://x\nca: |\n  nothing\n---\nendpoint: b\nurl: https://b.example/\n"
	r := xacamStdin(t, text, "apply", "-c", configFile(t, ""), "-f", "-")
	assert.Equal(t, exitUsage, r.code)
	for _, says := range []string{
		"endpoints[0].name: ", "endpoints[0].url: ", "endpoints[0].timeout: ", "endpoints[0].allow_cidrs[0]: ", "endpoints[0].filter.severity: ",
		"endpoints[0].secret: ", "endpoints[1].url: ", "endpoints[1].ca: ", `endpoints[2].endpoint: "b" is used twice`,
	} {
		assert.Contains(t, r.stderr, says)
	}
	assert.NotContains(t, r.stderr, "geheim")
	for name, c := range map[string]struct{ text, says string }{
		"unknown field": {"camera: a\nurl: rtsp://h/\n---\nendpoint: b\nurll: https://geheim.example/\n", "line 5: unknown field urll"},
		"wrong type":    {"endpoint: b\nurl: [geheim]\n", "line 2: is not of the right kind"},
		"no number":     {"endpoint: b\nurl: https://x.example/\nconcurrency: geheim\n", "line 3: is not a number"},
		"not YAML":      {"endpoint: b\nurl: {\n", "line"},
	} {
		r := xacamStdin(t, c.text, "apply", "-c", configFile(t, ""), "-f", "-")
		assert.Equal(t, exitUsage, r.code, name)
		assert.Contains(t, r.stderr, c.says, name)
		assert.NotContains(t, r.stderr, "geheim", name)
	}
}
