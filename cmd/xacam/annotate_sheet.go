package main

import (
	"image/color"
	"math"
	"slices"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
)

// sheet is a picture that is drawn into: sizes follow the picture's, and no
// label lies on another.
type sheet struct {
	*draw.Canvas
	letters *draw.Letters
	size    float64 // of letters
	thick   float64 // of lines
	taken   []draw.Rect
}

// Text on a picture is read at arm's length, however large the picture is.
const (
	leastLetter = 13.0 // pixels
	letterShare = 38.0 // of the shorter side
)

func newSheet(bgr []byte, w, h int, letters *draw.Letters) *sheet {
	short := float64(min(w, h))
	return &sheet{
		Canvas: &draw.Canvas{Pix: bgr, W: w, H: h}, letters: letters,
		size: max(leastLetter, short/letterShare), thick: max(2, short/300),
	}
}

func rgb(r, g, b, a uint8) color.NRGBA { return color.NRGBA{R: r, G: g, B: b, A: a} }

// at converts a normalised point; far outside stays outside.
func (s *sheet) at(p geom.Point) draw.Point {
	limit := func(v float64) float64 {
		if math.IsNaN(v) {
			return -1
		}
		return min(max(v, -2), 3)
	}
	return draw.Point{X: limit(p.X) * float64(s.W), Y: limit(p.Y) * float64(s.H)}
}

func (s *sheet) ring(area []camera.Point) []draw.Point {
	out := make([]draw.Point, len(area))
	for i, p := range area {
		out[i] = s.at(geom.Point{X: p[0], Y: p[1]})
	}
	return out
}

// outline paints the edges of a polygon.
func (s *sheet) outline(pts []draw.Point, width float64, col color.NRGBA) {
	for i, p := range pts {
		s.Line(p, pts[(i+1)%len(pts)], width, col)
	}
}

// frame paints a box, in dashes where it is a guess.
func (s *sheet) frame(b geom.Box, guess bool, col color.NRGBA) {
	p, q := s.at(b.Min), s.at(b.Max)
	corners := []draw.Point{p, {X: q.X, Y: p.Y}, q, {X: p.X, Y: q.Y}}
	for i, c := range corners {
		d := corners[(i+1)%4]
		if guess {
			s.Dash(c, d, s.thick, 3*s.thick, 3*s.thick, col)
		} else {
			s.Line(c, d, s.thick, col)
		}
	}
}

// shade is the ground of text.
func shade() color.NRGBA { return rgb(12, 16, 22, 200) }

func white() color.NRGBA { return rgb(255, 255, 255, 255) }

// textSize returns the room that lines of text take on their ground.
func (s *sheet) textSize(lines []string) (w, h float64) {
	for _, l := range lines {
		w = max(w, s.letters.Width(l, s.size))
	}
	return w + s.size*.7, float64(len(lines))*s.letters.Height(s.size) + s.size*.2
}

// room moves a rectangle into the picture.
func (s *sheet) room(left, top, w, h float64) draw.Rect {
	left = math.Round(max(0, min(left, float64(s.W)-w)))
	top = math.Round(max(0, min(top, float64(s.H)-h)))
	return draw.Rect{Left: left, Top: top, Right: left + w, Bottom: top + h}
}

// rect returns a box in pixels.
func (s *sheet) rect(b geom.Box) draw.Rect {
	p, q := s.at(b.Min), s.at(b.Max)
	return draw.Rect{Left: p.X, Top: p.Y, Right: q.X, Bottom: q.Y}
}

func (s *sheet) free(r draw.Rect) bool {
	return !slices.ContainsFunc(s.taken, r.Overlaps)
}

// panel writes lines on a ground at a place of their own, with a coloured bar at
// the left.
func (s *sheet) panel(r draw.Rect, lines []string, bar color.NRGBA) {
	s.taken = append(s.taken, r)
	s.Box(r, s.size/4, shade())
	s.Box(draw.Rect{Left: r.Left, Top: r.Top, Right: r.Left + s.size*.22, Bottom: r.Bottom}, s.size*.1, bar)
	s.lines(r, s.size*.1, lines, white())
}

func (s *sheet) lines(r draw.Rect, indent float64, lines []string, col color.NRGBA) {
	for i, l := range lines {
		p := draw.Point{X: r.Left + s.size*.35 + indent, Y: r.Top + s.size*.1 + float64(i)*s.letters.Height(s.size)}
		s.letters.Write(s.Canvas, p, l, s.size, col)
	}
}

// tag writes lines beside a box, on a ground of its colour: where there is room
// above it, below it or inside. Each of texts is shorter than the one before;
// the first that fits somewhere is written, and none where all is taken.
func (s *sheet) tag(b geom.Box, texts [][]string, col color.NRGBA) {
	p, q := s.at(b.Min), s.at(b.Max)
	for _, lines := range texts {
		w, h := s.textSize(lines)
		for _, r := range []draw.Rect{
			s.room(p.X, p.Y-h, w, h), s.room(q.X-w, p.Y-h, w, h), s.room(p.X, p.Y, w, h), s.room(q.X-w, p.Y, w, h),
			s.room(p.X, q.Y, w, h), s.room(q.X-w, q.Y, w, h), s.room(p.X, q.Y-h, w, h), s.room((p.X+q.X-w)/2, (p.Y+q.Y-h)/2, w, h),
		} {
			if s.free(r) {
				s.label(r, lines, col)
				return
			}
		}
	}
}

// label writes dark letters on a light ground.
func (s *sheet) label(r draw.Rect, lines []string, col color.NRGBA) {
	s.taken = append(s.taken, r)
	col.A = 235
	s.Box(r, s.size/5, col)
	s.lines(r, 0, lines, rgb(0, 0, 0, 255))
}

// nearTag writes a line near a point, where there is room, and reports whether
// there was.
func (s *sheet) nearTag(p draw.Point, text string, col color.NRGBA) bool {
	w, h := s.textSize([]string{text})
	gap := s.thick * 2
	for _, d := range []draw.Point{{X: 0, Y: -h - gap}, {X: 0, Y: gap}, {X: -w, Y: -h - gap}, {X: -w, Y: gap}, {X: gap, Y: -h / 2}, {X: -w / 2, Y: -2*h - gap}} {
		if r := s.room(p.X+d.X, p.Y+d.Y, w, h); s.free(r) {
			s.label(r, []string{text}, col)
			return true
		}
	}
	return false
}
