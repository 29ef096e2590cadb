package still

import (
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
)

const (
	maxRegions    = 64
	maxStatic     = .25              // of the picture static at once is the light
	waitForRest   = 3 * time.Second  // for whoever hides a part of it to step aside
	swaySlack     = 4                // pixels
	growGap       = 3                // pixels between a thing and what grows on it
	minFill       = .18              // of its box
	sureActor     = .35              // of who was seen to leave something
	minSide       = 4                // pixels
	maxLong       = 5                // times its shorter side: edges are longer, things seldom
	ripeFor       = 10 * time.Second // a background must have been seen so long before something can be missing from it
	jumpSlack     = 1500 * time.Millisecond
	sameTexture   = .75 // correlation: it is the same surface in another light
	sameGrainAt   = .6  // correlation: so it is, of differences between neighbours
	sameElsewhere = .7  // correlation: a piece of background that was registered wrongly
)

// findThings makes candidates of what is static and believes the ripe ones.
func (f *field) findThings(at time.Time, who *witnesses) {
	area := f.w * f.h
	minPx := max(8, int(f.cfg.MinArea*float64(area)))
	f.dropMisregistered(at)
	f.finder.strict = f.reg.sways(at)
	regions := f.finder.regions(f.static, f.owned, minPx, maxRegions)
	total := 0
	for _, r := range regions {
		total += len(r.px)
	}
	if float64(total) > maxStatic*float64(area) || len(regions) == maxRegions {
		for _, r := range regions {
			f.absorb(r.px)
		}
		return
	}
	for i := range regions {
		if !f.grow(&regions[i], at) {
			f.propose(&regions[i], at)
		}
	}
	f.things = slices.DeleteFunc(f.things, func(t *thing) bool {
		return t.state == candidate && at.Sub(t.marked) >= missedAfter
	})
	f.decide(at, who)
	f.own()
}

// dropMisregistered unmarks pixels that have the short background's colour in a
// neighbour of the long one: registration is no better than a pixel, and of a
// camera that moves a few, because what is near moves otherwise than what is far.
func (f *field) dropMisregistered(at time.Time) {
	r := 1
	if f.reg.sways(at) {
		r = swaySlack
	}
	now := f.ms(at)
	for i, v := range f.static {
		if v == 0 || f.owned[i] != 0 {
			continue
		}
		older := f.older(now, f.born[i])
		x, y := i%f.w, i/f.w
		s := f.short[3*i : 3*i+3]
	search:
		for ny := max(0, y-r); ny <= min(f.h-1, y+r); ny++ {
			for nx := max(0, x-r); nx <= min(f.w-1, x+r); nx++ {
				if j := ny*f.w + nx; f.known[j] > older && distance(s, f.long[3*j:]) <= f.noise {
					f.static[i] = 0
					break search
				}
			}
		}
	}
}

// older returns for how long a background must have been seen at least to be
// older than a colour that showed at born.
func (f *field) older(now, born uint32) uint16 {
	return uint16(min(now-born+minKnown/2, longCap-1)) //nolint:gosec // within longCap
}

// compact reports whether so many pixels in the box can be a thing: no line, no
// scattered points.
func compact(pixels int, box rect) bool {
	short, long := min(box.width(), box.height()), max(box.width(), box.height())
	return short >= minSide && long <= maxLong*short && float64(pixels) >= minFill*float64(box.area())
}

// grow adds the region to a young thing that it belongs to.
func (f *field) grow(r *region, at time.Time) bool {
	for _, t := range f.things {
		if t.state == candidate || at.Sub(t.found) > growFor || t.box.gap(r.box) > growGap || len(r.px) > 2*len(t.px) ||
			!compact(len(t.px)+len(r.px), t.box.union(r.box)) {
			continue
		}
		t.px = append(t.px, r.px...)
		for _, i := range r.px {
			t.look, t.back = append(t.look, f.short[3*i:3*i+3]...), append(t.back, f.long[3*i:3*i+3]...)
		}
		t.box = t.box.union(r.box)
		t.inside, _ = f.contrast(t, f.short)
		return true
	}
	return false
}

// propose makes or renews a candidate.
func (f *field) propose(r *region, at time.Time) {
	var best *thing
	most := 0
	for _, t := range f.things {
		if t.state == candidate && !t.marked.Equal(at) {
			if o := t.box.overlap(r.box); o > most && 3*o > min(t.box.area(), r.box.area()) {
				best, most = t, o
			}
		}
	}
	if best == nil {
		if len(f.things) >= maxThings {
			return
		}
		best = &thing{found: at}
		f.things = append(f.things, best)
	}
	if o := best.box.overlap(r.box); best.looks > 0 && 2*o < max(best.box.area(), r.box.area()) {
		best.found, best.looks = at, 0 // it moves
	}
	if 10*len(r.px) > 11*len(best.px) {
		best.grown = at
	}
	best.px = append(best.px[:0], r.px...)
	best.box, best.marked = r.box, at
	best.looks++
}

// verdict is what a candidate turns out to be.
type verdict uint8

const (
	wait      verdict = iota // cannot say yet
	nothing                  // light, or background: learn it
	isAdded                  // a thing
	isRemoved                // the place of a thing
	isObject                 // a track's object that is not found any more
)

