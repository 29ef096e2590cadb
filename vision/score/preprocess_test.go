package score_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/score"
)

func TestPrepare(t *testing.T) {
	t.Parallel()
	row := func(frame int, id int64, left float64, class int) mot.Row {
		return mot.Row{Frame: frame, ID: id, Left: left, Width: 10, Height: 10, Conf: 1, Class: class}
	}
	// Someone walks, someone rides, a van stands there; a fourth is not to be scored.
	truth := []mot.Row{row(1, 1, 0, 1), row(1, 2, 100, 2), row(1, 3, 200, 6), row(2, 1, 0, 1)}
	truth = append(truth, mot.Row{Frame: 2, ID: 4, Left: 50, Width: 10, Height: 10, Conf: 0, Class: 1})
	// Found: all four, and nothing at 300. In frame 2 the box at 4 overlaps nothing by half.
	result := []mot.Row{row(1, 10, 1, -1), row(1, 11, 101, -1), row(1, 12, 201, -1), row(1, 13, 300, -1), row(2, 10, 1, -1), row(2, 11, 104, -1)}

	for name, c := range map[string]struct {
		how            score.Preprocess
		truths, wanted [2]int // boxes left in each frame
	}{
		"mot15": {score.PreprocessMOT15, [2]int{3, 1}, [2]int{4, 2}},
		"mot17": {score.PreprocessMOT17, [2]int{1, 1}, [2]int{3, 2}},
		"mot20": {score.PreprocessMOT20, [2]int{1, 1}, [2]int{2, 2}},
		"auto":  {score.PreprocessAuto, [2]int{1, 1}, [2]int{3, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := score.Prepare(2, truth, result, c.how)
			require.NoError(t, err)
			for i := range 2 {
				assert.Len(t, s.Truth[i], c.truths[i], "truth of frame %d", i+1)
				assert.Len(t, s.Result[i], c.wanted[i], "result of frame %d", i+1)
			}
		})
	}
	unclassified := append([]mot.Row{row(1, 9, 400, -1)}, truth...)
	s, err := score.Prepare(2, unclassified, result, score.PreprocessAuto)
	require.NoError(t, err)
	assert.Len(t, s.Truth[0], 4, "one object without a class: the file is of MOT15")
	_, err = score.Prepare(2, unclassified, result, score.PreprocessMOT17)
	require.ErrorContains(t, err, "the class -1")
	_, err = score.Prepare(2, truth, result, "mot18")
	require.ErrorContains(t, err, `"mot18" is not one of`)
}
