package still

import (
	"fmt"
	"math"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

const (
	shortCap    = 1500                   // ms: a colour that was there for longer is given up as fast
	forget      = 3                      // a colour is given up so many times faster than it is learnt
	minKnown    = 300                    // ms for which a background must have been seen before it counts
	longCap     = 60000                  // ms
	nudgeEvery  = 400 * time.Millisecond // the long background follows slow light by one grey level
	minNoise    = 20                     // grey levels by which two colours must differ at least
	maxNoise    = 48
	globalPart  = .4 // of the picture changed at once: the light, or the camera
	globalAfter = 400 * time.Millisecond
	lightJump   = .08                    // change of gain between two pictures
	rebaseAt    = .3                     // a gain this far from 1 is taken into the models
	quarantine  = 2 * time.Second        // after the light jumped
	lostFor     = 700 * time.Millisecond // a track's box still hides what is behind when it was not found for so long
)

// field is the canvas with its models.
type field struct {
	cfg  *Config
	w, h int
	ids  *uint64
	reg  registrar

	raw, img  []byte   // BGR: the picture, and what it is on the canvas at the reference's light
	gray      []byte   // of either
	outside   []byte   // by pixel: not in the picture
	hidden    []byte   // by pixel: outside, masked or behind a track
	masks     []byte   // by picture pixel: configured masks
	long      []byte   // BGR
	short     []byte   // BGR
	held      []uint16 // ms for which short has been seen
	known     []uint16 // ms for which long has been seen
	born      []uint32 // ms since began at which short took its colour
	seenLong  []uint32 // ms since began at which long was last seen
	static    []byte   // by pixel: short is settled and differs from long
	owned     []byte   // by pixel: belongs to a thing
	finder    finder
	began     time.Time
	gain      [3]float64 // of the picture over the models, by channel
	lut       [3][256]byte
	noise     int // grey levels by which two colours must differ
	histogram [3][512]int32
	spread    [256]int32

	nudged   time.Time
	globalAt time.Time // since when too much differs; zero when it does not
	jumped   time.Time // when the light last jumped
	calm     time.Time // before which nothing new is believed
	things   []*thing

	offX, offY int // by how much the canvas has moved since the start, in pixels
}

func newField(cfg *Config, w, h int, at time.Time, ids *uint64) (*field, error) {
	n := w * h
	f := &field{
		cfg: cfg, w: w, h: h, ids: ids, began: at, gain: [3]float64{1, 1, 1}, noise: minNoise,
		raw: make([]byte, 3*n), img: make([]byte, 3*n), gray: make([]byte, n), outside: make([]byte, n), hidden: make([]byte, n),
		long: make([]byte, 3*n), short: make([]byte, 3*n), held: make([]uint16, n), known: make([]uint16, n),
		born: make([]uint32, n), seenLong: make([]uint32, n), static: make([]byte, n), owned: make([]byte, n),
	}
	f.reg = registrar{w: w, h: h, to: identity(), guess: identity()}
	f.finder = newFinder(w, h)
	if cfg.NewAligner != nil {
		a, err := cfg.NewAligner(w, h)
		if err != nil {
			return nil, err
		}
		f.reg.aligner, f.reg.newAligner = a, cfg.NewAligner
	}
	if len(cfg.Masks) > 0 {
		f.masks = make([]byte, n)
		for i := range f.masks {
			p := geom.Point{X: (float64(i%w) + .5) / float64(w), Y: (float64(i/w) + .5) / float64(h)}
			for _, m := range cfg.Masks {
				if m.Contains(p) {
					f.masks[i] = 255
				}
			}
		}
	}
	f.setGain([3]float64{1, 1, 1})
	return f, nil
}

// ms returns the time of at in the field's 32 bits, never 0.
func (f *field) ms(at time.Time) uint32 {
	return uint32(max(1, at.Sub(f.began).Milliseconds()+1)) //nolint:gosec // within maxLife
}

func (f *field) time(ms uint32) time.Time {
	return f.began.Add(time.Duration(ms-1) * time.Millisecond)
}

// look takes one picture in.
func (f *field) look(p media.Picture, s *vision.Scene, dt time.Duration, who *witnesses) error {
	if err := p.BGR(f.raw, f.w, f.h); err != nil {
		return fmt.Errorf("scale the picture: %w", err)
	}
	at := s.At
	f.toGray(f.raw, &f.lut)
	where, err := f.reg.place(f.gray, at)
	if err != nil {
		return err
	}
	switch where {
	case unknown:
		return nil
	case another:
		f.startOver(at)
		who.objects = nil
	case placed:
		if dx, dy := f.reg.scroll(); dx != 0 || dy != 0 {
			f.scroll(dx, dy)
		}
	}
	if err := f.project(); err != nil {
		return err
	}
	who.see(s, f)
	f.hide(s)
	f.measure(at)
	changed := f.learn(at, dt)
	f.judgeLight(at, changed)
	f.followThings(at, dt, who)
	if f.globalAt.IsZero() && !at.Before(f.calm) {
		f.findThings(at, who)
	}
	return f.keepUp(at)
}

// project writes the picture as it lies on the canvas into img, outside too.
func (f *field) project() error {
	if f.reg.to == identity() {
		copy(f.img, f.raw)
		f.frame()
		return nil
	}
	return f.reg.aligner.Warp(f.img, f.outside, f.raw, f.reg.to)
}

// border is how many pixels along its border a picture is not trusted: decoders
// leave dark lines there, which would be taken for background where the camera
// has moved on.
const border = 2

// frame marks the border of a picture that lies where the canvas is.
func (f *field) frame() {
	clear(f.outside)
	if f.reg.aligner == nil {
		return
	}
	for k := range border * f.w {
		f.outside[k], f.outside[len(f.outside)-1-k] = 255, 255
	}
	for y := range f.h {
		for k := range border {
			f.outside[y*f.w+k], f.outside[(y+1)*f.w-1-k] = 255, 255
		}
	}
}

// hide marks what is not looked at: outside of the picture, masked, and behind
// whoever can move.
func (f *field) hide(s *vision.Scene) {
	copy(f.hidden, f.outside)
	if f.masks != nil {
		f.hideMasks()
	}
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if !mobile(t.Label) || s.At.Sub(t.Seen) > lostFor {
			continue
		}
		w, h := t.Box.Width(), t.Box.Height()
		b := f.onCanvas(geom.Box{
			Min: geom.Point{X: t.Box.Min.X - .1*w, Y: t.Box.Min.Y - .06*h},
			Max: geom.Point{X: t.Box.Max.X + .1*w, Y: t.Box.Max.Y + .08*h},
		})
		for y := max(0, b.y0-1); y < min(f.h, b.y1+1); y++ {
			x0, x1 := max(0, b.x0-1), min(f.w, b.x1+1)
			for x := x0; x < x1; x++ {
				f.hidden[y*f.w+x] = 255
			}
		}
	}
}

