// Package motion decides cheaply whether a picture differs from the one looked
// at before, so that the detector need not look at every picture of a quiet
// camera. It is pure Go on small grey pictures.
package motion

import (
	"errors"
	"fmt"

	"github.com/xacam/xacam/vision/geom"
)

const (
	block    = 4  // pixels: side of the blocks that changes are counted in
	quorum   = 5  // changed pixels of a block's 16 that make the block changed
	maxNoise = 60 // grey levels: the threshold never goes above
	adapt    = 16 // an unchanged picture moves the reference by 1/16 of the difference
)

// Config tunes a Gate. The zero value is usable.
type Config struct {
	Width   int            // pixels of the pictures; default 160
	Height  int            // pixels of the pictures; default 90
	Masks   []geom.Polygon // areas that are never looked at
	Noise   int            // grey levels a pixel may differ at least, in 1…60; more in a noisy picture; default 12
	MinArea float64        // changed area that counts, as a fraction of the picture; default 0.001
}

func (c Config) withDefaults() (Config, error) {
	if c.Width == 0 && c.Height == 0 {
		c.Width, c.Height = 160, 90
	}
	if c.Noise == 0 {
		c.Noise = 12
	}
	if c.MinArea == 0 {
		c.MinArea = 0.001
	}
	switch {
	case c.Width < 16 || c.Height < 16 || c.Width > 1024 || c.Height > 1024:
		return c, fmt.Errorf("motion gate: %dx%d pixels are not in 16…1024", c.Width, c.Height)
	case c.Noise < 1 || c.Noise > maxNoise:
		return c, fmt.Errorf("motion gate: noise %d is not in 1…%d", c.Noise, maxNoise)
	case !(c.MinArea > 0 && c.MinArea <= 1):
		return c, fmt.Errorf("motion gate: min_area %v is not in (0,1]", c.MinArea)
	}
	return c, nil
}

// Change is what a Gate found in one picture.
type Change struct {
	Changed  bool       // the detector should look
	Global   bool       // more than half of the picture changed: light switched, camera moved or covered
	Fraction float64    // changed part of what is looked at, in [0,1]
	Regions  []geom.Box // where, normalised; valid until the next Step
}

// Gate compares pictures of one camera with a reference: the latest picture in
// which something changed, following slow changes of light since. An object
// that moves so slowly that two neighbouring pictures look alike is still
// noticed. A shift of brightness of the whole picture (a flickering lamp, the
// camera's exposure) and noise, as measured in the picture itself, do not
// count. It is used by one goroutine.
type Gate struct {
	cfg        Config
	bw, bh     int      // in blocks
	look       []bool   // by pixel
	looked     int      // pixels that are looked at
	sampled    int      // of them, those in even rows, which the statistics use
	ref        []uint16 // reference, 1/256 grey levels
	have       bool
	diff       []int16 // by pixel
	count      []uint8 // changed pixels, by block
	stack      []int
	regions    []geom.Box
	histogram  [511]int32
	deviations [511]int32
}

// New returns a gate that has seen nothing.
func New(cfg Config) (*Gate, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := cfg.Width * cfg.Height
	g := &Gate{
		cfg: cfg, bw: (cfg.Width + block - 1) / block, bh: (cfg.Height + block - 1) / block,
		look: make([]bool, n), ref: make([]uint16, n), diff: make([]int16, n),
	}
	g.count = make([]uint8, g.bw*g.bh)
	for i := range g.look {
		p := geom.Point{
			X: (float64(i%cfg.Width) + 0.5) / float64(cfg.Width),
			Y: (float64(i/cfg.Width) + 0.5) / float64(cfg.Height),
		}
		g.look[i] = true
		for _, m := range cfg.Masks {
			g.look[i] = g.look[i] && !m.Contains(p)
		}
		if g.look[i] {
			g.looked++
			if i/cfg.Width%2 == 0 {
				g.sampled++
			}
		}
	}
	return g, nil
}

// Size returns the size of the pictures that Step takes, in pixels.
func (g *Gate) Size() (width, height int) { return g.cfg.Width, g.cfg.Height }

// Reset forgets the reference: the next picture counts as changed.
func (g *Gate) Reset() { g.have = false }

var errSize = errors.New("motion gate: a picture of another size")

