package main

import (
	"fmt"
	"image/color"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/prep"
)

// annotator draws what the pipeline sees into a video: zones, lines and masks,
// tracks, and why events fired. Frames that were not looked at show the latest
// boxes.
type annotator struct {
	path   string
	plan   *plan
	out    *avdec.Writer
	w, h   int // of the video: those of the first picture
	bgr    []byte
	tracks []vision.Track
	at     time.Time
	notes  []note
}

type note struct {
	text  string
	until time.Duration
}

func newAnnotator(path string, p *plan) *annotator { return &annotator{path: path, plan: p} }

// Close finishes the video.
func (a *annotator) Close() error {
	if a.out == nil {
		return nil
	}
	return a.out.Close()
}

func (a *annotator) look(l *pipeline.Look) error {
	a.tracks = append(a.tracks[:0], l.Scene.Tracks...)
	a.at = l.Scene.At
	for _, c := range l.Changes {
		if c.Event.State == events.StateRaised {
			text := strings.ReplaceAll(c.Event.Why.VI, "→", "->") // the letters drawn have no arrow
			a.notes = append(a.notes, note{text, l.Frame.PTS + 4*time.Second})
		}
	}
	return a.between(l.Frame)
}

func (a *annotator) between(f *media.Frame) error {
	if a.out == nil {
		a.w, a.h = f.Picture.Size()
		var err error
		a.out, err = avdec.NewWriter(avdec.WriterConfig{Path: a.path, Width: a.w, Height: a.h})
		if err != nil {
			return err
		}
		a.bgr = make([]byte, 3*a.w*a.h)
	}
	if err := f.Picture.BGR(a.bgr, a.w, a.h); err != nil {
		return fmt.Errorf("annotate: %w", err)
	}
	c, err := prep.NewCanvas(a.bgr, a.w, a.h)
	if err != nil {
		return fmt.Errorf("annotate: %w", err)
	}
	defer c.Close()
	a.draw(c, f)
	return a.out.Write(c.Pixels(), f.PTS)
}

func (a *annotator) draw(c *prep.Canvas, f *media.Frame) {
	var (
		zone = color.RGBA{R: 255, G: 200, B: 0, A: 255}
		line = color.RGBA{R: 0, G: 200, B: 255, A: 255}
		mask = color.RGBA{R: 90, G: 90, B: 90, A: 255}
		seen = color.RGBA{R: 60, G: 220, B: 60, A: 255}
		lost = color.RGBA{R: 150, G: 150, B: 150, A: 255}
		text = color.RGBA{R: 255, G: 255, B: 255, A: 255}
	)
	file := a.plan.file
	for _, name := range file.ZoneNames() {
		c.Polygon(points(file.Zones[name].Area), name, zone)
	}
	for _, m := range file.Masks {
		c.Polygon(points(m), "", mask)
	}
	for _, name := range file.LineNames() {
		l := file.Lines[name]
		c.Line(point(l.From), point(l.To), name, line)
	}
	for i := range a.tracks {
		t := &a.tracks[i]
		col := seen
		if t.Coasting(a.at) {
			col = lost
		}
		c.Box(t.Box, fmt.Sprintf("%d %s", t.ID, t.Label), col)
	}
	c.Text(geom.Point{X: .01, Y: .05}, f.Captured.In(a.plan.calendar.Location).Format("2006-01-02 15:04:05.0"), text)
	live := a.notes[:0]
	for _, n := range a.notes {
		if n.until > f.PTS {
			live = append(live, n)
		}
	}
	a.notes = live
	for i, n := range a.notes {
		c.Text(geom.Point{X: .01, Y: .97 - .06*float64(i)}, n.text, zone)
	}
}

func point(p camera.Point) geom.Point { return geom.Point{X: p[0], Y: p[1]} }

func points(ps []camera.Point) []geom.Point {
	out := make([]geom.Point, len(ps))
	for i, p := range ps {
		out[i] = point(p)
	}
	return out
}
