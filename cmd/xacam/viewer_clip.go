package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

// Clip implements evidence.Viewer. It works in a thread of its own, with a lower
// priority than everything else, and waits while another one is being made.
func (v *viewer) Clip(ctx context.Context, from, to string, lines []string, veil evidence.Veil) (string, error) {
	select {
	case v.clips <- struct{}{}:
		defer func() { <-v.clips }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	type result struct {
		note string
		err  error
	}
	done := make(chan result, 1)
	go func() { // ends with the copy, which looks at ctx before each picture
		_ = slowThread() // it is made all the same
		r := result{err: errors.New("the copy broke off")}
		defer func() {
			if p := recover(); p != nil { // one bad clip must not end the server
				r.err = fmt.Errorf("copy a clip: panic: %v\n%s", p, debug.Stack())
			}
			done <- r
		}()
		c := clipCopy{viewer: v, to: to, lines: lines, veil: veil}
		r.note, r.err = c.run(ctx, from)
	}()
	r := <-done
	return r.note, r.err
}

// clipCopy is one copy in the making.
type clipCopy struct {
	*viewer
	to     string
	lines  []string
	veil   evidence.Veil // nil hides nothing
	canvas draw.Canvas
	stamp  *stamp
	out    *avdec.Writer // nil before the first picture
	first  time.Duration // PTS of that
	next   time.Duration // pictures before it are left out, since the first
}

func (c *clipCopy) run(ctx context.Context, from string) (note string, err error) {
	in, err := avdec.Open(from)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	defer func() {
		if c.out != nil {
			err = errors.Join(err, c.out.Close())
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		f, err := in.ReadFrame()
		if errors.Is(err, io.EOF) && c.out != nil {
			return note, nil
		}
		if err != nil {
			return "", err
		}
		if c.out == nil {
			c.first = f.PTS
		}
		at := f.PTS - c.first
		if at > longestCopy {
			f.Picture.Release()
			return fmt.Sprintf("the copy ends after %d s; the original is longer", int(longestCopy.Seconds())), nil
		}
		if at >= c.next {
			err = c.add(f.Picture, f.PTS, max(0, at), in.Format().FPS)
		}
		f.Picture.Release()
		if err != nil {
			return "", err
		}
	}
}

// add copies a picture: its place in the original is from, in the copy at. They
// differ where the original begins with pictures that cannot be decoded.
func (c *clipCopy) add(pic media.Picture, from, at time.Duration, fps float64) error {
	const step = time.Second * 10 / (10 * copyFPS)
	c.next = max(c.next+step, at+step/2) // on the whole, however uneven they come
	if c.out == nil {
		c.canvas.W, c.canvas.H = copySize(pic.Size())
		c.canvas.Pix = make([]byte, 3*c.canvas.W*c.canvas.H)
		c.stamp = newStamp(c.canvas.W, c.canvas.H, func(s *draw.Canvas) { c.mark(s, c.lines) })
		if fps == 0 {
			fps = copyFPS
		}
		var err error
		c.out, err = avdec.NewWriter(avdec.WriterConfig{Path: c.to, Width: c.canvas.W, Height: c.canvas.H, FPS: min(fps, copyFPS)})
		if err != nil {
			return err
		}
	}
	if err := pic.BGR(c.canvas.Pix, c.canvas.W, c.canvas.H); err != nil {
		return err
	}
	if c.veil != nil {
		hide(&c.canvas, from, c.veil)
	}
	c.stamp.put(c.canvas.Pix)
	return c.out.Write(c.canvas.Pix, at)
}

// hide makes unrecognisable what must be.
func hide(c *draw.Canvas, at time.Duration, veil evidence.Veil) {
	areas, whole := veil(at)
	w, h := float64(c.W), float64(c.H)
	if !whole {
		for _, a := range areas {
			c.Mosaic(draw.Rect{Left: a[0] * w, Top: a[1] * h, Right: a[2] * w, Bottom: a[3] * h})
		}
		return
	}
	coarsen(c)
}

// coarseRows is into how many blocks the shorter side of a picture is cut of which
// nothing is to be recognised: a face as large as half of it has six.
const coarseRows = 12

// coarsen cuts a picture into blocks and gives each its mean colour.
func coarsen(c *draw.Canvas) {
	cols, rows := coarseRows*c.W/min(c.W, c.H), coarseRows*c.H/min(c.W, c.H)
	for row := range rows {
		y0, y1 := row*c.H/rows, (row+1)*c.H/rows
		for col := range cols {
			x0, x1 := col*c.W/cols, (col+1)*c.W/cols
			level(c, x0, y0, x1, y1)
		}
		for y := y0 + 1; y < y1; y++ {
			copy(c.Pix[3*y*c.W:3*(y+1)*c.W], c.Pix[3*y0*c.W:])
		}
	}
}

// level gives the first row of a block the mean colour of the block, of which a
// fourth of the rows tells enough.
func level(c *draw.Canvas, x0, y0, x1, y1 int) {
	var b, g, r, n int
	for y := y0; y < y1; y += 4 {
		for p := c.Pix[3*(y*c.W+x0) : 3*(y*c.W+x1)]; len(p) >= 3; p = p[3:] {
			b, g, r, n = b+int(p[0]), g+int(p[1]), r+int(p[2]), n+1
		}
	}
	if n == 0 {
		return
	}
	for p := c.Pix[3*(y0*c.W+x0) : 3*(y0*c.W+x1)]; len(p) >= 3; p = p[3:] {
		p[0], p[1], p[2] = byte(b/n), byte(g/n), byte(r/n) //nolint:gosec // means of bytes
	}
}

// stamp is a drawing that is put on many pictures: of each byte, what share of it
// stays and what comes to it.
type stamp struct {
	stays []uint16 // of 256
	adds  []uint16 // 0 to 255 × 256
	bytes []int32  // that are not left as they are
}

// newStamp finds out what a drawing does by having it done on black and on white.
func newStamp(w, h int, paint func(*draw.Canvas)) *stamp {
	n := 3 * w * h
	black, white := &draw.Canvas{Pix: make([]byte, n), W: w, H: h}, &draw.Canvas{Pix: make([]byte, n), W: w, H: h}
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	paint(black)
	paint(white)
	s := &stamp{}
	for i := range n {
		b, w := uint16(black.Pix[i]), uint16(white.Pix[i])
		if b == 0 && w == 255 {
			continue
		}
		s.bytes = append(s.bytes, int32(i))
		s.stays = append(s.stays, (max(w, b)-b)*256/255)
		s.adds = append(s.adds, b*256)
	}
	return s
}

// put draws the stamp.
func (s *stamp) put(pix []byte) {
	for k, i := range s.bytes {
		pix[i] = byte((uint32(pix[i])*uint32(s.stays[k]) + uint32(s.adds[k])) >> 8) //nolint:gosec // a mean of bytes
	}
}

// copySize bounds the size of a copy, upright or not.
func copySize(w, h int) (width, height int) {
	most := min(float64(longSide)/float64(max(w, h)), float64(shortSide)/float64(min(w, h)), 1)
	return max(2, int(float64(w)*most+.5)) &^ 1, max(2, int(float64(h)*most+.5)) &^ 1
}
