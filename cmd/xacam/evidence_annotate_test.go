//go:build cgo

package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events"
)

func TestAnnotateHidesNotWhatItShows(t *testing.T) {
	t.Parallel()
	g := newGathering(t, defaultEvidence())
	letters, err := draw.NewLetters()
	require.NoError(t, err)
	const w, h = 960, 540
	ground := bytes.Repeat([]byte{200}, 3*w*h)
	for name, s := range map[string]struct {
		box    [4]float64
		corner [2]float64 // where the text goes
	}{
		"in the middle":   {[4]float64{.4, .2, .6, .5}, [2]float64{.03, .96}},
		"left below":      {[4]float64{.01, .5, .3, .99}, [2]float64{.97, .96}},
		"along the foot":  {[4]float64{.01, .6, .99, .99}, [2]float64{.03, .04}},
		"all but the top": {[4]float64{0, .3, 1, 1}, [2]float64{.03, .04}},
	} {
		ev := openEvent("intrusion", "gate", g.clock)
		ev.Why = events.Text{VI: "Một người vào khu vực.", EN: "A person went in."}
		ev.Subject = &events.Subject{Class: "person", Score: .9, Box: s.box}
		p := &plate{bgr: bytes.Clone(ground), w: w, h: h}
		annotate(p, &stillsJob{event: ev, base: "x", sight: g.sight}, letters)
		darkest := byte(255)
		for i := range 100 { // letters are light
			x, y := int(s.corner[0]*w)+i%10-5, int(s.corner[1]*h)+i/10-5
			darkest = min(darkest, p.bgr[3*(y*w+x)])
		}
		assert.Less(t, darkest, byte(100), name)
	}
}
