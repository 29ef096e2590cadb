package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/xacam/xacam/streams/media"
)

// closeGrace bounds how long the polite end of a session may take.
const closeGrace = time.Second

// session is one connection to the camera.
type session struct {
	c     *Client
	g     *guard
	first chan struct{} // closed with the first access unit handed out
	fatal chan error    // 1: the first error of a callback

	mu      sync.Mutex // held while callbacks of gortsplib run; UDP has two goroutines
	begin   time.Time
	dep     *depacketizer
	asm     *assembler
	clk     clock
	ssrc    uint32
	ended   bool
	emitted bool          // an access unit was handed out
	zero    time.Duration // PTS of the first access unit handed out
	gap     bool          // to be told with the next access unit
	last    time.Time     // when a unit came last, whether handed out or not
	lost    uint64        // as told to the metrics
}

// Session connects once and hands video to the handler until ctx ends, which
// returns nil, or the session fails, which returns an *Error. OnState is not
// called; online, if not nil, is called with the first access unit.
func (c *Client) Session(ctx context.Context, online func()) error {
	g := &guard{u: c.url, timeout: c.cfg.ConnectTimeout}
	s := &session{c: c, g: g, first: make(chan struct{}), fatal: make(chan error, 1)}
	client, err := s.client()
	if err != nil {
		return c.url.fail(Internal, err, "the session cannot be set up")
	}
	defer func() {
		t := time.AfterFunc(closeGrace, g.hangUp)
		client.Close()
		t.Stop()
		s.finish()
	}()
	if err := s.connect(ctx, client); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return s.watch(ctx, client, online)
}

// client prepares gortsplib; it opens no connection yet.
func (s *session) client() (*gortsplib.Client, error) {
	transport := gortsplib.TransportTCP
	if s.c.cfg.Transport == UDP {
		transport = gortsplib.TransportUDP
	}
	var tc *tls.Config
	if s.c.cfg.TLS != nil {
		tc = s.c.cfg.TLS.Clone() // gortsplib sets the server name in it
	}
	client := &gortsplib.Client{
		Scheme:       s.c.url.scheme(),
		Host:         s.c.url.Host,
		ReadTimeout:  s.c.cfg.ConnectTimeout,
		WriteTimeout: s.c.cfg.ConnectTimeout,
		Transport:    &transport,
		TLSConfig:    tc,
		UserAgent:    "xacam",
		DialContext:  s.g.dial,
		ListenPacket: s.g.listen,
		OnResponse:   s.g.onResponse,
		// Without these gortsplib writes to the standard logger.
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     func(uint64) {},
		OnDecodeError:     func(error) {},
	}
	return client, client.Start2()
}

// connect runs the session up to PLAY.
func (s *session) connect(ctx context.Context, client *gortsplib.Client) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.cfg.ConnectTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.g.hangUp()
		client.Close()
	})
	defer stop()
	err := s.describe(client)
	if err != nil && s.g.refused() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errors.Join(context.DeadlineExceeded, err)
	}
	if err == nil {
		err = s.g.refused()
	}
	if err != nil {
		return s.c.url.classify(err, s.g)
	}
	return nil
}

func (s *session) describe(client *gortsplib.Client) error {
	u, err := s.c.url.address()
	if err != nil {
		return err
	}
	desc, _, err := client.Describe(u)
	if err != nil {
		return err
	}
	if err := s.g.refused(); err != nil {
		return err
	}
	m, f, err := s.c.url.pick(desc)
	if err != nil {
		return err
	}
	if err := s.prepare(f); err != nil {
		return err
	}
	if _, err := client.Setup(desc.BaseURL, m, 0, 0); err != nil {
		return err
	}
	client.OnPacketRTP(m, f, s.onRTP)
	client.OnPacketRTCP(m, s.onRTCP)
	_, err = client.Play(nil)
	return err
}

// pick chooses the first track that can be decoded.
func (u *URL) pick(desc *description.Session) (*description.Media, format.Format, error) {
	codec := ""
	for _, m := range desc.Medias {
		if m.Type != description.MediaTypeVideo || m.IsBackChannel {
			continue
		}
		for _, f := range m.Formats {
			switch f.(type) {
			case *format.H264, *format.H265:
				return m, f, nil
			}
			if codec == "" {
				codec = f.Codec()
				if g, ok := f.(*format.Generic); ok {
					codec = g.RTPMap()
				}
			}
		}
	}
	if codec != "" {
		return nil, nil, u.fail(UnsupportedCodec, nil, "its video is %s; set the camera to H.264 or H.265", cut(codec))
	}
	return nil, nil, u.fail(NoVideo, nil, "the stream has no video; check the path of the address")
}

