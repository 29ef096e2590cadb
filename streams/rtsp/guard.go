package rtsp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"
)

const (
	maxMedias    = 32      // media of one description
	maxRedirects = 3       // within the same host
	udpBuffer    = 1 << 20 // bytes asked of the system for one UDP socket
)

// guard stands between gortsplib and the camera for one session. It lets no
// connection go to another host, refuses what gortsplib would follow or could
// not survive, and remembers how far the session came.
type guard struct {
	u       *URL
	timeout time.Duration // until the first answer

	mu        sync.Mutex
	conn      net.Conn
	first     []byte // the first bytes of the answer
	redirects int
	refusal   error // why the session must end; wins over every other error
}

func (g *guard) connected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conn != nil
}

func (g *guard) answered() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.first) > 0
}

// speaks names the protocol that answered instead of RTSP.
func (g *guard) speaks() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case bytes.HasPrefix(g.first, []byte("HTTP")):
		return "a web server"
	case bytes.HasPrefix(g.first, []byte("SSH-")):
		return "an SSH server"
	case len(g.first) > 0 && g.first[0] == 0x15:
		return "a TLS server"
	}
	return "another service"
}

func (g *guard) refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusal == nil {
		g.refusal = err
	}
}

func (g *guard) refused() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal
}

// dial opens the one connection of a session.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address != g.u.HostPort() {
		err := g.u.fail(Refused, nil, "the session leads to another address (%s), which is not followed", address)
		g.refuse(err)
		return nil, err
	}
	d := net.Dialer{KeepAlive: 15 * time.Second}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// gortsplib sets no read deadline, so a server that accepts and stays
	// silent in the TLS handshake would hold the session for ever.
	if err := c.SetReadDeadline(time.Now().Add(g.timeout)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = c
	return &sniffer{Conn: c, g: g}, nil
}

// hangUp closes the socket, which ends everything that waits for it.
func (g *guard) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != nil {
		_ = g.conn.Close()
	}
}

// listen opens a UDP socket with room for the burst of a large key frame. The
// system may give less room; that is not an error.
func (*guard) listen(network, address string) (net.PacketConn, error) {
	pc, err := net.ListenPacket(network, address) //nolint:noctx // the signature is gortsplib's
	if err != nil {
		return nil, err
	}
	if u, ok := pc.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(udpBuffer)
	}
	return pc, nil
}

// sniffer stops a session whose first bytes are not RTSP.
type sniffer struct {
	net.Conn
	g    *guard
	seen bool // used by the one reading goroutine
}

// Read implements net.Conn.
func (s *sniffer) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.seen || n == 0 {
		return n, err
	}
	s.seen = true
	first := bytes.Clone(p[:min(n, 8)])
	s.g.mu.Lock()
	s.g.first = first
	s.g.mu.Unlock()
	if !s.g.u.Secure && !bytes.HasPrefix(first, []byte("RTSP")[:min(n, 4)]) {
		return 0, errNotRTSP
	}
	return n, err
}

// onResponse sees every answer before gortsplib acts on it.
func (g *guard) onResponse(res *base.Response) {
	g.mu.Lock()
	if g.conn != nil {
		_ = g.conn.SetReadDeadline(time.Time{})
	}
	g.mu.Unlock()
	if loc, ok := res.Header["Location"]; ok && res.StatusCode >= 300 && res.StatusCode < 400 {
		g.checkRedirect(res, loc)
	}
	if tr, ok := res.Header["Transport"]; ok {
		var h headers.Transport
		if err := h.Unmarshal(tr); err == nil && h.Source != nil && !g.isPeer(h.Source.String()) {
			g.refuse(g.u.fail(Refused, nil, "it wants to send video from another address (%s), which is not accepted; use tcp", h.Source))
			delete(res.Header, "Transport")
		}
	}
	if len(res.Body) > 0 && strings.HasPrefix(strings.Join(res.Header["Content-Type"], ""), "application/sdp") {
		if err := g.checkSDP(res); err != nil {
			g.refuse(err)
			res.Body = nil
		}
	}
}

