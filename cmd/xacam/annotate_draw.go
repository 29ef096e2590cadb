package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Colours say what something is, and how far it is.
func calm() color.NRGBA    { return rgb(120, 200, 255, 255) }
func waiting() color.NRGBA { return rgb(255, 196, 0, 255) }
func alarm() color.NRGBA   { return rgb(255, 70, 60, 255) }

func classColour(class string) color.NRGBA {
	switch class {
	case "person":
		return rgb(90, 230, 110, 255)
	case "motorcycle", "bicycle":
		return rgb(255, 170, 60, 255)
	case "car", "truck", "bus", "train":
		return rgb(110, 190, 255, 255)
	}
	return rgb(230, 150, 255, 255)
}

func severityColour(s events.Severity) color.NRGBA {
	switch s {
	case events.SeverityCritical, events.SeverityHigh:
		return alarm()
	case events.SeverityMedium:
		return rgb(255, 140, 40, 255)
	case events.SeverityLow:
		return waiting()
	case events.SeverityInfo:
	}
	return calm()
}

// draw paints the latest scene: first what lies on the ground, then objects, and
// text last, the panels before the labels, which give way. It returns where text
// is.
func (a *annotator) draw(at time.Time, pts time.Duration) []draw.Rect {
	s := newSheet(a.bgr, a.w, a.h, a.letters)
	a.areas(s, pts)
	a.paths(s)
	crowded := len(a.scene.Tracks) > 12
	for i := range a.scene.Tracks {
		t := &a.scene.Tracks[i]
		s.frame(t.Box, t.Coasting(a.scene.At), trackColour(t, a.scene.At))
	}
	a.stillFrames(s)
	a.header(s, at, pts)
	a.reasons(s)
	a.placeNames(s, pts)
	a.stillTags(s, at)
	for _, t := range byWeight(a.scene.Tracks, a.scene.At) {
		s.tag(t.Box, trackTexts(t, crowded), trackColour(t, a.scene.At))
	}
	return s.taken
}

func trackColour(t *vision.Track, at time.Time) color.NRGBA {
	if t.Coasting(at) {
		return rgb(170, 170, 170, 255)
	}
	return classColour(t.Label)
}