// prepare builds what turns packets into access units.
func (s *session) prepare(f format.Format) error {
	codec, packetization := media.H264, 0
	var v, sp, p []byte
	switch f := f.(type) {
	case *format.H264:
		sp, p = f.SafeParams()
		packetization = f.PacketizationMode
	case *format.H265:
		codec = media.H265
		v, sp, p = f.SafeParams()
		packetization = f.MaxDONDiff
	}
	dep, err := newDepacketizer(codec, packetization)
	if err != nil {
		return s.c.url.fail(UnsupportedCodec, err, "its way of packing video is not supported (%s)", short(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dep, s.asm = dep, newAssembler(codec, v, sp, p)
	s.begin = time.Now()
	s.last = s.begin
	return nil
}

// watch waits for the end of the session.
func (s *session) watch(ctx context.Context, client *gortsplib.Client, online func()) error {
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }() // ends with client.Close
	first := s.first
	t := time.NewTimer(s.c.cfg.StallTimeout)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.fatal:
			return err
		case err := <-ended:
			if err := s.fatalNow(); err != nil {
				return err
			}
			return s.c.url.classify(err, s.g)
		case <-first:
			first = nil
			if online != nil {
				online()
			}
		case <-t.C:
			next, err := s.check()
			if err != nil {
				return err
			}
			t.Reset(next)
		}
	}
}

func (s *session) fatalNow() error {
	select {
	case err := <-s.fatal:
		return err
	default:
		return nil
	}
}

// check returns when to check again, or why the session must end.
func (s *session) check() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, u := time.Now(), s.c.url
	if idle := now.Sub(s.last); idle >= s.c.cfg.StallTimeout {
		if !s.dep.started && s.c.cfg.Transport == UDP {
			return 0, u.fail(Stalled, nil, "no video arrived over UDP in %s; a firewall may stop it: use tcp", s.c.cfg.StallTimeout)
		}
		return 0, u.fail(Stalled, nil, "no video for %s; check the camera and the network", idle.Truncate(100*time.Millisecond))
	}
	if !s.emitted && now.Sub(s.begin) > s.c.cfg.KeyTimeout {
		return 0, u.fail(NoKeyFrame, nil, "no key frame in %s; set the camera's I-frame interval to 1 or 2 seconds", s.c.cfg.KeyTimeout)
	}
	return max(s.last.Add(s.c.cfg.StallTimeout).Sub(now), 10*time.Millisecond), nil
}

// rescue turns a panic of a callback into the end of the session.
func (s *session) rescue() {
	p := recover()
	if p == nil {
		return
	}
	s.ended = true
	stack := debug.Stack()
	s.c.cfg.Log.Error("camera session panicked", "stack", s.c.url.scrub(string(stack)))
	err := s.c.url.fail(Internal, fmt.Errorf("panic: %v", p), "the session failed inside xacam (%s); please report it", cut(fmt.Sprint(p)))
	select {
	case s.fatal <- err:
	default:
	}
}

// onRTCP takes sender reports.
func (s *session) onRTCP(p rtcp.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.rescue()
	r, ok := p.(*rtcp.SenderReport)
	if !ok || s.ended || s.dep.started && r.SSRC != s.ssrc {
		return
	}
	s.clk.senderReport(r.NTPTime, r.RTPTime, s.now())
}

// now is the moment of an arrival. This is the edge where time comes in.
func (s *session) now() instant {
	n := time.Now()
	return instant{wall: n.Round(0).UTC(), mono: n.Sub(s.begin)}
}

// onRTP takes one packet of video.
func (s *session) onRTP(p *rtp.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.rescue()
	if s.ended {
		return
	}
	s.ssrc = p.SSRC
	for _, u := range s.dep.push(p) {
		s.take(u)
	}
}

// take hands one unit to the handler as an access unit.
func (s *session) take(u unit) {
	st, m := &s.c.stats, &s.c.metrics
	s.gap = s.gap || u.gap
	at := s.now()
	nalus, isKey := s.asm.add(u.nalus)
	if nalus == nil {
		return
	}
	s.last = s.begin.Add(at.mono)
	t := s.clk.observe(u.ts, at)
	if lost := s.dep.lost - s.lost; lost > 0 {
		s.lost = s.dep.lost
		m.lost.Add(float64(lost))
		st.lost.Add(lost)
	}
	if t.Jumped {
		m.jumps.Inc()
		st.jumps.Add(1)
	}
	st.clock(&s.clk)
	if !s.emitted && !isKey {
		st.waiting.Add(1)
		return
	}
	if isKey && s.asm.changed {
		s.asm.changed = false
		s.c.cfg.Handler.OnFormat(s.asm.format)
	}
	if s.emitted && s.asm.changed && !s.asm.complete() {
		s.gap = true // new sequence, but its sets are not whole yet
		return
	}
	if !s.emitted {
		s.zero = t.PTS
	}
	au := &media.AccessUnit{PTS: t.PTS - s.zero, Captured: t.Captured, Key: isKey, Gap: s.gap && s.emitted, NALUs: nalus}
	s.gap = false
	size := uint64(au.Size()) //nolint:gosec // not negative
	st.units.Add(1)
	st.bytes.Add(size)
	m.units.Inc()
	m.bytes.Add(float64(size))
	if au.Gap {
		st.gaps.Add(1)
		m.gaps.Inc()
	}
	if !s.emitted {
		s.emitted = true
		close(s.first)
	}
	s.c.cfg.Handler.OnAccessUnit(au)
}

// finish marks the session as over; no callback comes after it.
func (s *session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}
