package track_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/track"
)

// bruteForce returns the smallest possible sum of cost−limit.
func bruteForce(cost []float64, rows, cols int, limit float64) float64 {
	used := make([]bool, cols)
	var walk func(r int) float64
	walk = func(r int) float64 {
		if r == rows {
			return 0
		}
		best := walk(r + 1)
		for c := range cols {
			if w := cost[r*cols+c] - limit; !used[c] && w < 0 {
				used[c] = true
				best = min(best, w+walk(r+1))
				used[c] = false
			}
		}
		return best
	}
	return walk(0)
}

func sumOf(t *testing.T, got []int, cost []float64, rows, cols int, limit float64) float64 {
	t.Helper()
	require.Len(t, got, rows)
	seen := map[int]bool{}
	sum := 0.0
	for r, c := range got {
		if c < 0 {
			continue
		}
		require.Less(t, c, cols)
		require.False(t, seen[c], "column %d used twice", c)
		seen[c] = true
		w := cost[r*cols+c] - limit
		require.Less(t, w, 0.0, "pair at or over the limit")
		sum += w
	}
	return sum
}

func TestAssignerIsOptimal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var a track.Assigner
	for range 6000 {
		rows, cols := rng.IntN(7), rng.IntN(7)
		limit := []float64{0.3, 0.8, 1.5, -0.5}[rng.IntN(4)]
		cost := make([]float64, rows*cols)
		for i := range cost {
			switch rng.IntN(6) {
			case 0:
				cost[i] = math.Inf(1)
			case 1:
				cost[i] = math.NaN()
			case 2:
				cost[i] = float64(rng.IntN(4)) / 4 // ties
			default:
				cost[i] = rng.Float64()*2 - 0.5
			}
		}
		got := sumOf(t, a.Solve(cost, rows, cols, limit), cost, rows, cols, limit)
		require.InDelta(t, bruteForce(cost, rows, cols, limit), got, 1e-9, "%d×%d limit %v %v", rows, cols, limit, cost)
	}
}

func TestAssignerCases(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		cost       []float64
		rows, cols int
		want       []int
	}{
		"nothing":                           {nil, 0, 0, []int{}},
		"no columns":                        {nil, 2, 0, []int{-1, -1}},
		"greedy would be worse":             {[]float64{.1, .2, .15, .9}, 2, 2, []int{1, 0}},
		"everything forbidden":              {[]float64{inf, 2, 1, inf}, 2, 2, []int{-1, -1}},
		"more rows":                         {[]float64{.5, .1, .4}, 3, 1, []int{-1, 0, -1}},
		"more columns":                      {[]float64{.5, .1, .4}, 1, 3, []int{1}},
		"one best pair beats two poor ones": {[]float64{.0, .6, .6, inf}, 2, 2, []int{0, -1}},
		"a later row pushes one out":        {[]float64{.9, .1}, 2, 1, []int{-1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a track.Assigner
			assert.Equal(t, c.want, append([]int{}, a.Solve(c.cost, c.rows, c.cols, 1)...))
		})
	}
	require.Panics(t, func() { new(track.Assigner).Solve([]float64{1}, 2, 2, 1) })
}
