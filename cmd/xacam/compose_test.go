//go:build cgo

package main

import (
	"bytes"
	"errors"
	"image"
	_ "image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
)

// film is a recording of a fixed camera that is put together of real pictures:
// a background, and what is pasted onto it.
type film struct {
	seconds    float64
	background func(i int) *canvas                 // of frame i; it may be drawn on
	draw       func(c *canvas, i int, sec float64) // what moves and lies there
	noise      float64                             // of the sensor, grey levels
	drift      float64                             // of the light over 16 s, as a share
	rain       int                                 // streaks a frame
	leaves     image.Rectangle                     // that the wind moves
	crf        int                                 // of the encoder; default 27
}

const filmFPS = 10

// shoot encodes the film as a camera would: H.264, with what that does to a
// picture.
func (f *film) shoot(t *testing.T, path string) {
	t.Helper()
	if f.crf == 0 {
		f.crf = 27
	}
	first := f.background(0)
	size := strconv.Itoa(first.w) + "x" + strconv.Itoa(first.h)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", size, "-r", strconv.Itoa(filmFPS), "-i", "-",
		"-c:v", "libx264", "-preset", "veryfast", "-crf", strconv.Itoa(f.crf), "-g", "40", "-pix_fmt", "yuv420p", "-threads", "1", path)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	rng := rand.New(rand.NewPCG(5, 8))
	grain := make([]int32, 1<<16)
	for i := range grain {
		grain[i] = int32(math.Round(f.noise * rng.NormFloat64()))
	}
	for i := range int(f.seconds * filmFPS) {
		sec := float64(i) / filmFPS
		c := f.background(i)
		f.wind(c, sec)
		if f.draw != nil {
			f.draw(c, i, sec)
		}
		f.weather(c, rng)
		f.sensor(c, sec, rng, grain)
		_, err := in.Write(c.pix)
		require.NoError(t, err, "%s", said.String())
	}
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait(), "%s", said.String())
}

// wind moves the leaves: each row by up to three pixels, not all in step.
func (f *film) wind(c *canvas, sec float64) {
	row := make([]byte, 3*c.w)
	for y := f.leaves.Min.Y; y < f.leaves.Max.Y; y++ {
		copy(row, c.pix[3*y*c.w:])
		for x := f.leaves.Min.X; x < f.leaves.Max.X; x++ {
			d := int(math.Round(3 * math.Sin(4.3*sec+float64(y)/19+float64(x)/31) * math.Sin(1.1*sec+float64(x)/97)))
			from := min(max(x+d, 0), c.w-1)
			copy(c.pix[3*(y*c.w+x):3*(y*c.w+x)+3], row[3*from:])
		}
	}
}

func (f *film) weather(c *canvas, rng *rand.Rand) {
	for range f.rain {
		x, y := rng.IntN(c.w), rng.IntN(c.h-24)
		for k := range 24 {
			for j := range 3 {
				p := &c.pix[3*((y+k)*c.w+min(x+k/8, c.w-1))+j]
				*p = toByte(float64(*p) + 45)
			}
		}
	}
}

func (f *film) sensor(c *canvas, sec float64, rng *rand.Rand, grain []int32) {
	gain := 1 + f.drift*math.Sin(2*math.Pi*sec/16)
	var light [256]int32
	for v := range light {
		light[v] = int32(math.Round(gain * float64(v)))
	}
	for y := range c.h {
		row := c.pix[3*y*c.w : 3*(y+1)*c.w]
		at := rng.IntN(len(grain) - len(row))
		for k, g := range grain[at : at+len(row)] {
			row[k] = byte(min(max(light[row[k]]+g, 0), 255))
		}
	}
}

func toByte(v float64) byte { return byte(min(max(v+.5, 0), 255)) }

// readStill reads a picture and makes it so large.
func readStill(t *testing.T, path string, w, h int) *canvas {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	img, _, err := image.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	r := img.Bounds()
	c := &canvas{w: r.Dx(), h: r.Dy(), pix: make([]byte, 3*r.Dx()*r.Dy())}
	for y := range c.h {
		for x := range c.w {
			red, green, blue, _ := img.At(r.Min.X+x, r.Min.Y+y).RGBA()
			copy(c.pix[3*(y*c.w+x):], []byte{byte(blue >> 8), byte(green >> 8), byte(red >> 8)})
		}
	}
	all := cutout{w: c.w, h: c.h, bgr: c.pix, alpha: bytes.Repeat([]byte{255}, c.w*c.h)}
	return &canvas{w: w, h: h, pix: all.resized(w, h).bgr}
}

