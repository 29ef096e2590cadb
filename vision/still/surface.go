package still

import (
	"math"
	"time"
)

// onlyLight reports whether the region is the same surface in another light: a
// shadow, the cone of a lamp. Its texture is the same, or it has none and is
// evenly and moderately darker or brighter in every channel.
func (f *field) onlyLight(t *thing) bool {
	var sum [3]float64
	var n, sl, ss, sll, sss, sls float64
	for _, i := range t.px {
		l, s := f.long[3*i:3*i+3], f.short[3*i:3*i+3]
		a, b := luma(l), luma(s)
		n, sl, ss, sll, sss, sls = n+1, sl+a, ss+b, sll+a*a, sss+b*b, sls+a*b
		for c := range 3 {
			sum[c] += math.Log((float64(s[c]) + 6) / (float64(l[c]) + 6))
		}
	}
	vl, vs, cov := sll/n-sl/n*sl/n, sss/n-ss/n*ss/n, sls/n-sl/n*ss/n
	ratio := [3]float64{sum[0] / n, sum[1] / n, sum[2] / n}
	low, high := min(ratio[0], ratio[1], ratio[2]), max(ratio[0], ratio[1], ratio[2])
	grain := float64(f.noise) / 4
	even := high-low < .3 && low > math.Log(.3)
	if even && vl > grain*grain && vs > grain*grain/4 && cov/math.Sqrt(vl*vs) > sameTexture || even && f.sameGrain(t) {
		return true
	}
	if high-low > .12 || low < math.Log(.5) || high > math.Log(2) {
		return false
	}
	// No texture of its own: what remains after the even change is noise.
	rest := 0.0
	for _, i := range t.px {
		for c := range 3 {
			rest += math.Abs(float64(f.short[int(3*i)+c]) - (float64(f.long[int(3*i)+c])+6)*math.Exp(ratio[c]) + 6)
		}
	}
	return rest/(3*n) < float64(f.noise)*.3 && vl > grain*grain/8
}

// sameGrain compares what changes from pixel to pixel: a lamp changes the
// brightness of a place slowly, and leaves its texture.
func (f *field) sameGrain(t *thing) bool {
	var n, ll, ss, ls float64
	for _, v := range t.px {
		i := int(v)
		if i%f.w+2 >= f.w || i+2*f.w >= f.w*f.h {
			continue
		}
		for _, j := range [2]int{i + 2, i + 2*f.w} {
			if f.static[j] == 0 {
				continue
			}
			a := luma(f.long[3*j:]) - luma(f.long[3*i:])
			b := luma(f.short[3*j:]) - luma(f.short[3*i:])
			n, ll, ss, ls = n+1, ll+a*a, ss+b*b, ls+a*b
		}
	}
	if n < 32 || ll/n < 36 || ss/n < 9 {
		return false
	}
	return ls/math.Sqrt(ll*ss) > sameGrainAt
}

func luma(p []byte) float64 {
	return .114*float64(p[0]) + .587*float64(p[1]) + .299*float64(p[2])
}

// displaced reports whether what is seen now is a piece of the old background a
// few pixels away: it stands nearer or farther than what was registered.
func (f *field) displaced(t *thing, at time.Time) bool {
	const span = 8
	since, _ := f.times(t)
	older := f.older(f.ms(at), f.ms(since))
	b := rect{max(0, t.box.x0-2), max(0, t.box.y0-2), min(f.w, t.box.x1+2), min(f.h, t.box.y1+2)}
	step := 1 + int(math.Sqrt(float64(b.area())/900))
	for dy := -span; dy <= span; dy++ {
		for dx := -span; dx <= span; dx++ {
			if dx == 0 && dy == 0 || b.x0+dx < 0 || b.y0+dy < 0 || b.x1+dx > f.w || b.y1+dy > f.h {
				continue
			}
			if f.alike(t, dx, dy, older) && f.correlate(b, dx, dy, step, older) > sameElsewhere {
				return true
			}
		}
	}
	return false
}

