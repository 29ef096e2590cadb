package track

import "math"

// Assigner solves the rectangular linear assignment problem with a gate. It
// keeps its scratch memory between calls, so it is not safe for concurrent use.
// The zero value is ready.
//
// The method is successive shortest augmenting paths with dual variables
// (Jonker and Volgenant 1987; Crouse 2016). Staying alone is a choice of its
// own: every row owns an imaginary column that costs exactly the limit.
type Assigner struct {
	u, v, dist []float64 // duals of rows and columns, reduced distance to columns
	colRow     []int     // row that holds a column, -1 free
	from       []int     // column before this one on the shortest path, -1 the start
	done       []bool
	rowCol     []int
	inTree     []int // columns on the tree, in the order they joined
}

// Solve chooses pairs of a row and a column, each used at most once, so that
// the sum of cost−limit over the pairs is smallest. A pair whose cost is not
// below limit is never chosen; NaN and +Inf costs are allowed and forbid the
// pair. cost holds rows×cols values row by row; Solve panics when it does not.
//
// The result gives each row its column, or -1, and is valid until the next
// call. The same input always gives the same output.
func (a *Assigner) Solve(cost []float64, rows, cols int, limit float64) []int {
	if rows < 0 || cols < 0 || len(cost) != rows*cols {
		panic("track: cost matrix does not have rows×cols values")
	}
	a.reset(rows, cols)
	for r := range rows {
		a.augment(cost, cols, limit, r)
	}
	for c, r := range a.colRow {
		if r >= 0 {
			a.rowCol[r] = c
		}
	}
	return a.rowCol
}

func (a *Assigner) reset(rows, cols int) {
	a.u, a.rowCol = grow(a.u, rows), grow(a.rowCol, rows)
	a.v, a.dist = grow(a.v, cols), grow(a.dist, cols)
	a.colRow, a.from, a.done = grow(a.colRow, cols), grow(a.from, cols), grow(a.done, cols)
	clear(a.u)
	clear(a.v)
	for i := range a.rowCol {
		a.rowCol[i] = -1
	}
	for i := range a.colRow {
		a.colRow[i] = -1
	}
}

// augment brings row start into the assignment along a shortest path, which
// ends at a free column or at a row that rather stays alone.
func (a *Assigner) augment(cost []float64, cols int, limit float64, start int) {
	for c := range cols {
		a.dist[c], a.from[c], a.done[c] = math.Inf(1), -1, false
	}
	a.inTree = a.inTree[:0]
	row, via := start, -1
	alone, aloneAt, shift := math.Inf(1), -1, 0.0 // shortest way to leave a row alone; -1 is start itself
	for {
		if d := shift - a.u[row]; d < alone {
			alone, aloneAt = d, via
		}
		next, best := -1, alone
		for c := range cols {
			if a.done[c] {
				continue
			}
			if w := cost[row*cols+c] - limit; w < 0 {
				if d := shift + w - a.u[row] - a.v[c]; d < a.dist[c] {
					a.dist[c], a.from[c] = d, via
				}
			}
			if a.dist[c] < best {
				next, best = c, a.dist[c]
			}
		}
		shift = best
		if next < 0 {
			a.settle(start, shift)
			a.flip(aloneAt, start, true)
			return
		}
		if a.colRow[next] < 0 {
			a.settle(start, shift)
			a.flip(next, start, false)
			return
		}
		a.done[next] = true
		a.inTree = append(a.inTree, next)
		row, via = a.colRow[next], next
	}
}

// settle moves the duals of the tree so that reduced costs stay non-negative.
func (a *Assigner) settle(start int, shift float64) {
	a.u[start] += shift
	for _, c := range a.inTree {
		d := shift - a.dist[c]
		a.u[a.colRow[c]] += d
		a.v[c] -= d
	}
}

// flip hands every column of the path that ends at c to the row before it. With
// release, the row that held c is left alone first; c is -1 when that is start.
func (a *Assigner) flip(c, start int, release bool) {
	if c < 0 {
		return
	}
	if release {
		a.colRow[c] = -1
	}
	for c >= 0 {
		prev := a.from[c]
		if prev < 0 {
			a.colRow[c] = start
		} else {
			a.colRow[c] = a.colRow[prev]
		}
		c = prev
	}
}

// grow returns a slice of length n that reuses s where it is large enough; the
// content is unspecified.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2+8)
	}
	return s[:n]
}