func (c *canvas) copied() *canvas { return &canvas{w: c.w, h: c.h, pix: bytes.Clone(c.pix)} }

// readFilm returns frames of a recording, filmFPS a second, from one second to
// another.
func readFilm(t *testing.T, path string, from, to float64, w, h int) []*canvas {
	t.Helper()
	f, err := avdec.OpenFile(avdec.FileConfig{Path: path})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	var out []*canvas
	next := time.Duration(from * float64(time.Second))
	for {
		frame, err := f.ReadFrame()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		over := frame.PTS.Seconds() >= to
		if !over && frame.PTS >= next {
			c := &canvas{w: w, h: h, pix: make([]byte, 3*w*h)}
			require.NoError(t, frame.Picture.BGR(c.pix, w, h))
			out, next = append(out, c), next+time.Second/filmFPS
		}
		frame.Release()
		if over {
			return out
		}
	}
}

// cutout is something cut out of a picture.
type cutout struct {
	w, h       int
	bgr, alpha []byte
	footX, top int // in the picture that it is from: the middle, and the upper edge
}

// resized makes the cutout so large: the mean of what a pixel covers, or
// between the nearest ones.
func (c *cutout) resized(w, h int) *cutout {
	out := &cutout{w: w, h: h, bgr: make([]byte, 3*w*h), alpha: make([]byte, w*h)}
	sx, sy := float64(c.w)/float64(w), float64(c.h)/float64(h)
	nx, ny := max(1, int(math.Ceil(sx))), max(1, int(math.Ceil(sy)))
	for y := range h {
		for x := range w {
			var sum [4]float64
			for j := range ny {
				for i := range nx {
					v := c.at((float64(x)+(float64(i)+.5)/float64(nx))*sx-.5, (float64(y)+(float64(j)+.5)/float64(ny))*sy-.5)
					for k := range sum {
						sum[k] += v[k]
					}
				}
			}
			n := float64(nx * ny)
			for k := range 3 {
				out.bgr[3*(y*w+x)+k] = toByte(sum[k] / n)
			}
			out.alpha[y*w+x] = toByte(sum[3] / n)
		}
	}
	return out
}

// at returns blue, green, red and alpha between pixels.
func (c *cutout) at(x, y float64) (v [4]float64) {
	x, y = min(max(x, 0), float64(c.w-1)), min(max(y, 0), float64(c.h-1))
	x0, y0 := int(x), int(y)
	for _, p := range [4][2]int{{x0, y0}, {x0 + 1, y0}, {x0, y0 + 1}, {x0 + 1, y0 + 1}} {
		k := (1 - math.Abs(x-float64(p[0]))) * (1 - math.Abs(y-float64(p[1])))
		if k <= 0 {
			continue
		}
		i := p[1]*c.w + p[0]
		for j := range 3 {
			v[j] += k * float64(c.bgr[3*i+j])
		}
		v[3] += k * float64(c.alpha[i])
	}
	return v
}

func (c *cutout) mirrored() *cutout {
	out := &cutout{w: c.w, h: c.h, bgr: make([]byte, len(c.bgr)), alpha: make([]byte, len(c.alpha))}
	for y := range c.h {
		for x := range c.w {
			i, j := y*c.w+x, y*c.w+c.w-1-x
			out.alpha[i] = c.alpha[j]
			copy(out.bgr[3*i:3*i+3], c.bgr[3*j:3*j+3])
		}
	}
	return out
}

// tinted returns the cutout in another light, by channel.
func (c *cutout) tinted(b, g, r, lift float64) *cutout {
	out := &cutout{w: c.w, h: c.h, bgr: bytes.Clone(c.bgr), alpha: c.alpha}
	for i := range out.bgr {
		out.bgr[i] = toByte(float64(out.bgr[i])*[3]float64{b, g, r}[i%3] + lift)
	}
	return out
}

// paste draws the cutout with the middle of its lower edge at x, y.
func (c *canvas) paste(o *cutout, x, y int) {
	for v := range o.h {
		for u := range o.w {
			px, py := x-o.w/2+u, y-o.h+v
			a := int(o.alpha[v*o.w+u])
			if a == 0 || px < 0 || py < 0 || px >= c.w || py >= c.h {
				continue
			}
			for k := range 3 {
				p := &c.pix[3*(py*c.w+px)+k]
				*p = byte((int(*p)*(255-a) + int(o.bgr[3*(v*o.w+u)+k])*a) / 255)
			}
		}
	}
}