func (g *guard) checkRedirect(res *base.Response, loc base.HeaderValue) {
	g.mu.Lock()
	g.redirects++
	n := g.redirects
	g.mu.Unlock()
	target := strings.Join(loc, " ")
	u, err := ParseURL(target)
	if err == nil && n <= maxRedirects && u.HostPort() == g.u.HostPort() && u.Secure == g.u.Secure {
		return
	}
	where := "another address"
	if err == nil {
		where = u.scheme() + "://" + u.Host
	}
	g.refuse(g.u.fail(Refused, nil, "it redirects to %s, which is not followed; if that is right, put that address into the configuration", where))
	delete(res.Header, "Location")
}

// isPeer reports whether host is the camera, by the name in its address or by
// the IP address of the connection.
func (g *guard) isPeer(host string) bool {
	if strings.EqualFold(host, g.u.Hostname()) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn == nil {
		return false
	}
	peer, err1 := netip.ParseAddrPort(g.conn.RemoteAddr().String())
	addr, err2 := netip.ParseAddr(host)
	return err1 == nil && err2 == nil && peer.Addr().Unmap().WithZone("") == addr.Unmap().WithZone("")
}

// checkSDP reads a stream description like gortsplib will, so that a panic or
// an address elsewhere ends here. A description whose parameter sets cannot
// be read is mended: they also travel inside the stream.
func (g *guard) checkSDP(res *base.Response) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = g.u.fail(Refused, fmt.Errorf("panic: %v", p), "its description of the stream cannot be read")
		}
	}()
	session, desc, err := parseSDP(res.Body)
	if err != nil {
		plain := withoutParameters(res.Body)
		if session, desc, err = parseSDP(plain); err != nil {
			return g.u.fail(Refused, err, "its description of the stream cannot be read (%s)", short(err))
		}
		res.Body = plain
	}
	if len(desc.Medias) > maxMedias {
		return g.u.fail(Refused, nil, "its description names %d media, more than %d", len(desc.Medias), maxMedias)
	}
	control, _ := session.Attribute("control")
	for _, at := range append([]string{control}, res.Header["Content-Base"]...) {
		if err := g.checkControl(at); err != nil {
			return err
		}
	}
	addr, err := g.u.address()
	if err != nil {
		return g.u.fail(Refused, err, "the address cannot be used")
	}
	for _, m := range desc.Medias {
		if err := g.checkControl(m.Control); err != nil {
			return err
		}
		if mu, err := m.URL(addr); err != nil || mu == nil {
			return g.u.fail(Refused, err, "its description has a track address that cannot be read")
		}
	}
	return nil
}

// checkControl refuses an absolute control address that leaves the host.
func (g *guard) checkControl(at string) error {
	if !strings.Contains(at, "://") {
		if _, err := base.ParseURL("rtsp://host/" + at); at != "*" && err != nil {
			return g.u.fail(Refused, err, "its description has a track address that cannot be read")
		}
		return nil
	}
	cu, err := base.ParseURL(at)
	if err != nil {
		return g.u.fail(Refused, err, "its description has a track address that cannot be read")
	}
	if !g.isPeer(cu.Hostname()) {
		return g.u.fail(Refused, nil, "its description leads to another host (%s), which is not followed; use the camera's own address", cut(cu.Host))
	}
	return nil
}

func parseSDP(body []byte) (*sdp.SessionDescription, *description.Session, error) {
	var s sdp.SessionDescription
	if err := s.Unmarshal(body); err != nil {
		return nil, nil, err
	}
	var d description.Session
	if err := d.Unmarshal(&s); err != nil {
		return nil, nil, err
	}
	return &s, &d, nil
}

// withoutParameters drops the format parameters of a description.
func withoutParameters(body []byte) []byte {
	var out []byte
	for line := range bytes.Lines(body) {
		if !bytes.HasPrefix(line, []byte("a=fmtp:")) {
			out = append(out, line...)
		}
	}
	return out
}
