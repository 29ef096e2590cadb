package webhook_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/webhook"
)

// names is a Resolver for tests.
type names map[string][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, s := range n[host] {
		list = append(list, netip.MustParseAddr(s))
	}
	return list, nil
}

func endpoint(tb testing.TB, address string) outbox.Endpoint {
	tb.Helper()
	s, _, err := newSecret("v1", time.Now())
	require.NoError(tb, err)
	return outbox.Endpoint{Name: "ioc", URL: address, Timeout: 10 * time.Second, Secrets: []outbox.Secret{s}, Signing: []string{"v1"}, Concurrency: 1}
}

func message() outbox.Message {
	at := time.Date(2026, 11, 23, 15, 14, 5, 0, time.UTC)
	key := events.Key{Source: "cong-cho", Kind: "intrusion"}
	e := events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh, OccurredAt: at,
		Source: events.Source{Type: "camera", ID: key.Source}, Workflow: events.Workflow{State: "new"},
	}
	return outbox.Message{ID: e.ID + "-raised", Sequence: 1, Step: events.StepRaised, Event: e}
}

// TestPrivateAddresses: none of these is ever dialled, in whatever form it comes.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	resolver := names{
		"loopback.example": {"127.0.0.1"}, "private.example": {"10.1.2.3"}, "metadata.example": {"169.254.169.254"},
		"mixed.example": {"192.168.1.1", "fd00::1"}, "six.example": {"::1"}, "none.example": nil, "localhost": {"127.0.0.1", "::1"},
	}
	d := webhook.New(webhook.Config{Resolver: resolver})
	t.Cleanup(func() { _ = d.Close() })
	for name, host := range map[string]string{
		"loopback": "127.0.0.1", "loopback far": "127.255.255.254", "loopback v6": "[::1]", "unspecified": "0.0.0.0",
		"this network": "0.1.2.3", "unspecified v6": "[::]", "metadata": "169.254.169.254", "metadata v6": "[fd00:ec2::254]",
		"10/8": "10.0.0.1", "172.16/12": "172.31.255.255", "192.168/16": "192.168.0.1", "carrier-grade NAT": "100.64.0.1",
		"carrier-grade NAT end": "100.127.255.255", "multicast": "224.0.0.1", "broadcast": "255.255.255.255", "reserved": "240.0.0.1",
		"benchmark": "198.18.0.1", "documentation": "203.0.113.1", "protocol": "192.0.0.1", "6to4 relay": "192.88.99.1",
		"unique local": "[fc00::1]", "unique local d": "[fdff::1]", "link-local": "[fe80::1]", "site-local": "[fec0::1]",
		"multicast v6": "[ff02::1]", "mapped": "[::ffff:127.0.0.1]", "mapped hex": "[::ffff:7f00:1]", "mapped private": "[::ffff:10.0.0.1]",
		"mapped metadata": "[::ffff:a9fe:a9fe]", "compatible": "[::127.0.0.1]", "compatible private": "[::10.0.0.1]",
		"NAT64 loopback": "[64:ff9b::7f00:1]", "NAT64 metadata": "[64:ff9b::169.254.169.254]", "NAT64 local": "[64:ff9b:1::a00:1]",
		"6to4 private": "[2002:a00:1::1]", "6to4 loopback": "[2002:7f00:1::]", "Teredo": "[2001:0:a00:1::1]", "ISATAP": "[2a00:1:2:3:0:5efe:a00:1]",
		"ISATAP global bit": "[2a00:1:2:3:200:5efe:7f00:1]", "discard": "[100::1]", "documentation v6": "[2001:db8::1]", "documentation 3fff": "[3fff::1]",
		"decimal": "2130706433", "hex": "0x7f000001", "octal": "0177.0.0.1", "octal long": "017700000001", "short": "127.1", "dotted hex": "0x7f.0.0.1",
		"mixed forms": "0x7f.1", "leading zero": "127.000.000.001", "trailing dot": "127.0.0.1.", "decimal metadata": "2852039166",
		"name loopback": "loopback.example", "name private": "private.example", "name metadata": "metadata.example",
		"name of several": "mixed.example", "name v6": "six.example", "name of nothing": "none.example", "localhost": "localhost",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, scheme := range []string{"http", "https"} {
				r := d.Deliver(t.Context(), endpoint(t, scheme+"://"+host+":9/hook"), message())
				require.Error(t, r.Err)
				assert.Equal(t, outbox.Retry, r.Outcome)
				assert.Zero(t, r.Status)
				assert.True(t, r.Sent.IsZero())
				assert.Regexp(t, "not a public address|unusual form|no address", r.Err.Error())
				if last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]; host[0] != '[' && !dotted(host) && last[0] <= '9' {
					assert.ErrorContains(t, r.Err, "unusual form", "no resolver is asked what it makes of %s", host)
				}
			}
		})
	}
}