// decide judges every candidate that is ripe.
func (f *field) decide(at time.Time, who *witnesses) {
	verdicts := map[*thing]verdict{}
	things := 0
	for _, t := range f.things {
		if t.state != candidate || t.looks < confirmLooks || at.Sub(t.found) < confirmAfter || !t.marked.Equal(at) {
			continue
		}
		v := f.judge(t, at, who)
		if v == wait && at.Sub(t.found) > doubtFor {
			v = nothing
		}
		verdicts[t] = v
		if v == isAdded || v == isRemoved {
			things++
		}
	}
	kept := f.things[:0]
	for _, t := range f.things {
		v := verdicts[t]
		if things > maxAtOnce && (v == isAdded || v == isRemoved) {
			v = nothing
		}
		switch v {
		case wait:
		case nothing:
			f.absorb(t.px)
			continue
		case isAdded, isRemoved:
			t.kind = vision.StillAdded
			if v == isRemoved {
				t.kind = vision.StillRemoved
			}
			f.believe(t, at, who)
		case isObject:
			f.keep(t, at)
			t.kind, t.state = vision.StillAdded, standing
		}
		kept = append(kept, t)
	}
	clear(f.things[len(kept):])
	f.things = kept
}

// keep notes what the place looks like.
func (f *field) keep(t *thing, at time.Time) {
	t.look, t.back = t.look[:0], t.back[:0]
	for _, i := range t.px {
		t.look, t.back = append(t.look, f.short[3*i:3*i+3]...), append(t.back, f.long[3*i:3*i+3]...)
	}
	t.since, t.bare = f.times(t)
	t.seen, t.judged = at, at
	t.inside, _ = f.contrast(t, f.short)
}

// believe makes the candidate a thing and looks for who did it.
func (f *field) believe(t *thing, at time.Time, who *witnesses) {
	if t.state == candidate {
		f.keep(t, at)
	}
	t.state = believed
	*f.ids++
	t.id = *f.ids
	t.score = f.sureness(t)
	if s, ok := who.blame(f.world(t.box), t.bare, t.since); ok {
		t.actor, t.near = &s, s.contact.at
		t.left = s.who.leftAt(f.world(t.box), s.contact.at)
		for _, g := range s.who.seen {
			r := f.world(t.box)
			if g.at.After(t.near) && g.canvas.gap(r) <= nearMargin*float64(max(g.canvas.height(), g.canvas.width())) {
				t.near = g.at
			}
		}
	}
	f.picture(t)
}

// times returns when the region's colours first showed and when the background
// was last seen there, as quantiles over its pixels.
func (f *field) times(t *thing) (since, bare time.Time) {
	born, last := make([]uint32, 0, len(t.px)), make([]uint32, 0, len(t.px))
	for _, i := range t.px {
		born = append(born, f.born[i])
		last = append(last, f.seenLong[i])
	}
	slices.Sort(born)
	slices.Sort(last)
	since = f.time(max(1, born[len(born)/3]))
	if l := last[len(last)/2]; l > 0 {
		bare = f.time(l)
	}
	return since, bare
}

// judge says what a candidate is.
func (f *field) judge(t *thing, at time.Time, who *witnesses) verdict {
	box := t.box
	if float64(len(t.px)) > f.cfg.MaxArea*float64(f.w*f.h) {
		return nothing
	}
	if !compact(len(t.px), box) {
		return wait
	}
	if f.cut(t) && at.Sub(t.found) < waitForRest {
		return wait
	}
	if f.onlyLight(t) || f.reg.sways(at) && f.displaced(t, at) {
		return nothing
	}
	since, bare := f.times(t)
	world := f.world(box)
	by, touched := who.blame(world, bare, since)
	left := touched && by.score >= sureActor && !by.who.leftAt(world, by.contact.at).IsZero()
	if !left && at.Sub(t.found) < doubtAfter {
		return wait
	}
	if !f.jumped.IsZero() && !touched && since.Sub(f.jumped).Abs() < jumpSlack {
		return nothing
	}
	q := f.edges(t)
	switch who.occupant(world) {
	case cameFrom:
		return nothing
	case lostThere:
		if q < -.08 {
			return nothing
		}
		return isObject
	case wentAway, nobody:
	}
	if q > -.06 && who.lostBefore(world) {
		return isObject
	}
	switch {
	case q > .06, q > -.06 && touched:
		return isAdded
	case q < -.06:
		if at.Sub(t.found) < doubtAfter || at.Sub(t.grown) < doubtAfter/4 {
			return wait // perhaps something large is only just leaving
		}
		if f.knownFor(t) < ripeFor || who.vehicleBegan(world) {
			return nothing
		}
		return isRemoved
	}
	return wait
}

// cut reports whether somebody hides a part of the region.
func (f *field) cut(t *thing) bool {
	n := 0
	for _, i := range t.px {
		x, y := int(i)%f.w, int(i)/f.w
		for _, d := range [4][2]int{{2, 0}, {-2, 0}, {0, 2}, {0, -2}} {
			if nx, ny := x+d[0], y+d[1]; nx >= 0 && ny >= 0 && nx < f.w && ny < f.h && f.hidden[ny*f.w+nx] != 0 && f.outside[ny*f.w+nx] == 0 {
				n++
				break
			}
		}
	}
	return n > 3 && n*n > len(t.px)
}

// knownFor returns for how long the background behind the region was seen.
func (f *field) knownFor(t *thing) time.Duration {
	sum := 0
	for _, i := range t.px {
		sum += int(f.known[i])
	}
	return time.Duration(sum/len(t.px)) * time.Millisecond
}
