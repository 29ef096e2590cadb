package still

import (
	"math"
	"time"
)

// toGray writes the luma of a BGR picture into gray, at the models' light where
// a table is given.
func (f *field) toGray(bgr []byte, lut *[3][256]byte) {
	gray := f.gray
	if lut == nil {
		for i := range gray {
			p := bgr[3*i : 3*i+3 : 3*i+3]
			gray[i] = byte((29*int(p[0]) + 150*int(p[1]) + 77*int(p[2])) >> 8) //nolint:gosec // weights of 256
		}
		return
	}
	for i := range gray {
		p := bgr[3*i : 3*i+3 : 3*i+3]
		gray[i] = byte((29*int(lut[0][p[0]]) + 150*int(lut[1][p[1]]) + 77*int(lut[2][p[2]])) >> 8) //nolint:gosec // weights of 256
	}
}

// setGain makes the tables that take the picture to the models' light.
func (f *field) setGain(g [3]float64) {
	f.gain = g
	for c := range f.lut {
		for v := range f.lut[c] {
			f.lut[c][v] = byte(min(255, math.Round(float64(v)/g[c])))
		}
	}
}

const (
	ratioOne   = 128 // a ratio of 1 in the histograms
	sampleStep = 7   // pixels between two that the statistics use
)

// measure estimates how much brighter the picture is than the models, as the
// median ratio of each channel, brings it to their light, and estimates the
// noise. The median is right as long as most of what is seen is background.
func (f *field) measure(at time.Time) {
	f.histogram = [3][512]int32{}
	samples := [3]int{}
	for i := 0; i < len(f.known); i += sampleStep {
		if f.hidden[i] != 0 || f.known[i] < minKnown {
			continue
		}
		for c := range 3 {
			l, v := int(f.long[3*i+c]), int(f.img[3*i+c])
			if l >= 16 && l <= 240 && v <= 250 {
				f.histogram[c][min(v*ratioOne/l, 511)]++
				samples[c]++
			}
		}
	}
	gain := f.gain
	jump := 0.0
	for c := range 3 {
		if samples[c] < 200 {
			continue
		}
		g := float64(medianOf(f.histogram[c][:], samples[c])) / ratioOne
		g = min(max(g, .25), 3.9)
		jump = max(jump, math.Abs(g/f.gain[c]-1))
		if math.Abs(g/f.gain[c]-1) > .012 {
			gain[c] = g
		}
	}
	if jump > lightJump {
		f.jumped = at
	}
	if gain != f.gain {
		f.setGain(gain)
	}
	for i := 0; i+2 < len(f.img); i += 3 {
		p := f.img[i : i+3 : i+3]
		p[0], p[1], p[2] = f.lut[0][p[0]], f.lut[1][p[1]], f.lut[2][p[2]]
	}
	f.estimateNoise()
}

// estimateNoise sets the threshold from the median difference of neighbouring
// looks at what does not change.
func (f *field) estimateNoise() {
	clear(f.spread[:])
	n := 0
	for i := 0; i < len(f.held); i += sampleStep {
		if f.hidden[i] == 0 && f.held[i] > 0 {
			f.spread[distance(f.img[3*i:], f.short[3*i:])]++
			n++
		}
	}
	if n < 200 {
		return
	}
	f.noise = min(max(minNoise, 4*medianOf(f.spread[:], n)+10), maxNoise)
}

func medianOf(h []int32, n int) int {
	seen := 0
	for i, k := range h {
		if seen += int(k); 2*seen >= n {
			return i
		}
	}
	return len(h) - 1
}

// distance returns the largest difference of the channels of two pixels.
func distance(a, b []byte) int {
	_, _ = a[2], b[2]
	d := int(a[0]) - int(b[0])
	e := int(a[1]) - int(b[1])
	g := int(a[2]) - int(b[2])
	return max(d, -d, e, -e, g, -g)
}

// learn brings both backgrounds up to date, marks where they differ, and
// returns which share of what is known looks different now.
func (f *field) learn(at time.Time, dt time.Duration) (changed float64) {
	now, step := f.ms(at), uint16(dt.Milliseconds()) //nolint:gosec // at most maxStep
	settle := uint16(f.cfg.Settle.Milliseconds())    //nolint:gosec // checked
	nudge := at.Sub(f.nudged) >= nudgeEvery
	if nudge {
		f.nudged = at
	}
	differ, looked := 0, 0
	limit := f.noise
	for i := range f.held {
		f.static[i] = 0
		if f.hidden[i] != 0 {
			f.held[i] = 0
			continue
		}
		p, s, l := f.img[3*i:3*i+3:3*i+3], f.short[3*i:3*i+3:3*i+3], f.long[3*i:3*i+3:3*i+3]
		switch {
		case f.born[i] != 0 && distance(p, s) <= limit:
			f.held[i] = min(f.held[i]+step, shortCap)
			approach(s, p)
		case f.held[i] > forget*step && f.born[i] != 0:
			f.held[i] -= forget * step
		default:
			s[0], s[1], s[2] = p[0], p[1], p[2]
			f.held[i], f.born[i] = 0, now
		}
		switch {
		case f.known[i] == 0:
			l[0], l[1], l[2] = p[0], p[1], p[2]
			f.known[i], f.seenLong[i] = 1, now
		case distance(p, l) <= limit:
			looked++
			f.known[i] = min(f.known[i]+step, longCap)
			f.seenLong[i] = now
			if nudge {
				approach(l, p)
			}
			continue
		case f.known[i] >= minKnown:
			looked++
			differ++
		}
		if f.held[i] < settle || distance(s, l) <= limit {
			continue
		}
		if f.known[i] < minKnown { // what was there first was never confirmed
			l[0], l[1], l[2] = s[0], s[1], s[2]
			f.known[i], f.seenLong[i] = f.held[i], now
			continue
		}
		f.static[i] = 255
	}
	if looked == 0 {
		return 0
	}
	return float64(differ) / float64(looked)
}