// dotted reports whether a host is IPv4 as everybody writes it.
func dotted(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// TestUserinfo: what comes before an @ is no host, and is not sent either.
func TestUserinfo(t *testing.T) {
	t.Parallel()
	d := webhook.New(webhook.Config{Resolver: names{}})
	for _, address := range []string{
		"http://good.example@127.0.0.1/", "http://good.example:80@[::1]/", `http://good.example\@127.0.0.1/`, "http://user:secret@good.example/",
		"file:///etc/passwd", "gopher://127.0.0.1/", "//127.0.0.1/", "http://", "http://%31%32%37.0.0.1/", "http://１２７.0.0.1/",
	} {
		r := d.Deliver(t.Context(), endpoint(t, address), message())
		require.Error(t, r.Err, address)
		assert.NotContains(t, r.Err.Error(), "secret")
		assert.Zero(t, r.Status)
	}
}

// TestAllowed: a network that an administrator allows is reached, by address and
// by name, and no other.
func TestAllowed(t *testing.T) {
	t.Parallel()
	s, got := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	port := portOf(t, s)
	d := webhook.New(webhook.Config{Resolver: names{"ioc.example": {"127.0.0.1"}, "both.example": {"10.255.0.1", "127.0.0.1"}}})
	t.Cleanup(func() { _ = d.Close() })
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, host := range []string{"127.0.0.1", "ioc.example", "both.example", "[::ffff:127.0.0.1]"} {
		e := endpoint(t, "http://"+host+":"+port+"/")
		e.Name = host
		r := d.Deliver(t.Context(), e, message())
		require.Error(t, r.Err)
		e.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("127.0.0.2/32")}
		r = d.Deliver(t.Context(), e, message())
		require.Error(t, r.Err)
		e.AllowCIDRs = loopback
		r = d.Deliver(t.Context(), e, message())
		require.NoError(t, r.Err, host)
		assert.Equal(t, outbox.Delivered, r.Outcome)
		assert.Equal(t, 204, r.Status)
		assert.False(t, r.Sent.Before(r.Started))
	}
	assert.Equal(t, int64(4), got.Load())
}

// TestSilentAddress: an address that answers nothing leaves time for the others.
func TestSilentAddress(t *testing.T) {
	t.Parallel()
	s, got := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	d := webhook.New(webhook.Config{Resolver: names{"ioc.example": {"127.0.0.2", "127.0.0.1"}}})
	t.Cleanup(func() { _ = d.Close() })
	silent(t, portOf(t, s))
	e := allowed(t, "http://ioc.example:"+portOf(t, s)+"/")
	e.Timeout = 2 * time.Second
	r := d.Deliver(t.Context(), e, message())
	require.NoError(t, r.Err)
	assert.Equal(t, int64(1), got.Load())
}

// silent makes 127.0.0.2 answer nothing on a port: its queue of connections that
// nobody takes is full.
func silent(t *testing.T, port string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 2}}))
	require.NoError(t, syscall.Listen(fd, 0))
	for range 16 {
		c, err := net.DialTimeout("tcp", "127.0.0.2:"+port, 200*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("this system takes connections without end")
}

// TestRebinding: a name that leads elsewhere the second time it is asked for is
// asked only once.
func TestRebinding(t *testing.T) {
	t.Parallel()
	s, got := receive(t, func(http.ResponseWriter, *http.Request) {})
	flip := &flipping{}
	d := webhook.New(webhook.Config{Resolver: flip})
	t.Cleanup(func() { _ = d.Close() })
	e := endpoint(t, "http://rebind.example:"+portOf(t, s)+"/")
	e.Timeout = 1500 * time.Millisecond
	for range 3 {
		before := flip.asked.Load()
		r := d.Deliver(t.Context(), e, message())
		require.Error(t, r.Err)
		assert.LessOrEqual(t, flip.asked.Load()-before, int64(1), "resolved once an attempt")
	}
	assert.Zero(t, got.Load())
}

// flipping answers with a public address, then with loopback, and so on.
type flipping struct{ asked atomic.Int64 }

func (f *flipping) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if f.asked.Add(1)%2 == 1 {
		return []netip.Addr{netip.MustParseAddr("192.31.196.1")}, nil // AS112, answers nothing
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// TestRedirect: where an answer leads is not followed.
func TestRedirect(t *testing.T) {
	t.Parallel()
	inner, got := receive(t, func(http.ResponseWriter, *http.Request) {})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s, _ := receive(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL, status) })
		d := webhook.New(webhook.Config{})
		r := d.Deliver(t.Context(), allowed(t, s.URL), message())
		require.Error(t, r.Err)
		assert.Equal(t, outbox.Retry, r.Outcome)
		assert.Equal(t, status, r.Status)
		require.NoError(t, d.Close())
	}
	assert.Zero(t, got.Load())
}

// TestNoProxy: the environment does not decide where messages go.
func TestNoProxy(t *testing.T) {
	proxy, proxied := receive(t, func(http.ResponseWriter, *http.Request) {})
	s, got := receive(t, func(http.ResponseWriter, *http.Request) {})
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	d := webhook.New(webhook.Config{Resolver: names{"ioc.example": {"127.0.0.1"}}})
	t.Cleanup(func() { _ = d.Close() })
	e := allowed(t, "http://ioc.example:"+portOf(t, s)+"/")
	require.NoError(t, d.Deliver(t.Context(), e, message()).Err)
	assert.Zero(t, proxied.Load())
	assert.Equal(t, int64(1), got.Load())
}

func receive(tb testing.TB, h http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	tb.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		h(w, r)
	}))
	tb.Cleanup(s.Close)
	return s, &n
}

// allowed is an endpoint that may be on this machine.
func allowed(tb testing.TB, address string) outbox.Endpoint {
	tb.Helper()
	e := endpoint(tb, address)
	e.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return e
}

func portOf(tb testing.TB, s *httptest.Server) string {
	tb.Helper()
	u, err := url.Parse(s.URL)
	require.NoError(tb, err)
	return u.Port()
}
