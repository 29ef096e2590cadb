package score_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/score"
	"github.com/xacam/xacam/vision/track"
)

// pair is a value with its change a frame and their covariance.
type pair struct{ x, v, xx, xv, vv float64 }

func (p *pair) predict(q float64) {
	p.x += p.v
	p.xx += 2*p.xv + p.vv + 1
	p.xv += p.vv
	p.vv += q
}

func (p *pair) update(z, r float64) {
	kx, kv, y := p.xx/(p.xx+r), p.xv/(p.xx+r), z-p.x
	p.x, p.v = p.x+kx*y, p.v+kv*y
	p.vv -= kv * p.xv
	p.xx, p.xv = (1-kx)*p.xx, (1-kx)*p.xv
}

// sortTrack is a track of SORT (Bewley et al. 2016) with its own constants:
// centre, area and aspect, frames instead of seconds.
type sortTrack struct {
	x, y, area, ratio pair
	id                int64
	missed, streak    int
}

func (s *sortTrack) box() geom.Box {
	w := math.Sqrt(s.area.x * s.ratio.x)
	h := s.area.x / w
	return geom.Box{
		Min: geom.Point{X: s.x.x - w/2, Y: s.y.x - h/2}, Max: geom.Point{X: s.x.x + w/2, Y: s.y.x + h/2},
	}
}

// plainSORT tracks with max_age 1, min_hits 3 and an overlap of 0.3.
func plainSORT(dets []mot.Row, length int) []mot.Row {
	byFrame := make([][]mot.Row, length)
	for _, d := range dets {
		byFrame[d.Frame-1] = append(byFrame[d.Frame-1], d)
	}
	var tracks []*sortTrack
	var out []mot.Row
	var solver track.Assigner
	var next int64
	for f, now := range byFrame {
		for _, s := range tracks {
			s.predict()
		}
		var cost []float64
		for _, d := range now {
			for _, s := range tracks {
				cost = append(cost, -d.Box().IoU(s.box()))
			}
		}
		known := len(tracks)
		for i, j := range solver.Solve(cost, len(now), known, 0) {
			d := now[i]
			w, h := d.Width, d.Height
			if j < 0 || -cost[i*known+j] < 0.3 {
				next++
				s := &sortTrack{
					id: next, x: pair{x: d.Left + w/2}, y: pair{x: d.Top + h/2}, area: pair{x: w * h}, ratio: pair{x: w / h, xx: 10},
				}
				for _, p := range []*pair{&s.x, &s.y, &s.area} {
					p.xx, p.vv = 10, 10000
				}
				tracks = append(tracks, s)
				continue
			}
			s := tracks[j]
			s.missed = 0
			s.streak++
			s.x.update(d.Left+w/2, 1)
			s.y.update(d.Top+h/2, 1)
			s.area.update(w*h, 10)
			s.ratio.update(w/h, 10)
		}
		keep := tracks[:0]
		for _, s := range tracks {
			if s.missed > 1 {
				continue
			}
			keep = append(keep, s)
			if s.missed == 0 && (s.streak >= 3 || f < 3) {
				b := s.box()
				out = append(out, mot.Row{
					Frame: f + 1, ID: s.id, Left: b.Min.X, Top: b.Min.Y, Width: b.Max.X - b.Min.X, Height: b.Max.Y - b.Min.Y, Conf: 1,
				})
			}
		}
		tracks = keep
	}
	return out
}

func (s *sortTrack) predict() {
	if s.area.x+s.area.v <= 0 {
		s.area.v = 0
	}
	s.x.predict(0.01)
	s.y.predict(0.01)
	s.area.predict(0.0001)
	s.ratio.xx++
	if s.missed > 0 {
		s.streak = 0
	}
	s.missed++
}

// TestSORTScoresAsPublished runs SORT on the MOT15 sequences: the figures must
// be those that TrackEval gives for it.
func TestSORTScoresAsPublished(t *testing.T) {
	t.Parallel()
	root := os.Getenv("XACAM_ASSETS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "assets")
	}
	root = filepath.Join(root, "mot")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no MOT15 sequences: set XACAM_ASSETS to the folder that has mot/: %v", err)
	}
	var hotas []score.HOTA
	var idf1s []score.IDF1
	var clears []score.CLEAR
	check := func(name string, want [4]float64, h score.HOTA, i score.IDF1, m score.CLEAR) {
		got := [4]float64{100 * h.HOTA, 100 * i.IDF1, 100 * m.MOTA, float64(m.IDSW)}
		assert.InDeltaSlice(t, want[:], got[:], 0.051, name)
	}
	for _, c := range []struct {
		name string
		want [4]float64 // HOTA, IDF1, MOTA, IDSW
	}{
		{"TUD-Campus", [4]float64{45.3, 60.6, 62.7, 6}},
		{"ETH-Sunnyday", [4]float64{54.5, 72.4, 59.2, 22}},
		{"KITTI-17", [4]float64{45.4, 71.1, 60.2, 9}},
		{"Venice-2", [4]float64{27.6, 32.4, 18.6, 57}},
		{"ADL-Rundle-6", [4]float64{34.3, 43.4, 38.1, 75}},
	} {
		open := func(parts ...string) *os.File {
			f, err := os.Open(filepath.Join(append([]string{root, c.name}, parts...)...))
			require.NoError(t, err)
			t.Cleanup(func() { _ = f.Close() })
			return f
		}
		info, err := mot.ReadSeqInfo(open("seqinfo.ini"))
		require.NoError(t, err)
		dets, err := mot.ReadDetections(open("det", "det.txt"))
		require.NoError(t, err)
		truth, err := mot.ReadTracks(open("gt", "gt.txt"))
		require.NoError(t, err)
		s, err := score.NewSequence(info.Length, truth, plainSORT(dets, info.Length))
		require.NoError(t, err)
		h, i, m := all(t, s)
		hotas, idf1s, clears = append(hotas, h), append(idf1s, i), append(clears, m)
		check(c.name, c.want, h, i, m)
	}
	check("all five", [4]float64{35.4, 44.1, 33.0, 169},
		score.CombineHOTA(hotas...), score.CombineIDF1(idf1s...), score.CombineCLEAR(clears...))
}
