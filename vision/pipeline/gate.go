package pipeline

import (
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/motion"
)

// MotionGate looks at small grey copies of the frames.
type MotionGate struct {
	gate          *motion.Gate
	gray          []byte
	width, height int
}

// NewMotionGate returns a gate that has seen nothing yet.
func NewMotionGate(cfg motion.Config) (*MotionGate, error) {
	g, err := motion.New(cfg)
	if err != nil {
		return nil, err
	}
	w, h := g.Size()
	return &MotionGate{gate: g, gray: make([]byte, w*h), width: w, height: h}, nil
}

// Moved implements Gate.
func (g *MotionGate) Moved(p media.Picture) (bool, error) {
	if err := p.Gray(g.gray, g.width, g.height); err != nil {
		return false, err
	}
	c, err := g.gate.Step(g.gray)
	return c.Changed, err
}