// alike reports whether most of the region's pixels have the colours that the
// long background has so many pixels away.
func (f *field) alike(t *thing, dx, dy int, older uint16) bool {
	same, step := 0, 1+len(t.px)/200
	n := 0
	for k := 0; k < len(t.px); k += step {
		i := int(t.px[k])
		j := i + dy*f.w + dx
		n++
		if f.known[j] > older && distance(f.short[3*i:], f.long[3*j:]) <= f.noise {
			same++
		}
	}
	return 10*same >= 7*n
}

// correlate compares the short background in the box with the long one so many
// pixels away, by luma, in [-1,1]; 0 without texture or knowledge.
func (f *field) correlate(b rect, dx, dy, step int, older uint16) float64 {
	var n, sl, ss, sll, sss, sls float64
	for y := b.y0; y < b.y1; y += step {
		for x := b.x0; x < b.x1; x += step {
			i, j := y*f.w+x, (y+dy)*f.w+x+dx
			if f.hidden[i] != 0 || f.known[j] <= older {
				continue
			}
			a, c := luma(f.long[3*j:]), luma(f.short[3*i:])
			n, sl, ss, sll, sss, sls = n+1, sl+a, ss+c, sll+a*a, sss+c*c, sls+a*c
		}
	}
	if n < 16 {
		return 0
	}
	vl, vs := sll/n-sl/n*sl/n, sss/n-ss/n*ss/n
	if vl < 64 || vs < 64 {
		return 0
	}
	return (sls/n - sl/n*ss/n) / math.Sqrt(vl*vs)
}

// edges compares the contrast along the region's border in both backgrounds, in
// [-1,1]: positive where a thing stands out now, negative where one did before.
func (f *field) edges(t *thing) float64 {
	mark := make(map[int32]bool, len(t.px))
	for _, i := range t.px {
		mark[i] = true
	}
	now, before, n := 0.0, 0.0, 0
	const d = 3
	for _, i := range t.px {
		x, y := int(i)%f.w, int(i)/f.w
		for _, v := range [4][2]int{{d, 0}, {-d, 0}, {0, d}, {0, -d}} {
			nx, ny := x+v[0], y+v[1]
			if nx < 0 || ny < 0 || nx >= f.w || ny >= f.h {
				continue
			}
			j := ny*f.w + nx
			near := int32((y+v[1]/d)*f.w + x + v[0]/d)                               //nolint:gosec // pixels fit
			if mark[int32(j)] || mark[near] || f.hidden[j] != 0 || f.known[j] == 0 { //nolint:gosec // pixels fit
				continue
			}
			now += float64(distance(f.short[3*i:], f.short[3*j:]))
			before += float64(distance(f.long[3*i:], f.long[3*j:]))
			n++
		}
	}
	if n < 4 {
		return 0
	}
	return (now - before) / (now + before + 6*float64(n))
}

// sureness rates a thing by how much it differs and how compact it is.
func (f *field) sureness(t *thing) float64 {
	d := 0
	for k := range t.px {
		d += distance(t.look[3*k:], t.back[3*k:])
	}
	contrast := min(1, float64(d)/float64(len(t.px))/(3*float64(f.noise)))
	fill := min(1, float64(len(t.px))/float64(max(1, t.box.area()))/.6)
	return .2 + .5*contrast + .3*fill
}

const cropMargin = .75 // of the thing's size around it

// picture cuts the place out of both backgrounds.
func (f *field) picture(t *thing) {
	m := int(cropMargin*float64(max(t.box.width(), t.box.height()))) + 8
	b := rect{max(0, t.box.x0-m), max(0, t.box.y0-m), min(f.w, t.box.x1+m), min(f.h, t.box.y1+m)}
	p := Pictures{Width: b.width(), Height: b.height()}
	for y := b.y0; y < b.y1; y++ {
		from, to := 3*(y*f.w+b.x0), 3*(y*f.w+b.x1)
		p.Before, p.After = append(p.Before, f.long[from:to]...), append(p.After, f.img[from:to]...)
	}
	t.pictures = p
}