// cutOut returns what stands before the empty background: where the picture
// differs, and not only by being a little darker, as a shadow is. Of several
// parts it takes the largest.
func cutOut(c, empty *canvas) *cutout {
	mask := make([]byte, c.w*c.h)
	for i := range mask {
		p, e := c.pix[3*i:3*i+3], empty.pix[3*i:3*i+3]
		diff, low, high := 0, 9.0, 0.0
		for k := range 3 {
			d := int(p[k]) - int(e[k])
			diff = max(diff, d, -d)
			r := (float64(p[k]) + 4) / (float64(e[k]) + 4)
			low, high = min(low, r), max(high, r)
		}
		if diff > 30 && !(low > .5 && high < 1.02 && high-low < .2) {
			mask[i] = 255
		}
	}
	mask = smooth(smooth(mask, c.w, c.h), c.w, c.h)
	px := largest(mask, c.w, c.h)
	if len(px) == 0 {
		return nil
	}
	box := image.Rectangle{Min: image.Pt(c.w, c.h)}
	for _, i := range px {
		x, y := i%c.w, i/c.w
		box = image.Rect(min(box.Min.X, x), min(box.Min.Y, y), max(box.Max.X, x+1), max(box.Max.Y, y+1))
	}
	out := &cutout{w: box.Dx(), h: box.Dy(), footX: (box.Min.X + box.Max.X) / 2, top: box.Min.Y}
	out.bgr, out.alpha = make([]byte, 3*out.w*out.h), make([]byte, out.w*out.h)
	for _, i := range px {
		j := (i/c.w-box.Min.Y)*out.w + i%c.w - box.Min.X
		out.alpha[j] = mask[i]
		copy(out.bgr[3*j:3*j+3], c.pix[3*i:3*i+3])
	}
	return out
}

// smooth averages a mask over 3 by 3 pixels, and takes away what is alone.
func smooth(m []byte, w, h int) []byte {
	out := make([]byte, len(m))
	for y := 1; y < h-1; y++ {
		for x := 1; x < w-1; x++ {
			sum := 0
			for d := range 9 {
				sum += int(m[(y+d/3-1)*w+x+d%3-1])
			}
			if sum > 3*255 {
				out[y*w+x] = byte(min(255, sum/7))
			}
		}
	}
	return out
}

// largest returns the largest connected part of a mask.
func largest(m []byte, w, h int) (best []int) {
	seen := make([]bool, len(m))
	for i := range m {
		if m[i] == 0 || seen[i] {
			continue
		}
		seen[i] = true
		part := []int{i}
		for k := 0; k < len(part); k++ {
			x, y := part[k]%w, part[k]/w
			for _, n := range [4][2]int{{x - 1, y}, {x + 1, y}, {x, y - 1}, {x, y + 1}} {
				if j := n[1]*w + n[0]; n[0] >= 0 && n[1] >= 0 && n[0] < w && n[1] < h && m[j] != 0 && !seen[j] {
					seen[j] = true
					part = append(part, j)
				}
			}
		}
		if len(part) > len(best) {
			best = part
		}
	}
	return best
}

// textured returns a drawn thing with a rough surface, a light upper and a dark
// lower side: a knotted bag, or a box.
func textured(w, h int, b, g, r float64, round bool) *cutout {
	out := &cutout{w: w, h: h, bgr: make([]byte, 3*w*h), alpha: make([]byte, w*h)}
	rng := rand.New(rand.NewPCG(3, 9))
	for y := range h {
		for x := range w {
			u, v := (float64(x)+.5)/float64(w)*2-1, (float64(y)+.5)/float64(h)*2-1
			inside := 1.0
			if round {
				inside = 1 - math.Pow(math.Abs(u), 2.4) - math.Pow(math.Abs(v), 2.6)
				if v < -.6 {
					inside = .35 - math.Abs(u)
				}
			}
			shade := 1.1 - .35*v + .15*math.Sin(9*u+5*v) + .1*rng.NormFloat64()
			if !round && math.Abs(u) < .08 {
				shade *= 1.35 // the tape
			}
			for k, base := range [3]float64{b, g, r} {
				out.bgr[3*(y*w+x)+k] = toByte(base * shade)
			}
			out.alpha[y*w+x] = toByte(255 * min(1, max(0, inside*6)))
		}
	}
	return out
}
