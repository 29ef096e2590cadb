package main

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"time"

	"github.com/xacam/xacam/streams/avdec"
)

// canvas is a picture in packed BGR rows.
type canvas struct {
	w, h int
	pix  []byte
}

func (c *canvas) fill(r image.Rectangle, col color.RGBA) {
	r = r.Intersect(image.Rect(0, 0, c.w, c.h))
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := c.pix[3*(y*c.w+r.Min.X) : 3*(y*c.w+r.Max.X)]
		for i := 0; i < len(row); i += 3 {
			row[i], row[i+1], row[i+2] = col.B, col.G, col.R
		}
	}
}

func (c *canvas) disc(cx, cy, r int, col color.RGBA) {
	for y := -r; y <= r; y++ {
		for x := -r; x <= r; x++ {
			if x*x+y*y <= r*r {
				c.fill(image.Rect(cx+x, cy+y, cx+x+1, cy+y+1), col)
			}
		}
	}
}

// person draws a walking figure whose feet are at (x, y).
func (c *canvas) person(x, y, height, step int, shirt color.RGBA) {
	skin, trousers := color.RGBA{R: 205, G: 160, B: 130}, color.RGBA{R: 40, G: 45, B: 70}
	w := height / 4
	swing := []int{-w / 3, 0, w / 3, 0}[step%4]
	c.fill(image.Rect(x-w/3+swing, y-height*45/100, x-w/3+swing+w/3, y), trousers)
	c.fill(image.Rect(x-swing, y-height*45/100, x-swing+w/3, y), trousers)
	c.fill(image.Rect(x-w/2, y-height*83/100, x+w/2, y-height*43/100), shirt)
	c.disc(x, y-height*91/100, height*9/100, skin)
}

// car draws a car whose wheels stand at (x, y).
func (c *canvas) car(x, y, length int, paint color.RGBA) {
	h := length / 3
	c.fill(image.Rect(x-length/2, y-h*7/10, x+length/2, y-h/6), paint)
	c.fill(image.Rect(x-length/4, y-h*12/10, x+length/4, y-h*7/10), paint)
	c.fill(image.Rect(x-length/5, y-h*11/10, x+length/5, y-h*7/10), color.RGBA{R: 150, G: 190, B: 210})
	for _, dx := range []int{-length / 3, length / 3} {
		c.disc(x+dx, y-h/5, h/4, color.RGBA{R: 20, G: 20, B: 20})
	}
}

// street draws the empty scene: sky, houses, a road with a dashed line.
func (c *canvas) street(tint uint8) {
	c.fill(image.Rect(0, 0, c.w, c.h), color.RGBA{R: 140, G: 180, B: 215 - tint})
	for i := range 6 {
		left := i * c.w / 6
		c.fill(image.Rect(left, c.h/4-(i*37)%40, left+c.w/6-8, c.h/2), color.RGBA{R: 150 + uint8(i*9), G: 120 + tint, B: 100})
	}
	c.fill(image.Rect(0, c.h/2, c.w, c.h), color.RGBA{R: 95, G: 95, B: 98})
	c.fill(image.Rect(0, c.h/2, c.w, c.h/2+c.h/12), color.RGBA{R: 160, G: 155, B: 145})
	for x := 0; x < c.w; x += c.w / 8 {
		c.fill(image.Rect(x, c.h*3/4, x+c.w/16, c.h*3/4+4), color.RGBA{R: 230, G: 230, B: 220})
	}
}

// renderClips draws count short clips of walking figures and cars into dir, and
// returns their paths. Clips that are there already are kept.
func renderClips(dir string, count int) ([]string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of the demo clips: %w", err)
	}
	var paths []string
	for n := range count {
		path := filepath.Join(dir, fmt.Sprintf("demo-%d.mp4", n+1))
		paths = append(paths, path)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := renderClip(path+".part.mp4", n); err != nil {
			return nil, fmt.Errorf("render a demo clip: %w", err)
		}
		if err := os.Rename(path+".part.mp4", path); err != nil {
			return nil, fmt.Errorf("render a demo clip: %w", err)
		}
	}
	return paths, nil
}

func renderClip(path string, n int) (err error) {
	const w, h, fps, seconds = 768, 432, 12, 20
	out, err := avdec.NewWriter(avdec.WriterConfig{Path: path, Width: w, Height: h, FPS: fps})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c := &canvas{w: w, h: h, pix: make([]byte, 3*w*h)}
	shirts := []color.RGBA{{R: 190, G: 40, B: 40}, {R: 40, G: 120, B: 60}, {R: 230, G: 200, B: 60}, {R: 60, G: 80, B: 180}}
	for i := range fps * seconds {
		c.street(uint8(n * 20)) //nolint:gosec // n is 0 to 3
		t := float64(i) / (fps * seconds)
		c.car(int((1.4*t-.2)*w), h*7/10, 150, shirts[(n+2)%4])
		c.car(int((1.2-1.4*t)*w), h*92/100, 190, shirts[(n+1)%4])
		c.person(int((1.3*t-.1)*w), h*58/100, 110, i/3, shirts[n%4])
		c.person(w/2+n*40, int((.6+.5*t)*h), 150, i/3, shirts[(n+3)%4])
		if err := out.Write(c.pix, time.Duration(i)*time.Second/fps); err != nil {
			return err
		}
	}
	return nil
}
