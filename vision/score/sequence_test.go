package score_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/score"
)

// at is an object with a square of side 10 at the given left edge.
func at(id int64, left float64) score.Object {
	return score.Object{ID: id, Box: geom.Box{Min: geom.Point{X: left}, Max: geom.Point{X: left + 10, Y: 10}}}
}

func all(t *testing.T, s *score.Sequence) (score.HOTA, score.IDF1, score.CLEAR) {
	t.Helper()
	h, err := score.ComputeHOTA(s)
	require.NoError(t, err)
	i, err := score.ComputeIDF1(s)
	require.NoError(t, err)
	c, err := score.ComputeCLEAR(s)
	require.NoError(t, err)
	return h, i, c
}

// TestByHand holds the metrics to sequences small enough to score on paper.
func TestByHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		truth, result                    [][]score.Object
		hota, detA, assA, idf1, mota     float64
		idsw, frag, mostly, partly, lost int
	}{
		"perfect": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 5), at(8, 90)}},
			result: [][]score.Object{{at(1, 0)}, {at(1, 5), at(2, 90)}},
			hota:   1, detA: 1, assA: 1, idf1: 1, mota: 1, mostly: 2,
		},
		"nothing found": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 5)}},
			result: [][]score.Object{{}, {}}, lost: 1,
		},
		"nothing there": {
			truth:  [][]score.Object{{}, {}},
			result: [][]score.Object{{at(1, 0)}, {at(1, 0)}}, mota: -2,
		},
		// Every true positive has 2 frames with its pair out of 4: association ½.
		"identity changes half-way": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 0)}, {at(7, 0)}, {at(7, 0)}},
			result: [][]score.Object{{at(1, 0)}, {at(1, 0)}, {at(2, 0)}, {at(2, 0)}},
			hota:   math.Sqrt(0.5), detA: 1, assA: 0.5, idf1: 0.5, mota: 0.75, idsw: 1, mostly: 1,
		},
		// 3 of 4 found: detection ¾, association 3/(3+1).
		"one frame missed": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 0)}, {at(7, 0)}, {at(7, 0)}},
			result: [][]score.Object{{at(1, 0)}, {}, {at(1, 0)}, {at(1, 0)}},
			hota:   0.75, detA: 0.75, assA: 0.75, idf1: 6.0 / 7, mota: 0.75, partly: 1,
		},
		// Overlap 2/3 counts at the 13 thresholds from 0.05 to 0.65 and for CLEAR.
		"boxes aside": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 0)}},
			result: [][]score.Object{{at(1, 2)}, {at(1, 2)}},
			hota:   13.0 / 19, detA: 13.0 / 19, assA: 13.0 / 19, idf1: 1, mota: 1, mostly: 1,
		},
		// A pair of the frame before stays although the newcomer fits better.
		"CLEAR prefers the pair it has": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 0)}},
			result: [][]score.Object{{at(1, 2)}, {at(1, 2), at(2, 0)}},
			hota:   -1, detA: -1, assA: -1, idf1: 0.8, mota: 0.5, mostly: 1,
		},
		"lost and found by another": {
			truth:  [][]score.Object{{at(7, 0)}, {at(7, 0), at(8, 90)}, {at(7, 0)}},
			result: [][]score.Object{{at(1, 0)}, {at(3, 90)}, {at(2, 0)}},
			hota:   -1, detA: 0.75, assA: -1, idf1: 4.0 / 7, mota: 0.5, idsw: 1, frag: 1, mostly: 1, partly: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, i, m := all(t, &score.Sequence{Truth: c.truth, Result: c.result})
			for what, pair := range map[string][2]float64{
				"HOTA": {c.hota, h.HOTA}, "DetA": {c.detA, h.DetA}, "AssA": {c.assA, h.AssA},
				"IDF1": {c.idf1, i.IDF1}, "MOTA": {c.mota, m.MOTA},
			} {
				if pair[0] != -1 {
					assert.InDelta(t, pair[0], pair[1], 1e-12, what)
				}
			}
			assert.Equal(t, [5]int{c.idsw, c.frag, c.mostly, c.partly, c.lost}, [5]int{m.IDSW, m.Frag, m.MT, m.PT, m.ML})
		})
	}
}