// Step compares the next picture, rows of exactly Width bytes. The first one
// counts as changed everywhere.
func (g *Gate) Step(gray []byte) (Change, error) {
	if len(gray) != len(g.ref) {
		return Change{}, fmt.Errorf("%w: %d bytes, not %d", errSize, len(gray), len(g.ref))
	}
	if !g.have {
		g.have = true
		g.accept(gray)
		return Change{Changed: true, Global: true, Fraction: 1}, nil
	}
	if g.sampled == 0 {
		return Change{}, nil
	}
	shift, threshold := g.measure(gray)
	changed := g.mark(shift, threshold)
	c := Change{Fraction: float64(changed) / float64(g.looked)}
	g.findRegions(int32(g.cfg.MinArea * float64(len(gray))))
	c.Regions = g.regions
	c.Global = c.Fraction > 0.5
	c.Changed = len(g.regions) > 0
	if c.Changed {
		g.accept(gray)
	} else {
		g.follow(gray)
	}
	return c, nil
}

// measure computes the differences, their median, which is a shift of
// brightness, and a threshold from their spread: six times the median absolute
// deviation are four standard deviations of Gaussian noise.
func (g *Gate) measure(gray []byte) (shift, threshold int) {
	clear(g.histogram[:])
	ref, diff := g.ref[:len(gray)], g.diff[:len(gray)]
	for i, v := range gray {
		diff[i] = int16(v) - int16(ref[i]>>8)
	}
	for y := 0; y < g.cfg.Height; y += 2 {
		row := diff[y*g.cfg.Width : (y+1)*g.cfg.Width]
		look := g.look[y*g.cfg.Width : (y+1)*g.cfg.Width]
		for x, d := range row {
			if look[x] {
				g.histogram[d+255]++
			}
		}
	}
	shift = median(&g.histogram, g.sampled) - 255
	clear(g.deviations[:])
	for i, n := range g.histogram {
		d := i - 255 - shift
		g.deviations[min(max(d, -d), 510)] += n
	}
	spread := median(&g.deviations, g.sampled)
	return shift, min(max(g.cfg.Noise, 6*spread+2), maxNoise)
}

func median(h *[511]int32, n int) int {
	seen := 0
	for i, k := range h {
		if seen += int(k); 2*seen >= n {
			return i
		}
	}
	return 510
}

// mark counts changed pixels by block and in all.
func (g *Gate) mark(shift, threshold int) (changed int) {
	clear(g.count)
	lo, hi := int16(shift-threshold), int16(shift+threshold) //nolint:gosec // within ±315
	for y := range g.cfg.Height {
		row := g.diff[y*g.cfg.Width : (y+1)*g.cfg.Width]
		look := g.look[y*g.cfg.Width : (y+1)*g.cfg.Width]
		blocks := g.count[y/block*g.bw : (y/block+1)*g.bw]
		for x, d := range row {
			if (d < lo || d > hi) && look[x] {
				blocks[x/block]++
				changed++
			}
		}
	}
	return changed
}

// findRegions collects neighbouring changed blocks. A region counts from
// minPixels changed pixels on. Blocks that belong to none are noise.
func (g *Gate) findRegions(minPixels int32) {
	g.regions = g.regions[:0]
	for start := range g.count {
		if g.count[start] < quorum {
			continue
		}
		x0, y0, x1, y1 := g.bw, g.bh, 0, 0
		pixels := int32(0)
		g.stack = append(g.stack[:0], start)
		for len(g.stack) > 0 {
			i := g.stack[len(g.stack)-1]
			g.stack = g.stack[:len(g.stack)-1]
			if g.count[i] < quorum {
				continue
			}
			pixels += int32(g.count[i])
			g.count[i] = 0
			x, y := i%g.bw, i/g.bw
			x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x+1), max(y1, y+1)
			if x > 0 {
				g.stack = append(g.stack, i-1)
			}
			if x < g.bw-1 {
				g.stack = append(g.stack, i+1)
			}
			if y > 0 {
				g.stack = append(g.stack, i-g.bw)
			}
			if y < g.bh-1 {
				g.stack = append(g.stack, i+g.bw)
			}
		}
		if pixels >= minPixels {
			g.regions = append(g.regions, g.box(x0, y0, x1, y1))
		}
	}
}

// box converts blocks into normalised coordinates.
func (g *Gate) box(x0, y0, x1, y1 int) geom.Box {
	w, h := float64(g.cfg.Width), float64(g.cfg.Height)
	return geom.Box{
		Min: geom.Point{X: float64(x0*block) / w, Y: float64(y0*block) / h},
		Max: geom.Point{X: min(float64(x1*block)/w, 1), Y: min(float64(y1*block)/h, 1)},
	}
}

// accept makes the picture the reference.
func (g *Gate) accept(gray []byte) {
	for i, v := range gray {
		g.ref[i] = uint16(v)<<8 | 128
	}
}

// follow moves the reference towards the picture.
func (g *Gate) follow(gray []byte) {
	ref := g.ref[:len(gray)]
	for i, v := range gray {
		r := int32(ref[i])
		ref[i] = uint16(r + (int32(v)<<8|128-r)/adapt) //nolint:gosec // between two values of 16 bits
	}
}
