package mot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Options say how the frames of a det.txt become scenes.
type Options struct {
	FPS      float64       // frames a second of the file, above 0
	WidthPx  int           // of the picture, above 0
	HeightPx int           // of the picture, above 0
	Length   int           // frames of the sequence; 0 means up to the last detection
	Step     int           // look at every Step-th frame only, beginning with the first; default 1
	Label    string        // class of every detection; default "person"
	Coast    time.Duration // also write boxes predicted for at most this long; 0 writes detected ones only
}

func (o Options) withDefaults() (Options, error) {
	if o.Step == 0 {
		o.Step = 1
	}
	if o.Label == "" {
		o.Label = "person"
	}
	switch {
	case math.IsNaN(o.FPS) || o.FPS <= 0 || o.FPS > 1000:
		return o, fmt.Errorf("frame rate %v is not between 0 and 1000", o.FPS)
	case o.WidthPx < 1 || o.HeightPx < 1 || o.WidthPx > maxPixel || o.HeightPx > maxPixel:
		return o, fmt.Errorf("picture size %dx%d is out of range", o.WidthPx, o.HeightPx)
	case o.Length < 0 || o.Length > MaxFrame:
		return o, fmt.Errorf("sequence length %d is not between 0 and %d", o.Length, MaxFrame)
	case o.Step < 1 || o.Coast < 0:
		return o, errors.New("step must be at least 1 and coast not negative")
	}
	return o, nil
}

// Run plays detections into the tracker frame by frame, frames without any
// included, and returns its tracks as rows in order of frame and identity. Row
// frames keep the numbers of dets whatever the step. Detections after
// Options.Length are an error.
func Run(t vision.Tracker, dets []Row, opt Options) ([]Row, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("track detections: %w", err)
	}
	dets = slices.Clone(dets)
	slices.SortStableFunc(dets, func(a, b Row) int { return a.Frame - b.Frame })
	last := 0
	if len(dets) > 0 {
		last = dets[len(dets)-1].Frame
	}
	if opt.Length == 0 {
		opt.Length = last
	}
	if last > opt.Length {
		return nil, fmt.Errorf("track detections: frame %d lies after the end, %d", last, opt.Length)
	}
	var out []Row
	var in []vision.Detection
	next := 0
	for frame := 1; frame <= opt.Length; frame += opt.Step {
		for next < len(dets) && dets[next].Frame < frame {
			next++
		}
		in = in[:0]
		for ; next < len(dets) && dets[next].Frame == frame; next++ {
			if box := opt.normalise(dets[next].Box()); box.Area() > 0 {
				in = append(in, vision.Detection{Label: opt.Label, Score: min(1, max(0, dets[next].Conf)), Box: box})
			}
		}
		at := time.Unix(0, int64(float64(frame-1)/opt.FPS*1e9)).UTC()
		tracks, _ := t.Update(at, in)
		for i := range tracks {
			if at.Sub(tracks[i].Seen) <= opt.Coast {
				out = append(out, opt.row(frame, &tracks[i]))
			}
		}
	}
	return out, nil
}

func (o Options) normalise(b geom.Box) geom.Box {
	w, h := float64(o.WidthPx), float64(o.HeightPx)
	clip := func(x float64) float64 { return min(1, max(0, x)) }
	return geom.Box{
		Min: geom.Point{X: clip(b.Min.X / w), Y: clip(b.Min.Y / h)},
		Max: geom.Point{X: clip(b.Max.X / w), Y: clip(b.Max.Y / h)},
	}
}

func (o Options) row(frame int, t *vision.Track) Row {
	w, h := float64(o.WidthPx), float64(o.HeightPx)
	return Row{
		Frame: frame, ID: int64(t.ID), //nolint:gosec // counts up from 1
		Left: t.Box.Min.X * w, Top: t.Box.Min.Y * h,
		Width: (t.Box.Max.X - t.Box.Min.X) * w, Height: (t.Box.Max.Y - t.Box.Min.Y) * h,
		Conf: t.Score, Class: -1,
	}
}

// Write writes rows as a res.txt, "frame,id,left,top,width,height,conf,-1,-1,-1"
// with lengths to a hundredth of a pixel.
func Write(w io.Writer, rows []Row) error {
	bw := bufio.NewWriter(w)
	for _, r := range rows {
		// An error sticks to the writer and comes out of Flush.
		_, _ = fmt.Fprintf(bw, "%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,-1,-1,-1\n",
			r.Frame, r.ID, r.Left, r.Top, r.Width, r.Height, r.Conf)
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write tracks: %w", err)
	}
	return nil
}
