package draw

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"

	"golang.org/x/text/unicode/norm"
)

//go:embed letters.png
var lettersPNG []byte

//go:embed letters.json
var lettersJSON []byte

// Letters writes text. It is safe for concurrent use.
type Letters struct {
	em, ascent, height float64
	glyphs             map[rune]letter
	sum                []uint32 // of the pixels above and left of each corner
	stride             int
}

type letter struct {
	x, y, w       int // in the sheet
	left, advance float64
}

// NewLetters reads the letters that the program carries.
func NewLetters() (*Letters, error) {
	var sheet struct {
		Em     float64      `json:"em"`
		Ascent float64      `json:"ascent"`
		Height float64      `json:"height"`
		Glyphs [][6]float64 `json:"glyphs"`
	}
	if err := json.Unmarshal(lettersJSON, &sheet); err != nil {
		return nil, fmt.Errorf("read the letters: %w", err)
	}
	img, err := png.Decode(bytes.NewReader(lettersPNG))
	if err != nil {
		return nil, fmt.Errorf("read the letters: %w", err)
	}
	grey, ok := img.(*image.Gray)
	if !ok {
		return nil, fmt.Errorf("read the letters: the picture is %T, not grey", img)
	}
	l := &Letters{em: sheet.Em, ascent: sheet.Ascent, height: sheet.Height, glyphs: make(map[rune]letter)}
	for _, g := range sheet.Glyphs {
		l.glyphs[rune(g[0])] = letter{x: int(g[1]), y: int(g[2]), w: int(g[3]), left: g[4], advance: g[5]}
	}
	b := grey.Bounds()
	l.stride = b.Dx() + 1
	l.sum = make([]uint32, l.stride*(b.Dy()+1))
	for y := range b.Dy() {
		row := uint32(0)
		for x := range b.Dx() {
			row += uint32(grey.GrayAt(b.Min.X+x, b.Min.Y+y).Y)
			l.sum[(y+1)*l.stride+x+1] = l.sum[y*l.stride+x+1] + row
		}
	}
	return l, nil
}

// Height returns the height of a line of text of the given size, which is the
// letters' em in pixels.
func (l *Letters) Height(size float64) float64 { return 1.25 * size }

// Width returns how wide a text is.
func (l *Letters) Width(text string, size float64) float64 {
	w := 0.0
	for _, r := range norm.NFC.String(text) {
		w += l.letter(r).advance
	}
	return w * size / l.em
}

// letter returns a question mark for what is not there.
func (l *Letters) letter(r rune) letter {
	if g, ok := l.glyphs[r]; ok {
		return g
	}
	return l.glyphs['?']
}

// Write writes a line whose upper left corner is p.
func (l *Letters) Write(c *Canvas, p Point, text string, size float64, col color.NRGBA) {
	k := size / l.em // pixels of the picture in one of the sheet
	x, base := p.X, math.Round(p.Y+0.98*size)
	for _, r := range norm.NFC.String(text) {
		g := l.letter(r)
		l.glyph(c, g, x+g.left*k, base-l.ascent*k, k, col)
		x += g.advance * k
	}
}

// glyph shrinks a letter to its size by averaging.
func (l *Letters) glyph(c *Canvas, g letter, left, top, k float64, col color.NRGBA) {
	x0, x1 := int(math.Floor(left)), int(math.Ceil(left+float64(g.w)*k))
	y0, y1 := int(math.Floor(top)), int(math.Ceil(top+l.height*k))
	for y := max(0, y0); y < min(c.H, y1); y++ {
		a, b := l.clamp((float64(y)-top)/k, int(l.height)), l.clamp((float64(y+1)-top)/k, int(l.height))
		if a >= b {
			continue
		}
		column := func(x int) float64 { // the ink left of x in this row
			u := float64(g.x) + l.clamp((float64(x)-left)/k, g.w)
			return l.corner(u, float64(g.y)+b) - l.corner(u, float64(g.y)+a)
		}
		before := column(max(0, x0))
		for x := max(0, x0); x < min(c.W, x1); x++ {
			upTo := column(x + 1)
			if cover := (upTo - before) * k * k / 255; cover > 0 {
				c.blend(x, y, col, float32(min(1, 1.1*cover)))
			}
			before = upTo
		}
	}
}

func (l *Letters) clamp(v float64, most int) float64 { return min(max(0, v), float64(most)) }

// corner is the sum of the sheet's pixels above and left of a point, which may
// lie within a pixel.
func (l *Letters) corner(x, y float64) float64 {
	i, j := int(x), int(y)
	fx, fy := x-float64(i), y-float64(j)
	at := func(i, j int) float64 {
		return float64(l.sum[min(j, len(l.sum)/l.stride-1)*l.stride+min(i, l.stride-1)])
	}
	return (1-fy)*((1-fx)*at(i, j)+fx*at(i+1, j)) + fy*((1-fx)*at(i, j+1)+fx*at(i+1, j+1))
}

// Wrap breaks a text into lines that are not wider than width, at most most of
// them; what does not fit ends in an ellipsis.
func (l *Letters) Wrap(text string, size, width float64, most int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		longer := strings.TrimSpace(line + " " + word)
		if line == "" || l.Width(longer, size) <= width {
			line = longer
			continue
		}
		lines, line = append(lines, line), word
	}
	if line != "" {
		lines = append(lines, line)
	}
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] += " …"
	}
	for i := range lines {
		lines[i] = l.Fit(lines[i], size, width)
	}
	return lines
}

// Fit cuts a line that is wider than width and ends it with an ellipsis.
func (l *Letters) Fit(line string, size, width float64) string {
	if l.Width(line, size) <= width {
		return line
	}
	runes := []rune(norm.NFC.String(strings.TrimSuffix(line, " …")))
	for len(runes) > 0 && l.Width(string(runes)+"…", size) > width {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimRight(string(runes), " ") + "…"
}