// TestAgainstTrackEval scores two made-up sequences, whose figures come from an
// independent computation in NumPy and SciPy after TrackEval's source.
func TestAgainstTrackEval(t *testing.T) {
	t.Parallel()
	var hotas []score.HOTA
	var idf1s []score.IDF1
	var clears []score.CLEAR
	check := func(name string, want [9]float64, h score.HOTA, i score.IDF1, m score.CLEAR) {
		got := [9]float64{
			100 * h.HOTA, 100 * h.DetA, 100 * h.AssA, 100 * i.IDF1, 100 * m.MOTA,
			float64(m.IDSW), float64(m.MT), float64(m.ML), float64(m.Frag),
		}
		assert.InDeltaSlice(t, want[:], got[:], 1e-4, name)
	}
	for _, c := range []struct {
		name string
		want [9]float64
	}{
		{"crossing", [9]float64{41.41674, 51.78034, 33.24741, 58.48375, 59.42029, 5, 3, 0, 21}},
		{"crowd", [9]float64{32.09704, 53.12194, 19.49146, 40.07561, 59.62963, 28, 5, 0, 48}},
	} {
		read := func(kind string) []mot.Row {
			f, err := os.Open(filepath.Join("testdata", c.name+"_"+kind+".txt"))
			require.NoError(t, err)
			defer f.Close()
			rows, err := mot.ReadTracks(f)
			require.NoError(t, err)
			return rows
		}
		s, err := score.NewSequence(40, read("gt"), read("res"))
		require.NoError(t, err)
		h, i, m := all(t, s)
		hotas, idf1s, clears = append(hotas, h), append(idf1s, i), append(clears, m)
		check(c.name, c.want, h, i, m)
	}
	check("both", [9]float64{35.61062, 52.65323, 24.24329, 46.40199, 59.55882, 33, 8, 0, 69},
		score.CombineHOTA(hotas...), score.CombineIDF1(idf1s...), score.CombineCLEAR(clears...))
}

// TestInvariants checks what must hold for any sequence.
func TestInvariants(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		s := &score.Sequence{}
		renamed := &score.Sequence{}
		boxes := 0
		for range 12 {
			var truth, result, other []score.Object
			for id := range int64(4) {
				if rng.IntN(4) > 0 {
					truth = append(truth, at(id, float64(30*id)))
					boxes++
				}
				if rng.IntN(4) > 0 {
					o := at((id+int64(rng.IntN(2)))%4+10*id, float64(30*id)+rng.Float64()*6)
					result = append(result, o)
					other = append([]score.Object{{ID: 1000 - 7*o.ID, Box: o.Box}}, other...)
				}
			}
			s.Truth, s.Result = append(s.Truth, truth), append(s.Result, result)
			renamed.Truth, renamed.Result = append(renamed.Truth, truth), append(renamed.Result, other)
		}
		h, i, m := all(t, s)
		h2, i2, m2 := all(t, renamed)
		assert.InDelta(t, h.HOTA, h2.HOTA, 1e-9, "names of identities do not matter")
		assert.Equal(t, i.IDTP, i2.IDTP)
		assert.Equal(t, m.TP, m2.TP)
		for _, v := range []float64{h.HOTA, h.DetA, h.AssA, h.DetR, h.DetP, h.AssR, h.AssP, h.LocA, i.IDF1, i.IDP, i.IDR, m.MOTP} {
			assert.True(t, v >= 0 && v <= 1, "%v", v)
		}
		assert.LessOrEqual(t, m.MOTA, 1.0)
		assert.Equal(t, boxes, m.TP+m.FN)
		assert.Equal(t, boxes, i.IDTP+i.IDFN)
		assert.Equal(t, h, score.CombineHOTA(h), "a sequence combined with nothing is itself")
		assert.Equal(t, i, score.CombineIDF1(i))
		assert.Equal(t, m, score.CombineCLEAR(m))
		perfect, _, _ := all(t, &score.Sequence{Truth: s.Truth, Result: s.Truth})
		assert.InDelta(t, 1, perfect.HOTA, 1e-12)
	}
}

func TestNewSequence(t *testing.T) {
	t.Parallel()
	row := func(frame int, id int64, conf float64) mot.Row {
		return mot.Row{Frame: frame, ID: id, Width: 1, Height: 1, Conf: conf}
	}
	s, err := score.NewSequence(3, []mot.Row{row(1, 5, 1), row(2, 5, 0), row(3, 5, 1)}, []mot.Row{row(2, 1, 0)})
	require.NoError(t, err)
	assert.Empty(t, s.Truth[1], "truth with confidence 0 is not evaluated")
	assert.Len(t, s.Result[1], 1, "a result with confidence 0 is")
	assert.Len(t, s.Every(2).Truth, 2)
	for name, c := range map[string]struct {
		length        int
		truth, result []mot.Row
		want          string
	}{
		"no length":        {0, nil, nil, "length 0"},
		"truth after end":  {1, []mot.Row{row(2, 1, 1)}, nil, "truth has frame 2 of 1"},
		"result after end": {1, nil, []mot.Row{row(2, 1, 1)}, "result has frame 2 of 1"},
		"twice in truth":   {1, []mot.Row{row(1, 4, 1), row(1, 4, 1)}, nil, "twice in one frame: 4"},
		"twice in result":  {1, nil, []mot.Row{row(1, 4, 1), row(1, 4, 1)}, "twice in one frame: 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := score.NewSequence(c.length, c.truth, c.result)
			require.ErrorContains(t, err, c.want)
		})
	}
	uneven := &score.Sequence{Truth: make([][]score.Object, 2), Result: make([][]score.Object, 1)}
	_, err = score.ComputeHOTA(uneven)
	require.ErrorContains(t, err, "2 and 1 frames")
	_, err = score.ComputeIDF1(uneven)
	require.Error(t, err)
	_, err = score.ComputeCLEAR(uneven)
	require.Error(t, err)
}
