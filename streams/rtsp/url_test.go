package rtsp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/rtsp"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in, want, host, user string
		fails                bool
	}{
		"plain":               {in: "rtsp://host/path", want: "rtsp://host/path", host: "host:554"},
		"tls":                 {in: "rtsps://host/path", want: "rtsps://host/path", host: "host:322"},
		"upper case":          {in: " RTSP://host:8554/Path ", want: "rtsp://host:8554/Path", host: "host:8554"},
		"user":                {in: "rtsp://user:secret@host/path", want: "rtsp://user:xxxxx@host/path", host: "host:554", user: "user"},
		"odd password":        {in: "rtsp://user:p@ss:w%rd#1@host/path", want: "rtsp://user:xxxxx@host/path", host: "host:554", user: "user"},
		"slash in password":   {in: "rtsp://user:p/ss@host/path", want: "rtsp://user:xxxxx@host/path", host: "host:554", user: "user"},
		"question mark":       {in: "rtsp://user:p?ss@host:554", want: "rtsp://user:xxxxx@host:554", host: "host:554", user: "user"},
		"escaped user":        {in: "rtsp://us%40er:secret@host", want: "rtsp://us%40er:xxxxx@host", host: "host:554", user: "us@er"},
		"ipv6":                {in: "rtsp://user:secret@[fe80::1]:8554/a", want: "rtsp://user:xxxxx@[fe80::1]:8554/a", host: "[fe80::1]:8554", user: "user"},
		"at in path":          {in: "rtsp://host/a@b", want: "rtsp://host/a@b", host: "host:554"},
		"password in query":   {in: "rtsp://host/a?user=x&password=secret&ch=1", want: "rtsp://host/a?user=x&password=xxxxx&ch=1", host: "host:554"},
		"password in path":    {in: "rtsp://host/user=admin_password=secret_channel=1_stream=0.sdp", want: "rtsp://host/user=admin_password=xxxxx_channel=1_stream=0.sdp", host: "host:554"},
		"hash in path":        {in: "rtsp://host/a#b", want: "rtsp://host/a%23b", host: "host:554"},
		"stray percent":       {in: "rtsp://host/a%zz", want: "rtsp://host/a%25zz", host: "host:554"},
		"empty":               {in: "", fails: true},
		"http":                {in: "http://user:secret@host", fails: true},
		"exec":                {in: "exec:rtsp://x", fails: true},
		"no host":             {in: "rtsp://user:secret@/path", fails: true},
		"port":                {in: "rtsp://user:secret@host:port/path", fails: true},
		"port zero":           {in: "rtsp://user:secret@host:0/path", fails: true},
		"control character":   {in: "rtsp://user:sec\nret@host/path", fails: true},
		"header injection":    {in: "rtsp://host/path%0d%0a\r\nX: y", fails: true},
		"escaped line break":  {in: "rtsp://us%0aer:secret@host/path", fails: true},
		"space in host":       {in: "rtsp://ho st/path", fails: true},
		"broken ipv6":         {in: "rtsp://[fe80::1/path", fails: true},
		"too long":            {in: "rtsp://host/" + strings.Repeat("a", 5000), fails: true},
		"unicode in the host": {in: "rtsp://hést/path", fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := rtsp.ParseURL(tt.in)
			if tt.fails {
				require.Error(t, err)
				assert.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, u.String())
			assert.Equal(t, tt.want, rtsp.Redact(tt.in))
			assert.Equal(t, tt.host, u.HostPort())
			assert.Equal(t, tt.user, u.User)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				assert.NotContains(t, fmt.Sprintf(verb, u), "secret")
			}
		})
	}
}

func TestRedactAnything(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"http://user:secret@host/", "rtsp://user:secret@host:bad/", "user:secret@host", "rtsp://user:sec@ret/x@ho st/",
		"rtsp://user:secret", "ftp://a?password=secret",
	} {
		if in == "rtsp://user:secret" {
			continue // nothing says that this is a password: no @
		}
		assert.NotContains(t, rtsp.Redact(in), "sec", in)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("rtsp://user:p@ss:w%rd#1@host/path")
	f.Add("rtsp://[::1]:8554/a?b=c#d")
	f.Add("rtsps://u:p/x@y/z@h/")
	f.Fuzz(func(t *testing.T, s string) {
		_ = rtsp.Redact(s)
		u, err := rtsp.ParseURL(s)
		if err != nil {
			return
		}
		again, err := rtsp.ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q is printed as %q, which is not an address: %v", s, u, err)
		}
		if again.HostPort() != u.HostPort() || again.User != u.User {
			t.Fatalf("%q is printed as %q: another host or user", s, u)
		}
	})
}
