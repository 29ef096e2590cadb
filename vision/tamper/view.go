package tamper

import (
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision/geom"
)

// What a cell must be like to have a say.
const (
	minStrength = 5.0  // of its remembered edges
	minCos      = 0.3  // usual likeness to what is remembered
	lostCos     = 0.45 // of the usual likeness: below it the cell is not seen
	lostLooks   = 3    // pictures in a row in which it is not seen until it is lost
	cellLooks   = 6    // pictures from which it was learned

	minVoters = cells / 8 // cells that must have a say before anything is judged by them
	minKnown  = 4 * time.Second
)

// How fast things are learned. Until a cell has been learned for that long, all
// pictures count alike.
const (
	learnSeen    = 60 * time.Second  // cells that are seen
	learnLost    = 300 * time.Second // cells that are hidden
	learnEmpty   = 15 * time.Second  // cells without a say
	learnLight   = 60 * time.Second  // brightness
	learnUsually = 30 * time.Second  // how alike cells usually are
)

// view is what a camera usually shows.
type view struct {
	use   []bool // by pixel: not masked
	looks [cells]bool
	n     int // pixels in use

	fine, coarse   *field
	memory, rough  *memory
	small          []byte
	cell           [cells]patch
	mean           [cells]float64 // brightness, usual
	now            [cells]float64 // brightness, of the picture
	bright, dazzle float64        // usual brightest level and share of dazzling pixels
	lit, dazzled   float64        // the same of the picture
	richness       float64        // usual strength of all edges
	learned        time.Duration
	pictures       int
}

// patch is what is known of one cell.
type patch struct {
	like, rough likeness // of the latest picture
	cos, roughC float64  // usual likeness
	n           int      // pictures it was learned from
	age         time.Duration
	missed      int // pictures in a row in which it was not seen
}

func newView(masks []geom.Polygon) *view {
	v := &view{use: make([]bool, Width*Height), small: make([]byte, coarseW*coarseH)}
	var masked [cells]int
	for i := range v.use {
		x, y := i%Width, i/Width
		p := geom.Point{X: (float64(x) + .5) / Width, Y: (float64(y) + .5) / Height}
		v.use[i] = !slices.ContainsFunc(masks, func(m geom.Polygon) bool { return m.Contains(p) })
		if v.use[i] {
			v.n++
		} else {
			masked[y/cell*cellsX+x/cell]++
		}
	}
	for c := range masked {
		v.looks[c] = masked[c] == 0
	}
	t := newTable()
	v.fine, v.coarse = newField(Width, Height, t), newField(coarseW, coarseH, t)
	v.forget()
	return v
}

// forget makes the view unknown.
func (v *view) forget() {
	v.memory, v.rough = newMemory(Width, Height), newMemory(coarseW, coarseH)
	v.cell, v.mean = [cells]patch{}, [cells]float64{}
	v.learned, v.pictures = 0, 0
}

// ready reports whether the view is known.
func (v *view) ready() bool { return v.learned >= minKnown && v.pictures >= cellLooks }

// votes reports whether the cell has a say.
func (v *view) votes(c int) bool {
	p := &v.cell[c]
	return v.looks[c] && p.n >= cellLooks && p.cos >= minCos && v.memory.strength(c) >= minStrength
}

// look compares a picture with the view.
func (v *view) look(gray []byte) *sight {
	s := &sight{ready: v.ready()}
	v.light(gray, s)
	v.fine.of(gray)
	shrink(gray, v.small)
	v.coarse.of(v.small)
	var gains []float64
	sum := 0.0
	for c := range v.cell {
		p := &v.cell[c]
		if !v.looks[c] {
			continue
		}
		p.like = v.memory.compare(v.fine, c, 0, 0)
		p.rough = v.rough.compare(v.coarse, c, 0, 0)
		sum += p.like.rms
		rough := p.roughC >= minCos && p.rough.cos >= lostCos*p.roughC
		if rough || p.like.cos >= lostCos*p.cos { // by coarse edges also when the pole sways
			p.missed = 0
		} else {
			p.missed++
		}
		if !v.votes(c) {
			continue
		}
		s.voters++
		if p.missed >= lostLooks {
			s.lost++
		}
		if rough {
			s.rough++
			if p.rough.gain > 0 {
				gains = append(gains, p.like.gain/p.rough.gain)
			}
		}
	}
	if v.richness > 0 {
		s.richness, s.usualRich = sum/v.richness, v.richness/cells
	}
	s.sharp = 1
	if len(gains) > 0 {
		slices.Sort(gains)
		s.sharp = gains[len(gains)/2]
	}
	v.layout(s)
	if s.ready && 100*s.rough <= 85*s.voters && s.richness >= poor {
		s.shift, s.better = v.shifted()
	}
	return s
}

// Levels of brightness.
const (
	dazzling = 230
	tooDark  = 60.0 // below it a picture may be dark
	blackest = 20.0
)

