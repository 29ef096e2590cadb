package tamper

import "math"

// Width and Height are the size of the pictures that are looked at.
const (
	Width  = 384
	Height = 216
)

const (
	reduce  = 4 // pixels: side of the squares that a coarse picture averages
	coarseW = Width / reduce
	coarseH = Height / reduce

	cell   = 24 // pixels: side of a cell
	cellsX = Width / cell
	cellsY = Height / cell
	cells  = cellsX * cellsY

	steepest = 63 // grey levels: steeper edges count as this
	deadZone = 4  // grey levels: flatter ones are noise
)

// A direction is that of an edge, with its strength: the gradient with its angle
// doubled, so that an edge that turns from bright on dark to dark on bright, as
// some do in infrared, is the same. Components are at most 2^½·steepest.
type direction struct{ u, v int8 }

// table holds directions by gradient, each component in ±steepest.
type table [2*steepest + 1][2*steepest + 1]direction

func newTable() *table {
	var t table
	for y := range t {
		for x := range t[y] {
			gx, gy := float64(x-steepest), float64(y-steepest)
			m := math.Hypot(gx, gy)
			if m < deadZone {
				continue
			}
			t[y][x] = direction{int8(math.Round((gx*gx - gy*gy) / m)), int8(math.Round(2 * gx * gy / m))}
		}
	}
	return &t
}

// field is the directions of a picture's edges, by pixel.
type field struct {
	w, h  int
	table *table
	dir   []direction
}

func newField(w, h int, t *table) *field {
	return &field{w: w, h: h, table: t, dir: make([]direction, w*h)}
}

// of computes the field of a picture. Pixels at the rim have none.
func (f *field) of(gray []byte) {
	for y := 1; y < f.h-1; y++ {
		up, row, down := gray[(y-1)*f.w:y*f.w], gray[y*f.w:(y+1)*f.w], gray[(y+1)*f.w:(y+2)*f.w]
		out := f.dir[y*f.w : (y+1)*f.w]
		for x := 1; x < len(row)-1; x++ {
			gx := min(max(int(row[x+1])-int(row[x-1]), -steepest), steepest)
			gy := min(max(int(down[x])-int(up[x]), -steepest), steepest)
			out[x] = f.table[gy+steepest][gx+steepest]
		}
	}
}

// shrink averages squares of reduce × reduce pixels.
func shrink(gray, out []byte) {
	for y := range coarseH {
		for x := range coarseW {
			sum := 0
			for dy := range reduce {
				at := (y*reduce+dy)*Width + x*reduce
				for _, v := range gray[at : at+reduce] {
					sum += int(v)
				}
			}
			out[y*coarseW+x] = uint8(sum / (reduce * reduce))
		}
	}
}

// memory is the average of fields over time: what stands still remains.
type memory struct {
	w, h, cell int // cell in pixels of this field
	u, v       []float32
	power      [cells]float64 // sum of squares, by cell
}

func newMemory(w, h int) *memory {
	return &memory{w: w, h: h, cell: cell * w / Width, u: make([]float32, w*h), v: make([]float32, w*h)}
}

// likeness compares a field with the memory in one cell: cos is the correlation
// in [-1,1], gain the share of the remembered edges that is there, rms the
// strength of the field's own edges.
type likeness struct{ cos, gain, rms float64 }

// compare compares the cell c of the field, moved by dx and dy pixels.
func (m *memory) compare(f *field, c, dx, dy int) likeness {
	var own, both float32
	x0, y0 := c%cellsX*m.cell, c/cellsX*m.cell
	for y := max(y0, -dy); y < min(y0+m.cell, m.h-dy); y++ {
		from, to := max(x0, -dx), min(x0+m.cell, m.w-dx)
		us, vs := m.u[y*m.w+from:y*m.w+to], m.v[y*m.w+from:y*m.w+to]
		row := f.dir[(y+dy)*m.w+from+dx : (y+dy)*m.w+to+dx]
		for i, d := range row {
			u, v := float32(d.u), float32(d.v)
			own += u*u + v*v
			both += u*us[i] + v*vs[i]
		}
	}
	l := likeness{rms: math.Sqrt(float64(own) / float64(m.cell*m.cell))}
	if own > 0 && m.power[c] > 0 {
		l.cos = float64(both) / math.Sqrt(float64(own)*m.power[c])
		l.gain = float64(both) / m.power[c]
	}
	return l
}

// learn moves the cell c of the memory towards the field by the share a.
func (m *memory) learn(f *field, c int, a float32) {
	x0, y0 := c%cellsX*m.cell, c/cellsX*m.cell
	power := float32(0)
	for y := y0; y < y0+m.cell; y++ {
		us, vs := m.u[y*m.w+x0:y*m.w+x0+m.cell], m.v[y*m.w+x0:y*m.w+x0+m.cell]
		row := f.dir[y*m.w+x0 : y*m.w+x0+m.cell]
		for i, d := range row {
			us[i] += a * (float32(d.u) - us[i])
			vs[i] += a * (float32(d.v) - vs[i])
			power += us[i]*us[i] + vs[i]*vs[i]
		}
	}
	m.power[c] = float64(power)
}

// strength returns the strength of the remembered edges of a cell.
func (m *memory) strength(c int) float64 { return math.Sqrt(m.power[c] / float64(m.cell*m.cell)) }