func (f *field) hideMasks() {
	back := invertProjection(f.reg.to)
	for y := range f.h {
		for x := range f.w {
			px, py := float64(x), float64(y)
			if f.reg.to != identity() {
				px, py = mapPoint(back, px, py)
			}
			if px >= 0 && py >= 0 && px < float64(f.w) && py < float64(f.h) && f.masks[int(py)*f.w+int(px)] != 0 {
				f.hidden[y*f.w+x] = 255
			}
		}
	}
}

// rect is a box of canvas pixels, x1 and y1 outside.
type rect struct{ x0, y0, x1, y1 int }

func (r rect) width() int  { return r.x1 - r.x0 }
func (r rect) height() int { return r.y1 - r.y0 }

func (r rect) union(o rect) rect {
	return rect{min(r.x0, o.x0), min(r.y0, o.y0), max(r.x1, o.x1), max(r.y1, o.y1)}
}

// overlap returns the common area in pixels.
func (r rect) overlap(o rect) int {
	return max(0, min(r.x1, o.x1)-max(r.x0, o.x0)) * max(0, min(r.y1, o.y1)-max(r.y0, o.y0))
}

func (r rect) area() int { return max(0, r.width()) * max(0, r.height()) }

// gap returns the distance between two boxes in pixels; 0 when they touch.
func (r rect) gap(o rect) float64 {
	dx := max(0, max(r.x0, o.x0)-min(r.x1, o.x1))
	dy := max(0, max(r.y0, o.y0)-min(r.y1, o.y1))
	return math.Hypot(float64(dx), float64(dy))
}

// onCanvas returns where a normalised box of the latest picture lies; it may
// reach beyond the canvas.
func (f *field) onCanvas(b geom.Box) rect {
	w, h := float64(f.w), float64(f.h)
	lo, hi := geom.Point{X: math.Inf(1), Y: math.Inf(1)}, geom.Point{X: math.Inf(-1), Y: math.Inf(-1)}
	for _, c := range [4]geom.Point{b.Min, b.Max, {X: b.Min.X, Y: b.Max.Y}, {X: b.Max.X, Y: b.Min.Y}} {
		x, y := mapPoint(f.reg.to, c.X*w, c.Y*h)
		lo = geom.Point{X: min(lo.X, x), Y: min(lo.Y, y)}
		hi = geom.Point{X: max(hi.X, x), Y: max(hi.Y, y)}
	}
	far := 4 * max(w, h)
	px := func(v float64) int {
		if math.IsNaN(v) {
			return 0
		}
		return int(math.Round(min(max(v, -far), far)))
	}
	return rect{px(lo.X), px(lo.Y), px(hi.X), px(hi.Y)}
}

// inPicture returns where canvas pixels are in the latest picture, normalised
// and clipped.
func (f *field) inPicture(r rect) geom.Box {
	back := invertProjection(f.reg.to)
	w, h := float64(f.w), float64(f.h)
	b := geom.Box{Min: geom.Point{X: 1, Y: 1}}
	for _, c := range [4][2]int{{r.x0, r.y0}, {r.x1, r.y1}, {r.x0, r.y1}, {r.x1, r.y0}} {
		x, y := mapPoint(back, float64(c[0]), float64(c[1]))
		if math.IsNaN(x) || math.IsNaN(y) {
			continue
		}
		x, y = min(max(x/w, 0), 1), min(max(y/h, 0), 1)
		b.Min = geom.Point{X: min(b.Min.X, x), Y: min(b.Min.Y, y)}
		b.Max = geom.Point{X: max(b.Max.X, x), Y: max(b.Max.Y, y)}
	}
	return b
}

// keepUp renews the reference.
func (f *field) keepUp(at time.Time) error {
	if f.reg.aligner == nil {
		return nil
	}
	if !f.reg.stale(at) {
		return nil
	}
	if f.reg.sways(at) { // what is seen now is the next picture's neighbour
		for i := range f.hidden {
			if f.hidden[i] != 0 {
				copy(f.img[3*i:3*i+3], f.long[3*i:3*i+3])
			}
		}
		f.toGray(f.img, nil)
	} else {
		f.toGray(f.long, nil)
	}
	use := f.static // rewritten at each look
	for i := range use {
		use[i] = 0
		if f.known[i] > 0 && f.hidden[i] == 0 && f.owned[i] == 0 {
			use[i] = 255
		}
	}
	return f.reg.reference(f.gray, use, at)
}
