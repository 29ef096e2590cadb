package main

import (
	"bytes"
	"sync"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/ring"
	"github.com/xacam/xacam/streams/rtsp"
)

// deck holds the latest seconds of a camera's main stream. A stream of another
// form gets another ring: who reads the old one reads it to its end. It is safe
// for concurrent use.
type deck struct {
	cfg ring.Config

	mu     sync.Mutex
	format media.Format
	ring   *ring.Ring
	last   time.Time // capture time of the newest access unit
	closed bool      // no access unit will come any more
}

func newDeck(keep time.Duration) *deck {
	d := &deck{cfg: ring.Config{Keep: keep, MaxBytes: ringBytes}}
	d.ring = ring.New(d.cfg)
	return d
}

// OnFormat implements rtsp.Handler.
func (d *deck) OnFormat(f media.Format) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.format.Codec != 0 && !sameForm(d.format, f) {
		d.ring = ring.New(d.cfg)
	}
	d.format = f
}

// sameForm reports whether pictures of both formats can be in one file.
func sameForm(a, b media.Format) bool {
	return a.Codec == b.Codec && a.Rotation == b.Rotation && bytes.Equal(a.VPS, b.VPS) && bytes.Equal(a.SPS, b.SPS) && bytes.Equal(a.PPS, b.PPS)
}

// OnAccessUnit implements rtsp.Handler. It takes the same short time whether or
// not clips are being written.
func (d *deck) OnAccessUnit(au *media.AccessUnit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring.Add(au)
	d.last = au.Captured
}

// OnState implements rtsp.Handler. Whether a camera is there is told by the
// stream that is looked at.
func (*deck) OnState(rtsp.State) {}

// Close says that nothing will come any more.
func (d *deck) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// deckState is a deck at a moment.
type deckState struct {
	ring   *ring.Ring
	format media.Format // of what is in the ring
	last   time.Time
	closed bool
}

func (d *deck) state() deckState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return deckState{d.ring, d.format, d.last, d.closed}
}

// SinceKey returns what a decoder that joins now must be given.
func (d *deck) SinceKey() []*media.AccessUnit { return d.state().ring.SinceKey() }
