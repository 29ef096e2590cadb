//go:build cgo

package prep

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"unicode"

	"gocv.io/x/gocv"
	"golang.org/x/text/unicode/norm"

	"github.com/xacam/xacam/vision/geom"
)

// Canvas draws on a copy of a picture. Coordinates are normalised; line width
// and letter size follow the picture's height. It is used by one goroutine.
// Whoever made it closes it.
type Canvas struct {
	mat   gocv.Mat
	done  func()
	bgr   []byte
	w, h  int
	thick int     // pixels
	scale float64 // of letters
}

// NewCanvas copies a BGR picture with rows of exactly 3×width bytes.
func NewCanvas(bgr []byte, width, height int) (*Canvas, error) {
	c := &Canvas{bgr: append([]byte(nil), bgr...), w: width, h: height}
	mat, done, err := wrap(c.bgr, width, height, gocv.MatTypeCV8UC3)
	if err != nil {
		return nil, fmt.Errorf("canvas: %w", err)
	}
	c.mat, c.done = mat, done
	c.thick = max(1, (height+180)/360)
	c.scale = math.Max(0.4, float64(height)/1000)
	return c, nil
}

// Pixels returns the picture with the drawings: BGR, rows of 3×width bytes. It
// is the canvas's memory and changes with further drawing.
func (c *Canvas) Pixels() []byte { return c.bgr }

// JPEG encodes the picture with the drawings; see EncodeJPEG.
func (c *Canvas) JPEG(quality int) ([]byte, error) { return EncodeJPEG(c.bgr, c.w, c.h, quality) }

// Close frees the canvas's native memory. It is safe to call twice. Pixels
// stays valid.
func (c *Canvas) Close() {
	if c.done != nil {
		c.done()
		c.done = nil
	}
}

// point converts to pixels; far outside stays outside without overflowing.
func (c *Canvas) point(p geom.Point) image.Point {
	limit := func(v float64, n int) int {
		if math.IsNaN(v) {
			return -1
		}
		return int(math.Round(math.Min(math.Max(v, -2), 3) * float64(n-1)))
	}
	return image.Pt(limit(p.X, c.w), limit(p.Y, c.h))
}

// Box draws a rectangle with a label above it, or inside at the upper edge.
func (c *Canvas) Box(b geom.Box, label string, col color.RGBA) {
	gocv.Rectangle(&c.mat, image.Rectangle{Min: c.point(b.Min), Max: c.point(b.Max)}, col, c.thick)
	c.label(c.point(b.Min), label, col)
}

// Polygon draws a closed outline with a label at its first vertex.
func (c *Canvas) Polygon(pts []geom.Point, label string, col color.RGBA) {
	for i := range pts {
		gocv.Line(&c.mat, c.point(pts[i]), c.point(pts[(i+1)%len(pts)]), col, c.thick)
	}
	if len(pts) > 0 {
		c.label(c.point(pts[0]), label, col)
	}
}

// Line draws a segment with a label at its middle.
func (c *Canvas) Line(from, to geom.Point, label string, col color.RGBA) {
	gocv.Line(&c.mat, c.point(from), c.point(to), col, c.thick)
	c.label(c.point(geom.Point{X: (from.X + to.X) / 2, Y: (from.Y + to.Y) / 2}), label, col)
}

// Text writes one line on a dark ground with its lower left corner at p, moved
// into the picture where it would stick out.
func (c *Canvas) Text(p geom.Point, text string, col color.RGBA) { c.label(c.point(p), text, col) }

func (c *Canvas) label(at image.Point, text string, col color.RGBA) {
	if text == "" {
		return
	}
	l := c.layout(text)
	height := l.above + l.below
	x := min(max(at.X, 0), max(c.w-l.width, 0))
	y := min(max(at.Y-height-c.thick, 0), max(c.h-height, 0))
	gocv.Rectangle(&c.mat, image.Rect(x, y, min(x+l.width, c.w), min(y+height, c.h)), color.RGBA{A: 255}, -1)
	for _, g := range l.glyphs {
		c.glyph(g, image.Pt(x+g.x, y+l.above), col)
	}
}

// glyph is a letter of OpenCV's stroke font, which is ASCII only, with the
// marks that Vietnamese puts on it.
type glyph struct {
	letter rune
	marks  []rune // combining, in canonical order
	x, w   int    // pixels from the line's start, and its width
}

type line struct {
	glyphs              []glyph
	width, above, below int // pixels; above and below the baseline
}

const (
	font      = gocv.FontHersheySimplex
	maxLetter = 120 // of a line
)

