package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/xacam/xacam/streams/media"
)

const (
	clockRate    = 90000           // hertz, RTP clock of video
	reportEvery  = 5 * time.Second // RTCP sender reports
	payloadType  = 96
	ntpEpoch     = 2208988800 // seconds from 1900 to 1970
	fallenBehind = 3 * time.Second
)

// encoder is what both RTP encoders of gortsplib are.
type encoder interface {
	Encode(au [][]byte) ([]*rtp.Packet, error)
}

// Stream is one simulated camera. Its faults may be changed at any time.
type Stream struct {
	name   string
	opener func() (Source, error)
	log    *slog.Logger

	src  Source
	med  *description.Media
	out  *gortsplib.ServerStream
	enc  encoder
	ssrc uint32
	wake chan struct{} // 1: readers or faults changed

	mu      sync.Mutex
	readers map[*gortsplib.ServerSession]struct{}
	fault   faults
	packets uint32
	octets  uint32
}

// faults are what is wrong with the camera right now.
type faults struct {
	stalled bool
	frozen  bool
	drop    int    // packets still to lose
	jump    uint32 // added to every RTP timestamp
	garbage int    // access units still to spoil
	clock   time.Duration
	mute    bool   // no sender reports
	next    Source // to change over to
}

func newStream(name string, open func() (Source, error), log *slog.Logger) *Stream {
	return &Stream{
		name: name, opener: open, log: log.With("camera", name), wake: make(chan struct{}, 1),
		readers: map[*gortsplib.ServerSession]struct{}{},
	}
}

// Stall keeps connections open and sends nothing while on.
func (s *Stream) Stall(on bool) { s.change(func(f *faults) { f.stalled = on }) }

// Freeze sends the last key frame again and again while on: the picture
// stands still, the stream goes on.
func (s *Stream) Freeze(on bool) { s.change(func(f *faults) { f.frozen = on }) }

// Drop loses the next n packets.
func (s *Stream) Drop(n int) { s.change(func(f *faults) { f.drop += n }) }

// Jump moves the RTP timestamps by d, as a camera that restarts its encoder.
func (s *Stream) Jump(d time.Duration) {
	s.change(func(f *faults) { f.jump += uint32(int64(d) * clockRate / int64(time.Second)) }) //nolint:gosec // wraps
}

// Garbage replaces the NAL units of the next n access units by random bytes.
func (s *Stream) Garbage(n int) { s.change(func(f *faults) { f.garbage += n }) }

// SetClock makes the camera's clock, as its sender reports tell, wrong by d.
func (s *Stream) SetClock(d time.Duration) { s.change(func(f *faults) { f.clock = d }) }

// Mute stops the sender reports while on.
func (s *Stream) Mute(on bool) { s.change(func(f *faults) { f.mute = on }) }

// Switch goes on with another clip of the same codec, which may have another
// size: the parameter sets change inside the stream. The stream owns src.
func (s *Stream) Switch(src Source) error {
	if got, want := src.Format().Codec, s.src.Format().Codec; got != want {
		return fmt.Errorf("switch to another clip: it is %s, the stream is %s", got, want)
	}
	s.change(func(f *faults) { f.next = src })
	return nil
}

// Readers returns how many sessions play the stream.
func (s *Stream) Readers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers)
}

func (s *Stream) change(f func(*faults)) {
	s.mu.Lock()
	f(&s.fault)
	s.mu.Unlock()
	s.poke()
}

func (s *Stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Stream) join(r *gortsplib.ServerSession) {
	s.mu.Lock()
	s.readers[r] = struct{}{}
	s.mu.Unlock()
	s.poke()
}

func (s *Stream) leave(r *gortsplib.ServerSession) {
	s.mu.Lock()
	delete(s.readers, r)
	s.mu.Unlock()
}

// open opens the source and describes it.
func (s *Stream) open() error {
	src, err := s.opener()
	if err != nil {
		return err
	}
	s.src = src
	f := src.Format()
	var form format.Format
	switch f.Codec {
	case media.H264:
		h := &format.H264{PayloadTyp: payloadType, SPS: f.SPS, PPS: f.PPS, PacketizationMode: 1}
		form = h
		s.enc, err = h.CreateEncoder()
	case media.H265:
		h := &format.H265{PayloadTyp: payloadType, VPS: f.VPS, SPS: f.SPS, PPS: f.PPS}
		form = h
		s.enc, err = h.CreateEncoder()
	default:
		return fmt.Errorf("codec %s cannot be served", f.Codec)
	}
	s.med = &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{form}}
	return err
}

func (s *Stream) bind(g *gortsplib.Server) error {
	s.out = &gortsplib.ServerStream{Server: g, Desc: &description.Session{Title: s.name, Medias: []*description.Media{s.med}}}
	if err := s.out.Initialize(); err != nil {
		return err
	}
	s.ssrc = s.out.Stats().Medias[s.med].Formats[s.med.Formats[0]].LocalSSRC
	return nil
}

