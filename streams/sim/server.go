package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"golang.org/x/sync/errgroup"
)

// Auth is a way to log in.
type Auth string

// Ways to log in.
const (
	Digest       Auth = "digest"        // MD5, RFC 2617
	DigestSHA256 Auth = "digest-sha256" // RFC 7616
	Basic        Auth = "basic"
)

// Config describes a Server.
type Config struct {
	Listen   string                            // host:port; default 127.0.0.1:8554; port 0 picks one
	Streams  map[string]func() (Source, error) // by name, the path in the address; opened by Run
	User     string                            // empty: no log-in
	Password string
	Auth     Auth         // default Digest
	NoUDP    bool         // offer TCP only
	Log      *slog.Logger // default discards
}

func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8554"
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return c, fmt.Errorf("listen address %q: want host:port", c.Listen)
	}
	if len(c.Streams) == 0 {
		return c, errors.New("no streams to serve")
	}
	for name := range c.Streams {
		if name == "" || strings.ContainsAny(name, " ?#%") {
			return c, fmt.Errorf("stream name %q: must not be empty or hold a space or one of ?#%%", name)
		}
	}
	if c.Auth == "" {
		c.Auth = Digest
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Server serves clips, looping, with timestamps that never start over, paced
// in real time. Each stream has one goroutine whatever the number of readers,
// and sends nothing without one; the first reader gets the clip from its start.
type Server struct {
	cfg     Config
	ready   chan struct{}
	streams map[string]*Stream

	mu    sync.Mutex
	addr  string
	conns map[net.Conn]struct{}
	ln    net.Listener
}

// New checks cfg; it opens nothing.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("simulated cameras: %w", err)
	}
	s := &Server{cfg: cfg, ready: make(chan struct{}), streams: map[string]*Stream{}, conns: map[net.Conn]struct{}{}}
	for name, open := range cfg.Streams {
		s.streams[strings.Trim(name, "/")] = newStream(name, open, cfg.Log)
	}
	return s, nil
}

// Ready is closed when the server accepts connections.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns host:port once Ready, else "".
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// URL returns the address of a stream, without log-in, once Ready.
func (s *Server) URL(name string) string { return "rtsp://" + s.Addr() + "/" + name }

// Stream returns a stream for its faults, or nil when there is none.
func (s *Server) Stream(name string) *Stream { return s.streams[name] }

// Kill closes the port and every connection at once, without a word, as a loss
// of power does. Run returns.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		_ = s.ln.Close()
	}
	for c := range s.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

// Run serves until ctx ends or Kill is called, which return nil, or a source
// fails. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	for _, name := range s.names() {
		if err := s.streams[name].open(); err != nil {
			s.closeSources()
			return fmt.Errorf("simulated camera %q: %w", name, err)
		}
	}
	defer s.closeSources()
	g, err := s.start(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	eg, ctx := errgroup.WithContext(ctx)
	for _, st := range s.streams {
		eg.Go(func() error { return st.run(ctx) })
	}
	eg.Go(func() error {
		stop := context.AfterFunc(ctx, g.Close)
		defer stop()
		err := g.Wait()
		cancel()
		if isClosed(err) {
			return nil
		}
		return fmt.Errorf("serve simulated cameras: %w", err)
	})
	close(s.ready)
	err = eg.Wait()
	g.Close()
	return err
}

func isClosed(err error) bool {
	return err == nil || errors.Is(err, net.ErrClosed) || errors.As(err, new(liberrors.ErrServerTerminated))
}

func (s *Server) names() []string {
	var names []string
	for n := range s.streams {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (s *Server) closeSources() {
	for _, st := range s.streams {
		st.close()
	}
}

// start opens the ports. Two UDP ports in a row are needed and cannot be asked
// of the system, so a few are tried.
func (s *Server) start(ctx context.Context) (*gortsplib.Server, error) {
	host, _, _ := net.SplitHostPort(s.cfg.Listen) // checked by withDefaults
	var lastErr error
	for range 20 {
		h := &handler{s: s, playing: map[*gortsplib.ServerConn]joining{}, bound: make(chan struct{})}
		g := &gortsplib.Server{
			Handler:     h,
			RTSPAddress: s.cfg.Listen,
			// 4096 packets are 6 MB: a large key frame for a slow reader.
			WriteQueueSize:           4096,
			DisableRTCPSenderReports: true, // gortsplib's have a wrong fraction of a second
			Listen:                   func(n, a string) (net.Listener, error) { return s.listen(ctx, n, a) },
			AuthMethods:              map[Auth][]auth.VerifyMethod{Digest: {auth.VerifyMethodDigestMD5}, DigestSHA256: {auth.VerifyMethodDigestSHA256}, Basic: {auth.VerifyMethodBasic}}[s.cfg.Auth],
		}
		if !s.cfg.NoUDP {
			rtp, rtcp, err := udpPair(ctx, host)
			if err != nil {
				return nil, fmt.Errorf("find two UDP ports: %w", err)
			}
			g.UDPRTPAddress, g.UDPRTCPAddress = rtp, rtcp
		}
		err := g.Start()
		if err == nil {
			err := s.bind(g)
			close(h.bound)
			if err != nil {
				g.Close()
				return nil, err
			}
			return g, nil
		}
		lastErr = err
		if s.cfg.NoUDP || !isUDP(err) {
			break
		}
	}
	if errors.Is(lastErr, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: the port is in use; stop the other program or choose another port", s.cfg.Listen)
	}
	return nil, fmt.Errorf("listen on %s: %w", s.cfg.Listen, lastErr)
}

func isUDP(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && strings.HasPrefix(op.Net, "udp")
}

// bind makes the streams known to a started server.
func (s *Server) bind(g *gortsplib.Server) error {
	for _, st := range s.streams {
		if err := st.bind(g); err != nil {
			return fmt.Errorf("simulated camera %q: %w", st.name, err)
		}
	}
	return nil
}

// udpPair finds a free even port with a free successor (RFC 3550, 11).
func udpPair(ctx context.Context, host string) (rtp, rtcp string, err error) {
	var lc net.ListenConfig
	for range 200 {
		a, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
		if err != nil {
			return "", "", err
		}
		_, p, _ := net.SplitHostPort(a.LocalAddr().String())
		port, _ := strconv.Atoi(p)
		if port%2 != 0 || port > 65534 {
			_ = a.Close()
			continue
		}
		next := net.JoinHostPort(host, strconv.Itoa(port+1))
		b, err := lc.ListenPacket(ctx, "udp", next)
		_ = a.Close()
		if err != nil {
			continue
		}
		_ = b.Close()
		return net.JoinHostPort(host, p), next, nil
	}
	return "", "", errors.New("no two free ports in a row")
}

// listen opens the TCP port and keeps its connections for Kill.
func (s *Server) listen(ctx context.Context, network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln, s.addr = ln, ln.Addr().String()
	return &listener{Listener: ln, s: s}, nil
}

type listener struct {
	net.Listener
	s *Server
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.conns[c] = struct{}{}
	return &conn{Conn: c, s: l.s}, nil
}

type conn struct {
	net.Conn
	s    *Server
	once atomic.Bool
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.once.CompareAndSwap(false, true) {
		c.s.mu.Lock()
		delete(c.s.conns, c.Conn)
		c.s.mu.Unlock()
	}
	return c.Conn.Close()
}