// light measures brightness.
func (v *view) light(gray []byte, s *sight) {
	var h [256]int
	for i, g := range gray {
		if v.use[i] {
			h[g]++
		}
	}
	seen, dazzle := 0, 0
	s.bright = -1
	for g := 255; g >= 0; g-- {
		if seen += h[g]; g >= dazzling {
			dazzle = seen
		}
		if 20*seen >= v.n && s.bright < 0 { // the brightest twentieth
			s.bright = float64(g)
		}
	}
	if v.n > 0 {
		s.dazzle = float64(dazzle) / float64(v.n)
	}
	s.usually = v.bright
	v.lit, v.dazzled = s.bright, s.dazzle
	s.glare = s.dazzle > v.dazzle+.02 && s.dazzle < .4
	var sums [cells]int
	for y := range Height {
		row := gray[y*Width : (y+1)*Width]
		for x := range cellsX {
			for _, g := range row[x*cell : (x+1)*cell] {
				sums[y/cell*cellsX+x] += int(g)
			}
		}
	}
	for c := range sums {
		v.now[c] = float64(sums[c]) / (cell * cell)
	}
}

// layout compares how bright the cells are with how bright they usually are.
func (v *view) layout(s *sight) {
	var n, sx, sy, sxx, syy, sxy float64
	for c := range v.now {
		if !v.looks[c] {
			continue
		}
		x, y := v.now[c], v.mean[c]
		n, sx, sy, sxx, syy, sxy = n+1, sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
	}
	if n == 0 {
		return
	}
	vx, vy := sxx/n-sx/n*sx/n, syy/n-sy/n*sy/n
	s.contrast, s.usualContrast = math.Sqrt(max(vx, 0)), math.Sqrt(max(vy, 0))
	if vx > 0 && vy > 0 {
		s.layout = (sxy/n - sx/n*sy/n) / math.Sqrt(vx*vy)
	}
}

// Shifts that are looked for, in coarse pixels: 1 is about 1 % of the picture.
const (
	widest    = 4
	tinyShift = 1.5
	isShift   = 0.6 // of the usual likeness
)

// shifted returns by how many coarse pixels the usual view is shifted in the
// latest picture and how many times better it fits there; 0 when it is not found
// nearby.
func (v *view) shifted() (shift, better float64) {
	usual, n := 0.0, 0
	for c := range v.cell {
		if v.votes(c) {
			usual += v.cell[c].roughC
			n++
		}
	}
	if n == 0 {
		return 0, 0
	}
	best, here := isShift*usual, 0.0
	for dy := -widest; dy <= widest; dy++ {
		for dx := -widest; dx <= widest; dx++ {
			sum := 0.0
			for c := range v.cell {
				if v.votes(c) {
					sum += max(0, v.rough.compare(v.coarse, c, dx, dy).cos)
				}
			}
			if dx == 0 && dy == 0 {
				here = sum
			}
			if sum > best {
				best, shift = sum, max(math.Hypot(float64(dx), float64(dy)), .5)
			}
		}
	}
	return shift, best / max(here, 1e-3)
}

// learn takes the latest picture, seen gap after the one before, for usual.
func (v *view) learn(gap time.Duration) {
	v.pictures++
	v.learned += gap
	sum := 0.0
	for c := range v.cell {
		p := &v.cell[c]
		if !v.looks[c] {
			continue
		}
		votes := v.votes(c)
		if p.n > 1 { // what it was compared with says something
			a := share(gap, learnUsually, p.n-1)
			if votes && p.missed > 0 {
				a = share(gap, learnLost, cells)
			}
			p.cos += a * (p.like.cos - p.cos)
			p.roughC += a * (p.rough.cos - p.roughC)
		}
		slow := learnEmpty
		switch {
		case votes && p.missed == 0:
			slow = learnSeen
		case votes:
			slow = learnLost
		}
		p.n++
		p.age += gap
		a := share(gap, slow, p.n)
		v.memory.learn(v.fine, c, float32(a))
		v.rough.learn(v.coarse, c, float32(a))
		v.mean[c] += share(gap, learnSeen, v.pictures) * (v.now[c] - v.mean[c])
		sum += p.like.rms
	}
	v.richness += share(gap, learnSeen, v.pictures) * (sum - v.richness)
	v.bright += share(gap, learnLight, v.pictures) * (v.lit - v.bright)
	v.dazzle += share(gap, learnLight, v.pictures) * (v.dazzled - v.dazzle)
}

// fresh is how many pictures all count alike at first.
const fresh = 40

// share is how much the n-th picture counts in a mean over the time d.
func share(gap, d time.Duration, n int) float64 {
	a := min(float64(gap)/float64(d), 1)
	if n < fresh { // all count alike at first
		a = max(a, 1/float64(max(n, 1)))
	}
	return a
}