func (s *Stream) close() {
	if s.out != nil {
		s.out.Close()
		s.out = nil
	}
	if s.src != nil {
		_ = s.src.Close()
		s.src = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault.next != nil {
		_ = s.fault.next.Close()
		s.fault.next = nil
	}
}

// run paces the stream.
func (s *Stream) run(ctx context.Context) error {
	p := pacer{s: s, tsBase: rand.Uint32(), start: time.Now()} //nolint:gosec // as RFC 3550 asks, not a secret
	for ctx.Err() == nil {
		if err := p.step(ctx); err != nil {
			return fmt.Errorf("simulated camera %q: %w", s.name, err)
		}
	}
	return nil
}

// pacer is the one goroutine of a stream.
type pacer struct {
	s        *Stream
	start    time.Time // time line position 0
	tsBase   uint32
	loop     *looper
	next     timed
	have     bool
	frozen   *media.AccessUnit // last key frame sent
	reported time.Time
}

// step sends one access unit or waits.
func (p *pacer) step(ctx context.Context) error {
	s := p.s
	s.mu.Lock()
	idle := len(s.readers) == 0 || s.fault.stalled
	change := s.fault.next
	s.fault.next = nil
	s.mu.Unlock()
	if change != nil {
		_ = s.src.Close()
		s.src = change
		p.loop = nil
	}
	if idle {
		p.loop = nil
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
		return nil
	}
	now := time.Now()
	if p.loop == nil || now.Sub(p.start)-p.next.send > fallenBehind && p.have {
		l, err := newLooper(s.src, now.Sub(p.start))
		if err != nil {
			return err
		}
		p.loop, p.have = l, false
	}
	if !p.have {
		var err error
		if p.next, err = p.loop.next(); err != nil {
			return err
		}
		p.have = true
	}
	if wait := p.next.send - now.Sub(p.start); wait > 0 {
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-time.After(wait):
		}
		return nil
	}
	p.have = false
	return p.send(p.next, now)
}

// send writes one access unit, and a sender report when one is due.
func (p *pacer) send(t timed, now time.Time) error {
	s := p.s
	s.mu.Lock()
	f := s.fault
	if f.garbage > 0 {
		s.fault.garbage--
	}
	s.mu.Unlock()
	au := t.au
	if au.Key {
		if !f.frozen || p.frozen == nil {
			p.frozen = au
		}
	}
	if f.frozen && p.frozen != nil {
		au = p.frozen
	}
	nalus := au.NALUs
	if f.garbage > 0 {
		nalus = spoil(nalus)
	} else if au.Key {
		nalus = withSets(s.src.Format(), nalus)
	}
	ts := p.tsBase + uint32(int64(t.pts)*clockRate/int64(time.Second)) + f.jump //nolint:gosec // wraps
	if !f.mute && now.Sub(p.reported) >= reportEvery {
		p.reported = now
		captured := now.Round(0).Add(t.pts - now.Sub(p.start)) // p.start's wall time may have been set since
		if err := s.out.WritePacketRTCP(s.med, &rtcp.SenderReport{
			SSRC: s.ssrc, NTPTime: ntp(captured.Add(f.clock)), RTPTime: ts, PacketCount: s.packets, OctetCount: s.octets,
		}); err != nil {
			return gone(err)
		}
	}
	pkts, err := s.enc.Encode(nalus)
	if err != nil {
		return fmt.Errorf("packetize: %w", err)
	}
	for _, pkt := range pkts {
		pkt.Timestamp = ts
		if s.lose() {
			continue
		}
		s.packets++
		s.octets += uint32(len(pkt.Payload)) //nolint:gosec // a counter that wraps
		if err := s.out.WritePacketRTP(s.med, pkt); err != nil {
			return gone(err)
		}
	}
	return nil
}

// gone swallows the error of a stream that is being closed.
func gone(err error) error {
	if err == nil || isClosed(err) || errors.As(err, new(liberrors.ErrServerStreamClosed)) {
		return nil
	}
	return err
}

func (s *Stream) lose() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault.drop <= 0 {
		return false
	}
	s.fault.drop--
	return true
}

// spoil returns random NAL units of the same sizes and types.
func spoil(nalus [][]byte) [][]byte {
	var out [][]byte
	for _, n := range nalus {
		g := make([]byte, max(len(n), 2))
		for i := range g {
			g[i] = byte(rand.Uint32()) //nolint:gosec // noise
		}
		copy(g, n[:min(len(n), 2)])
		out = append(out, g)
	}
	return out
}

// withSets prepends the parameter sets a key frame lacks.
func withSets(f media.Format, nalus [][]byte) [][]byte {
	for _, n := range nalus {
		if len(n) == 0 {
			continue
		}
		if f.Codec == media.H264 && n[0]&0x1f == 7 || f.Codec == media.H265 && n[0]>>1&0x3f == 33 {
			return nalus
		}
	}
	var out [][]byte
	for _, n := range [][]byte{f.VPS, f.SPS, f.PPS} {
		if len(n) > 0 {
			out = append(out, n)
		}
	}
	return append(out, nalus...)
}

// ntp returns t as NTP time with a binary fraction (RFC 3550, 4).
func ntp(t time.Time) uint64 {
	sec := uint64(t.Unix() + ntpEpoch)                              //nolint:gosec // after 1900
	return sec<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second) //nolint:gosec // not negative
}