// layout splits the text into letters and marks (NFD) and places them.
func (c *Canvas) layout(text string) line {
	unit := c.unit()
	l := line{above: int(2.1 * unit), below: int(0.7 * unit), width: int(0.2 * unit)}
	for _, r := range norm.NFD.String(text) {
		switch {
		case unicode.Is(unicode.Mn, r):
			if n := len(l.glyphs); n > 0 {
				l.glyphs[n-1].marks = append(l.glyphs[n-1].marks, r)
			}
			continue
		case r == 'đ' || r == 'Đ':
			base := 'd'
			if r == 'Đ' {
				base = 'D'
			}
			l.add(c, glyph{letter: base, marks: []rune{stroke}})
			continue
		case r == '«' || r == '»' || r == '“' || r == '”':
			r = '"'
		case r == '–' || r == '—':
			r = '-'
		case r < ' ' || r > '~':
			r = '?'
		}
		if len(l.glyphs) >= maxLetter {
			break
		}
		l.add(c, glyph{letter: r})
	}
	l.width += int(0.2 * unit)
	return l
}

func (l *line) add(c *Canvas, g glyph) {
	g.x, g.w = l.width, gocv.GetTextSize(string(g.letter), font, c.scale, c.stroke()).X
	l.width += g.w
	l.glyphs = append(l.glyphs, g)
}

// unit is the height of a capital letter in pixels: 21 of the font's units.
func (c *Canvas) unit() float64 { return 21 * c.scale }

func (c *Canvas) stroke() int { return max(1, int(c.scale*1.6)) }

func (c *Canvas) glyph(g glyph, at image.Point, col color.RGBA) {
	gocv.PutTextWithParams(&c.mat, string(g.letter), at, font, c.scale, col, c.stroke(), gocv.LineAA, false)
	u := c.unit()
	top := 1.0 // height of the letter in capitals
	if unicode.IsLower(g.letter) && g.letter != 'd' {
		top = 0.68
	}
	if g.letter == 'i' {
		top = 0.9
	}
	base := top + 0.15 // where the next mark above starts
	for _, m := range g.marks {
		shape, above := markShape(m)
		for i := 1; i < len(shape); i++ {
			p, q := shape[i-1], shape[i]
			dy := 0.0
			if above {
				dy = base
			}
			gocv.Line(&c.mat, c.mark(at, g.w, p, dy, u, top), c.mark(at, g.w, q, dy, u, top), col, c.stroke())
		}
		if above {
			base += 0.3
		}
	}
}

// mark converts a mark's point, x around the letter's middle and y up, both in
// capital heights, to pixels. NaN in y stands for the letter's upper end.
func (c *Canvas) mark(at image.Point, width int, p geom.Point, dy, u, top float64) image.Point {
	y := p.Y + dy
	if math.IsNaN(p.Y) {
		y = top - 0.1
	}
	return image.Pt(at.X+width/2+int(math.Round(p.X*u)), at.Y-int(math.Round(y*u)))
}

// stroke stands for the bar of đ, which Unicode does not decompose.
const stroke = '\u0335'

// markShape returns a combining mark as a polyline, and whether it stands on
// the letter.
func markShape(r rune) (shape []geom.Point, above bool) {
	switch r {
	case '\u0300': // grave
		return []geom.Point{{X: -0.15, Y: 0.2}, {X: 0.1, Y: 0}}, true
	case '\u0301': // acute
		return []geom.Point{{X: 0.15, Y: 0.2}, {X: -0.1, Y: 0}}, true
	case '\u0302': // circumflex
		return []geom.Point{{X: -0.22, Y: 0}, {X: 0, Y: 0.18}, {X: 0.22, Y: 0}}, true
	case '\u0303': // tilde
		return []geom.Point{{X: -0.25, Y: 0.02}, {X: -0.1, Y: 0.15}, {X: 0.1, Y: 0.02}, {X: 0.25, Y: 0.15}}, true
	case '\u0306': // breve
		return []geom.Point{{X: -0.22, Y: 0.18}, {X: -0.1, Y: 0.02}, {X: 0.1, Y: 0.02}, {X: 0.22, Y: 0.18}}, true
	case '\u0309': // hook above
		return []geom.Point{{X: -0.1, Y: 0.24}, {X: 0.1, Y: 0.24}, {X: 0.1, Y: 0.14}, {X: 0, Y: 0.1}, {X: 0, Y: 0}}, true
	case '\u0323': // dot below
		return []geom.Point{{X: -0.05, Y: -0.25}, {X: 0.05, Y: -0.25}}, false
	case '\u031b': // horn
		return []geom.Point{{X: 0.22, Y: math.NaN()}, {X: 0.4, Y: math.NaN()}, {X: 0.4, Y: 0.8}}, false
	case stroke:
		return []geom.Point{{X: -0.1, Y: 0.8}, {X: 0.42, Y: 0.8}}, false
	}
	return nil, false
}
