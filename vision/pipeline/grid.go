package pipeline

import "time"

// Grid chooses frames at a steady average rate whatever the rate of the
// stream. It is used by one goroutine.
type Grid struct {
	interval time.Duration // 0 takes every frame
	next     time.Duration // PTS from which the next frame is due
	primed   bool
}

// NewGrid returns a grid of fps frames a second; 0 or less takes every frame.
func NewGrid(fps float64) *Grid {
	if fps <= 0 {
		return &Grid{}
	}
	return &Grid{interval: time.Duration(float64(time.Second) / fps)}
}

// Take reports whether the frame with the given PTS is due. A frame is taken
// when it comes at most a quarter of an interval before its time, because
// cameras jitter. After a jump of the timestamps the grid starts anew.
func (g *Grid) Take(pts time.Duration) bool {
	early := g.next - pts
	if !g.primed || early > 4*g.interval || early < -4*g.interval {
		g.primed, g.next = true, pts+g.interval
		return true
	}
	if early > g.interval/4 {
		return false
	}
	g.next += g.interval
	if g.next <= pts {
		g.next = pts + g.interval
	}
	return true
}
