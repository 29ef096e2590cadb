package second

import (
	"math"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Where the head is in the box of a person who rides, measured on 607 heads of
// the training pictures of the helmet model: its longer side is a third of the
// root of the box's area, whatever the shape of the box, and it touches the top.
const (
	headSize  = .335 // longer side, in roots of the box's area
	headDepth = .46  // of its centre below the top of the box, in heads
	headCrop  = 1.5  // side of the square around it, in heads; as the model was trained
)

// HeadArea returns the square around the head of a person on a vehicle, in
// pixels of a picture of the given size. Zero for an empty box.
func HeadArea(b geom.Box, width, height int) media.Area {
	w, h := b.Width()*float64(width), b.Height()*float64(height)
	if w <= 0 || h <= 0 {
		return media.Area{}
	}
	head := headSize * math.Sqrt(w*h)
	x := b.Center().X * float64(width)
	y := b.Min.Y*float64(height) + headDepth*head
	side := headCrop * head
	return media.Area{X: x - side/2, Y: y - side/2, W: side, H: side}
}

// overlap returns the part of a that b covers, in [0,1].
func overlap(a, b media.Area) float64 {
	w := min(a.X+a.W, b.X+b.W) - max(a.X, b.X)
	h := min(a.Y+a.H, b.Y+b.H) - max(a.Y, b.Y)
	if w <= 0 || h <= 0 || a.W <= 0 || a.H <= 0 {
		return 0
	}
	return w * h / (a.W * a.H)
}

// Motorcyclist reports whether the track is a person on a motorcycle, for
// Config.Wants. One whose motorcycle is hidden just now is.
func Motorcyclist(s *vision.Scene, t *vision.Track) bool {
	if t.Label != "person" || t.Carrier == 0 {
		return false
	}
	for i := range s.Tracks {
		if v := &s.Tracks[i]; v.ID == t.Carrier {
			return v.Label == "motorcycle" || v.Label == "motorbike"
		}
	}
	return true
}