// byWeight puts the tracks first that must have their label: detected ones, then
// large ones.
func byWeight(tracks []vision.Track, at time.Time) []*vision.Track {
	out := make([]*vision.Track, len(tracks))
	for i := range tracks {
		out[i] = &tracks[i]
	}
	slices.SortStableFunc(out, func(x, y *vision.Track) int {
		weight := func(t *vision.Track) float64 {
			if t.Coasting(at) {
				return t.Box.Area()
			}
			return 2 + t.Box.Area()
		}
		return -cmpFloat(weight(x), weight(y))
	})
	return out
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// trackTexts are the labels of a track, the longest first.
func trackTexts(t *vision.Track, crowded bool) [][]string {
	name := fmt.Sprintf("%d %s", t.ID, t.Label)
	if n := len(t.Riders); n > 0 {
		name += fmt.Sprintf(" +%d", n)
	}
	full := []string{fmt.Sprintf("%s %.0f%%", name, 100*t.Score)}
	for _, m := range t.Marks {
		full = append(full, fmt.Sprintf("%s: %s %.0f%%", m.Name, m.Value, 100*m.Score))
	}
	texts := [][]string{full, {name}, {strconv.FormatUint(t.ID, 10)}}
	if crowded && len(t.Marks) == 0 {
		texts = texts[1:]
	}
	return texts
}

// state is how far the rules of a zone or line are: 0 idle, 1 pending, 2 raised.
func (a *annotator) state(place string, pts time.Duration) int {
	worst := 0
	for i := range a.rules {
		if r := &a.rules[i]; r.place == place {
			worst = max(worst, r.state(pts))
		}
	}
	return worst
}

func (r *ruleState) state(pts time.Duration) int {
	switch {
	case r.raised > 0 || r.lately > pts:
		return 2
	case r.pending > 0:
		return 1
	}
	return 0
}

func stateColour(state int) color.NRGBA {
	return [...]color.NRGBA{calm(), waiting(), alarm()}[state]
}

// areas paints masks, zones and lines.
func (a *annotator) areas(s *sheet, pts time.Duration) {
	file := &a.plan.file
	for _, m := range file.Masks {
		ring := s.ring(m)
		s.Fill(ring, rgb(0, 0, 0, 110))
		s.Hatch(ring, s.size, s.thick*.6, rgb(255, 255, 255, 70))
	}
	for _, name := range file.ZoneNames() {
		ring := s.ring(file.Zones[name].Area)
		col := stateColour(a.state(name, pts))
		tint := col
		tint.A = 26
		s.Fill(ring, tint)
		s.outline(ring, s.thick, col)
	}
	for _, name := range file.LineNames() {
		l := file.Lines[name]
		p, q := s.at(geom.Point{X: l.From[0], Y: l.From[1]}), s.at(geom.Point{X: l.To[0], Y: l.To[1]})
		col := stateColour(a.state(name, pts))
		s.Line(p, q, s.thick*1.6, col)
		s.Disc(p, s.thick*2, col)
		s.Disc(q, s.thick*2, col)
	}
}

// placeNames writes the names of zones and lines, and which side of a line is a.
func (a *annotator) placeNames(s *sheet, pts time.Duration) {
	file := &a.plan.file
	for _, name := range file.ZoneNames() {
		ring := s.ring(file.Zones[name].Area)
		if len(ring) == 0 {
			continue
		}
		top := slices.MinFunc(ring, func(p, q draw.Point) int { return cmpFloat(p.Y+p.X/4, q.Y+q.X/4) })
		s.nearTag(draw.Point{X: top.X + s.thick*2, Y: top.Y}, name, stateColour(a.state(name, pts)))
	}
	for _, name := range file.LineNames() {
		l := file.Lines[name]
		p, q := s.at(geom.Point{X: l.From[0], Y: l.From[1]}), s.at(geom.Point{X: l.To[0], Y: l.To[1]})
		col := stateColour(a.state(name, pts))
		if !s.nearTag(p, name, col) {
			s.nearTag(q, name, col)
		}
		// The left hand of someone who walks from p to q, with y down.
		length := math.Hypot(q.X-p.X, q.Y-p.Y)
		if length < 4*s.size {
			continue
		}
		off := s.size * 1.1 / length
		left := draw.Point{X: (q.Y - p.Y) * off, Y: -(q.X - p.X) * off}
		for side, f := range map[string]float64{"a": 1, "b": -1} {
			x, y := p.X+.8*(q.X-p.X)+f*left.X, p.Y+.8*(q.Y-p.Y)+f*left.Y
			w, h := s.textSize([]string{side})
			if r := s.room(x-w/2, y-h/2, w, h); s.free(r) {
				s.label(r, []string{side}, col)
			}
		}
	}
}

// paths paints where tracks came from, paler the longer ago, and who rides what.
func (a *annotator) paths(s *sheet) {
	boxes := make(map[uint64]geom.Box, len(a.scene.Tracks))
	for i := range a.scene.Tracks {
		t := &a.scene.Tracks[i]
		boxes[t.ID] = t.Box
		trail, col := a.trails[t.ID], classColour(t.Label)
		for j := 1; j < len(trail); j++ {
			age := a.scene.At.Sub(trail[j].at).Seconds() / trailFor.Seconds()
			col.A = uint8(220 * (1 - min(1, max(0, age))))
			s.Line(s.at(trail[j-1].foot), s.at(trail[j].foot), s.thick*1.2, col)
		}
	}
	for i := range a.scene.Tracks {
		if t := &a.scene.Tracks[i]; t.Carrier != 0 {
			if vehicle, there := boxes[t.Carrier]; there {
				s.Line(s.at(middle(t.Box)), s.at(middle(vehicle)), s.thick, rgb(255, 255, 255, 200))
			}
		}
	}
}

func middle(b geom.Box) geom.Point {
	return geom.Point{X: (b.Min.X + b.Max.X) / 2, Y: (b.Min.Y + b.Max.Y) / 2}
}

func stillColour() color.NRGBA { return rgb(255, 90, 220, 255) }

// stillFrames paints static changes and lines to who brought them.
func (a *annotator) stillFrames(s *sheet) {
	for i := range a.scene.Stills {
		still := &a.scene.Stills[i]
		s.frame(still.Box, still.Seen.Before(a.scene.At), stillColour())
		if still.Actor != nil {
			s.Dash(s.at(middle(still.Box)), s.at(still.Actor.Box.Foot()), s.thick, 2*s.thick, 2*s.thick, stillColour())
		}
	}
}

func (a *annotator) stillTags(s *sheet, at time.Time) {
	for i := range a.scene.Stills {
		still := &a.scene.Stills[i]
		word := a.say(events.Text{VI: "vật mới", EN: "added"})
		if still.Kind == vision.StillRemoved {
			word = a.say(events.Text{VI: "mất", EN: "removed"})
		}
		short := strings.TrimSpace(word + " " + still.Label)
		long := fmt.Sprintf("%s %.0f s", short, max(0, at.Sub(still.Since).Seconds()))
		texts := [][]string{{long}, {short}}
		if still.Actor != nil {
			by := fmt.Sprintf("%s %s %d", long, a.say(events.Text{VI: "do", EN: "by"}), still.Actor.Track)
			texts = slices.Insert(texts, 0, []string{by})
		}
		s.tag(still.Box, texts, stillColour())
	}
}

// header writes the camera and the time, the states of the rules, and what is
// wrong with the picture.
func (a *annotator) header(s *sheet, at time.Time, pts time.Duration) {
	edge := s.size * .5
	stamp := at.In(a.plan.calendar.Location).Format("2006-01-02 15:04:05.0")
	title := []string{a.plan.source.Name + "  " + stamp}
	if w, _ := s.textSize(title); w > float64(s.W)-2*edge {
		title = []string{s.letters.Fit(a.plan.source.Name, s.size, float64(s.W)-4*edge), stamp}
	}
	w, h := s.textSize(title)
	bar := rgb(90, 230, 110, 255)
	if a.scene.Held {
		bar = rgb(150, 150, 150, 255)
	}
	r := s.room(edge, edge, w+s.size*.2, h)
	s.panel(r, title, bar)
	top := r.Bottom + edge/2
	for _, v := range a.scene.View {
		line := []string{fmt.Sprintf("%s %.0f%%", a.fault(v.Kind), 100*v.Score)}
		w, h := s.textSize(line)
		r := s.room(edge, top, w+s.size*.2, h)
		s.panel(r, line, alarm())
		top = r.Bottom + edge/2
	}
	a.ruleTable(s, top, pts)
}

// fault names what is wrong with the view.
func (a *annotator) fault(kind string) string {
	words := map[string]events.Text{
		"covered": {VI: "bị che", EN: "covered"}, "blurred": {VI: "bị mờ", EN: "blurred"}, "moved": {VI: "bị xê dịch", EN: "moved"},
		"frozen": {VI: "hình đứng yên", EN: "frozen"}, "dark": {VI: "quá tối", EN: "dark"},
	}
	if t, ok := words[kind]; ok {
		return a.say(t)
	}
	return kind
}

// mostRules is how many rules have a line of their own; the busiest come first.
const mostRules = 8

// ruleTable writes a line for each rule: a lamp, its name, and how far it is.
func (a *annotator) ruleTable(s *sheet, top float64, pts time.Duration) {
	if len(a.rules) == 0 {
		return
	}
	rules := slices.Clone(a.rules)
	if len(rules) > mostRules {
		slices.SortStableFunc(rules, func(x, y ruleState) int { return y.state(pts) - x.state(pts) })
		rules = rules[:mostRules]
	}
	names, widest := make([]string, len(rules)), 0.0
	for i := range rules {
		names[i] = s.letters.Fit(rules[i].name, s.size, .3*float64(s.W))
		widest = max(widest, s.letters.Width(names[i], s.size))
	}
	edge, row := s.size*.5, s.letters.Height(s.size)
	meter := 0.0 // room for a bar or a count
	for i := range rules {
		meter = max(meter, s.size*2.2+s.letters.Width(rules[i].progress(), s.size))
	}
	r := s.room(edge, top, s.size*2+widest+meter, float64(len(rules))*row+s.size*.3)
	s.taken = append(s.taken, r)
	s.Box(r, s.size/4, shade())
	for i := range rules {
		rule := &rules[i]
		y := r.Top + s.size*.15 + float64(i)*row
		col := stateColour(rule.state(pts))
		s.Disc(draw.Point{X: r.Left + s.size*.7, Y: y + row/2}, s.size*.28, col)
		s.letters.Write(s.Canvas, draw.Point{X: r.Left + s.size*1.3, Y: y}, names[i], s.size, white())
		x := r.Left + s.size*1.7 + widest
		switch {
		case rule.raised > 0:
			s.letters.Write(s.Canvas, draw.Point{X: x, Y: y}, fmt.Sprintf("×%d", rule.raised), s.size, col)
		case rule.progress() != "":
			done := min(1, rule.held.Seconds()/rule.hold.Seconds())
			bar := draw.Rect{Left: x, Top: y + row*.32, Right: x + s.size*2, Bottom: y + row*.68}
			s.Box(bar, s.size/8, rgb(255, 255, 255, 60))
			bar.Right = bar.Left + done*(bar.Right-bar.Left)
			s.Box(bar, s.size/8, col)
			s.letters.Write(s.Canvas, draw.Point{X: x + s.size*2.2, Y: y}, rule.progress(), s.size, white())
		}
	}
}

// progress says how far a pending condition is, or "".
func (r *ruleState) progress() string {
	if r.raised > 0 || r.pending == 0 || r.hold <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f/%.0f s", r.held.Seconds(), r.hold.Seconds())
}

// mostNotes is how many reasons are shown at a time: the latest.
const mostNotes = 4

// reasons writes why events were raised, the latest lowest, the same only once.
func (a *annotator) reasons(s *sheet) {
	var all []note
	for _, n := range a.notes {
		if i := slices.IndexFunc(all, func(o note) bool { return o.text == n.text }); i >= 0 {
			n.times = all[i].times
			all = slices.Delete(all, i, i+1)
		}
		n.times++
		all = append(all, n)
	}
	notes := all[max(0, len(all)-mostNotes):]
	edge := s.size * .5
	bottom := float64(s.H) - edge
	for _, n := range slices.Backward(notes) {
		text := n.text
		if n.times > 1 {
			text = fmt.Sprintf("%d× %s", n.times, text)
		}
		lines := s.letters.Wrap(text, s.size, float64(s.W)-4*edge, 2)
		w, h := s.textSize(lines)
		r := s.room(edge, bottom-h, w+s.size*.2, h)
		if !s.free(r) {
			return
		}
		s.panel(r, lines, severityColour(n.severity))
		bottom = r.Top - edge/2
	}
	if more := len(all) - len(notes); more > 0 {
		line := []string{fmt.Sprintf("+%d", more)}
		w, h := s.textSize(line)
		if r := s.room(edge, bottom-h, w+s.size*.2, h); s.free(r) {
			s.panel(r, line, calm())
		}
	}
}
