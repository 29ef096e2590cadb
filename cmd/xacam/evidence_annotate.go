package main

import (
	"cmp"
	"fmt"
	"image"
	"slices"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision/geom"
)

// detailMargin is how much larger than the subject's box the still «detail» is.
const detailMargin = 1.5

// detail cuts out what the event is about, in the picture's own resolution; nil
// when it is about no place.
func detail(p *plate, ev *events.Event) *plate {
	var box image.Rectangle
	grow := func(b [4]float64) {
		cx, cy := (b[0]+b[2])/2, (b[1]+b[3])/2
		dx, dy := (b[2]-b[0])/2*detailMargin, (b[3]-b[1])/2*detailMargin
		r := image.Rect(int((cx-dx)*float64(p.w)), int((cy-dy)*float64(p.h)), int((cx+dx)*float64(p.w)+1), int((cy+dy)*float64(p.h)+1))
		box = box.Union(r)
	}
	if t, ok := thingBox(ev); ok { // what was left, rather than where its bringer stood then
		grow([4]float64{t.Min.X, t.Min.Y, t.Max.X, t.Max.Y})
	} else if ev.Subject != nil {
		grow(ev.Subject.Box)
	}
	box = box.Intersect(image.Rect(0, 0, p.w, p.h))
	if box.Dx() < 8 || box.Dy() < 8 {
		return nil
	}
	out := &plate{bgr: make([]byte, 0, 3*box.Dx()*box.Dy()), w: box.Dx(), h: box.Dy()}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		out.bgr = append(out.bgr, p.bgr[3*(y*p.w+box.Min.X):3*(y*p.w+box.Max.X)]...)
	}
	return out
}

// annotate draws into a picture what the event is about: the zone or line, the
// boxes, and why, in both languages.
func annotate(p *plate, job *stillsJob, letters *draw.Letters) {
	ev, file := &job.event, &job.sight.plan.file
	s := newSheet(p.bgr, p.w, p.h, letters)
	col := severityColour(ev.Severity)
	if z, ok := file.Zones[ev.Zone]; ok {
		ring := s.ring(z.Area)
		tint := col
		tint.A = 30
		s.Fill(ring, tint)
		s.outline(ring, s.thick, col)
	}
	if l, ok := file.Lines[ev.Zone]; ok {
		s.Line(s.at(geom.Point{X: l.From[0], Y: l.From[1]}), s.at(geom.Point{X: l.To[0], Y: l.To[1]}), s.thick*1.6, col)
	}
	thing, hasThing := thingBox(ev)
	if hasThing {
		s.frame(thing, false, stillColour())
	}
	if ev.Subject != nil {
		s.frame(boxOf(ev.Subject.Box), hasThing, classColour(ev.Subject.Class)) // beside a thing it is where the actor was
	}
	edge := s.size * .5
	lines := []string{ev.Source.Name + "  " + ev.OccurredAt.In(job.sight.plan.calendar.Location).Format("2006-01-02 15:04:05.000 -07:00")}
	for _, text := range []string{ev.Why.VI, ev.Why.EN} {
		lines = append(lines, letters.Wrap(text, s.size, float64(s.W)-4*edge, 3)...)
	}
	w, h := s.textSize(lines)
	w += s.size * .2
	var seen []draw.Rect // what nobody wants to have hidden
	if hasThing {
		seen = append(seen, s.rect(thing))
	}
	if ev.Subject != nil {
		seen = append(seen, s.rect(boxOf(ev.Subject.Box)))
	}
	below, above := float64(s.H)-edge-h, edge
	left, right := edge, float64(s.W)-edge-w
	s.panel(leastHidden(seen, s.room(left, below, w, h), s.room(right, below, w, h), s.room(left, above, w, h), s.room(right, above, w, h)), lines, col)
	if hasThing {
		s.tag(thing, [][]string{{"vật / thing"}}, stillColour())
	}
	if ev.Subject != nil {
		s.tag(boxOf(ev.Subject.Box), [][]string{{fmt.Sprintf("%s %.0f%%", ev.Subject.Class, 100*ev.Subject.Score)}}, classColour(ev.Subject.Class))
	}
}

// leastHidden returns the place that covers the least of what is to be seen, the
// first of equals.
func leastHidden(seen []draw.Rect, places ...draw.Rect) draw.Rect {
	hidden := func(p draw.Rect) (sum float64) {
		for _, r := range seen {
			if p.Overlaps(r) {
				sum += (min(p.Right, r.Right) - max(p.Left, r.Left)) * (min(p.Bottom, r.Bottom) - max(p.Top, r.Top))
			}
		}
		return sum
	}
	return slices.MinFunc(places, func(a, b draw.Rect) int { return cmp.Compare(hidden(a), hidden(b)) })
}