// approach moves a colour by one grey level towards another: the running median
// (McFarlane and Schofield, 1995).
func approach(s, p []byte) {
	for c := range 3 {
		switch {
		case p[c] > s[c]:
			s[c]++
		case p[c] < s[c]:
			s[c]--
		}
	}
}

// judgeLight decides whether the picture as a whole has changed.
func (f *field) judgeLight(at time.Time, changed float64) {
	if !f.jumped.IsZero() && at.Sub(f.jumped) < quarantine {
		f.calm = f.jumped.Add(quarantine)
	}
	switch {
	case changed < globalPart:
		f.globalAt = time.Time{}
	case f.globalAt.IsZero():
		f.globalAt = at
	case at.Sub(f.globalAt) >= globalAfter:
		f.relearn(at)
	}
	for _, g := range f.gain {
		if math.Abs(g-1) > rebaseAt {
			f.rebase()
			return
		}
	}
}

// relearn forgets the background, not what is known to lie there.
func (f *field) relearn(at time.Time) {
	clear(f.known)
	clear(f.held)
	clear(f.born)
	f.setGain([3]float64{1, 1, 1})
	f.globalAt, f.jumped = time.Time{}, at
	f.calm = at.Add(quarantine)
	f.reg.refAt = time.Time{}
	kept := f.things[:0]
	for _, t := range f.things {
		if t.reported() {
			t.blind = true
			kept = append(kept, t)
		}
	}
	f.things = kept
}

// startOver forgets everything: the camera looks elsewhere.
func (f *field) startOver(at time.Time) {
	f.relearn(at)
	f.things = nil
	clear(f.owned)
	f.reg = registrar{
		aligner: f.reg.aligner, newAligner: f.reg.newAligner, step: f.reg.step, all: f.reg.all, w: f.w, h: f.h, to: identity(), guess: identity(),
	}
}

// rebase brings the models to the picture's light, so that what follows stays
// within the range of a byte.
func (f *field) rebase() {
	var to [3][256]byte
	for c := range to {
		for v := range to[c] {
			to[c][v] = byte(min(255, math.Round(float64(v)*f.gain[c])))
		}
	}
	apply := func(b []byte) {
		for i := range b {
			b[i] = to[i%3][b[i]]
		}
	}
	apply(f.long)
	apply(f.short)
	apply(f.img)
	for _, t := range f.things {
		apply(t.look)
		apply(t.back)
	}
	f.setGain([3]float64{1, 1, 1})
	f.reg.refAt = time.Time{}
}

// scroll moves the canvas by whole pixels; what leaves it is forgotten.
func (f *field) scroll(dx, dy int) {
	f.reg.follow(dx, dy)
	shiftPlane(f.long, f.w, f.h, 3, dx, dy)
	shiftPlane(f.short, f.w, f.h, 3, dx, dy)
	shiftPlane(f.img, f.w, f.h, 3, dx, dy)
	shiftPlane(f.held, f.w, f.h, 1, dx, dy)
	shiftPlane(f.known, f.w, f.h, 1, dx, dy)
	shiftPlane(f.born, f.w, f.h, 1, dx, dy)
	shiftPlane(f.seenLong, f.w, f.h, 1, dx, dy)
	shiftPlane(f.hidden, f.w, f.h, 1, dx, dy)
	kept := f.things[:0]
	for _, t := range f.things {
		if t.shift(f, dx, dy) {
			kept = append(kept, t)
		}
	}
	f.things = kept
	f.own()
	f.offX, f.offY = f.offX+dx, f.offY+dy
}

// shiftPlane moves a plane of so many values a pixel by dx, dy to the left and
// up; what is new is zero.
func shiftPlane[T byte | uint16 | uint32](p []T, w, h, per, dx, dy int) {
	row := func(y int) []T { return p[y*w*per : (y+1)*w*per] }
	line := func(dst, src []T) {
		n := max(0, (w-max(dx, -dx))*per)
		if dx >= 0 {
			copy(dst[:n], src[len(src)-n:])
			clear(dst[n:])
		} else {
			copy(dst[len(dst)-n:], src[:n])
			clear(dst[:len(dst)-n])
		}
	}
	if dy >= 0 {
		for y := range h {
			if y+dy < h {
				line(row(y), row(y+dy))
			} else {
				clear(row(y))
			}
		}
		return
	}
	for y := h - 1; y >= 0; y-- {
		if y+dy >= 0 {
			line(row(y), row(y+dy))
		} else {
			clear(row(y))
		}
	}
}
