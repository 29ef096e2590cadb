//go:build cgo

package prep

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"

	"gocv.io/x/gocv"
)

const (
	alignTiles   = 6   // features are looked for in 6 by 6 tiles, so that no busy corner has them all
	tileFeatures = 4   // of a tile
	featureGap   = 6.0 // pixels between two
	flowWindow   = 15  // pixels
	flowLevels   = 3   // the flow finds up to about 8 × the window's half
	ransacPixels = 1.5 // a point that is farther off does not belong to the background's motion
	ransacRounds = 400
	minPoints    = 12  // fewer points give no transform
	maxResidual  = 20  // grey levels on average by which a feature may differ where it is found
	maxBend      = .06 // of the longer side: by how much a plane projection may differ from a similarity at the corners
)

// Aligner finds how a camera's picture has moved against a reference: sparse
// optical flow (Bouguet's pyramidal Lucas-Kanade) of corners spread over the
// picture, and the plane projection that most of them agree on (RANSAC). It
// keeps no native memory between calls and is used by one goroutine.
type Aligner struct {
	w, h   int
	ref    []byte
	points []gocv.Point2f // features of the reference
	warped []byte
	until  gocv.TermCriteria
}

// unit changes nothing.
func unit() [9]float64 { return [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1} }

// NewAligner returns an aligner of pictures of the given size, in pixels.
func NewAligner(width, height int) (*Aligner, error) {
	if width < 32 || height < 32 || width > 4096 || height > 4096 {
		return nil, fmt.Errorf("align: %dx%d pixels are not in 32…4096", width, height)
	}
	return &Aligner{
		w: width, h: height, ref: make([]byte, width*height), warped: make([]byte, width*height),
		until: gocv.NewTermCriteria(gocv.Count|gocv.EPS, 20, .02), // 16 bytes that gocv never frees: once for each Aligner
	}, nil
}

// Reference makes the grey picture the one that others are compared with and
// returns how many features it has. Where use is 0 there are none: something
// moves there. Both have rows of exactly width bytes; they are copied.
func (a *Aligner) Reference(gray, use []byte) (features int, err error) {
	if len(gray) != len(a.ref) || len(use) != len(a.ref) {
		return 0, fmt.Errorf("align: %d and %d bytes for %dx%d pixels", len(gray), len(use), a.w, a.h)
	}
	copy(a.ref, gray)
	mat, done, err := wrap(a.ref, a.w, a.h, gocv.MatTypeCV8UC1)
	if err != nil {
		return 0, fmt.Errorf("align: %w", err)
	}
	defer done()
	corners := gocv.NewMat()
	defer func() { _ = corners.Close() }()
	a.points = a.points[:0]
	for ty := range alignTiles {
		for tx := range alignTiles {
			tile := image.Rect(tx*a.w/alignTiles, ty*a.h/alignTiles, (tx+1)*a.w/alignTiles, (ty+1)*a.h/alignTiles)
			part := mat.Region(tile)
			gocv.GoodFeaturesToTrack(part, &corners, 2*tileFeatures, .02, featureGap)
			_ = part.Close()
			taken := 0
			for i := 0; i < corners.Rows() && taken < tileFeatures; i++ {
				v := corners.GetVecfAt(i, 0)
				x, y := v[0]+float32(tile.Min.X), v[1]+float32(tile.Min.Y)
				if use[int(y)*a.w+int(x)] != 0 {
					a.points = append(a.points, gocv.NewPoint2f(x, y))
					taken++
				}
			}
		}
	}
	return len(a.points), nil
}

// Align returns the projection that maps points of the grey picture onto the
// reference, as three rows of a matrix for homogeneous pixel coordinates, and
// the share of the reference's features, of those that can be in the picture,
// that agree with it. Guess is where to look: the answer of the picture before.
// The picture is warped by it first, so that a camera that is turned by much is
// followed as well. The share is 0 when too few agree to say anything; the
// matrix is then the guess.
func (a *Aligner) Align(gray []byte, guess [9]float64) (m [9]float64, share float64, err error) {
	if len(gray) != len(a.ref) {
		return guess, 0, fmt.Errorf("align: %d bytes for %dx%d pixels", len(gray), a.w, a.h)
	}
	back, ok := invert(guess)
	if !ok {
		return guess, 0, errors.New("align: a guess that cannot be inverted")
	}
	from := a.visible(back)
	if len(from) == 0 {
		return guess, 0, nil
	}
	if guess != unit() {
		if err := a.warp(a.warped, gray, guess, gocv.MatTypeCV8UC1); err != nil {
			return guess, 0, fmt.Errorf("align: %w", err)
		}
		gray = a.warped
	}
	ref, cur, err := a.follow(gray, from)
	if err != nil || len(ref) < minPoints {
		return guess, 0, err
	}
	rest, inliers := a.fit(cur, ref)
	if inliers < minPoints {
		return guess, 0, nil
	}
	return multiply(rest, guess), float64(inliers) / float64(len(from)), nil
}

// visible returns the features that can be in the picture.
func (a *Aligner) visible(back [9]float64) []gocv.Point2f {
	var out []gocv.Point2f
	for _, p := range a.points {
		x, y := project(back, float64(p.X), float64(p.Y))
		if x >= 2 && y >= 2 && x < float64(a.w-2) && y < float64(a.h-2) {
			out = append(out, p)
		}
	}
	return out
}

// follow finds the features of the reference in the picture and keeps those
// that are found.
func (a *Aligner) follow(gray []byte, from []gocv.Point2f) (ref, cur []gocv.Point2f, err error) {
	refMat, done, err := wrap(a.ref, a.w, a.h, gocv.MatTypeCV8UC1)
	if err != nil {
		return nil, nil, fmt.Errorf("align: %w", err)
	}
	defer done()
	curMat, done2, err := wrap(gray, a.w, a.h, gocv.MatTypeCV8UC1)
	if err != nil {
		return nil, nil, fmt.Errorf("align: %w", err)
	}
	defer done2()
	fromMat, toMat := pointMat(from), pointMat(from)
	status, residual := gocv.NewMat(), gocv.NewMat()
	defer func() {
		for _, m := range []*gocv.Mat{&fromMat, &toMat, &status, &residual} {
			_ = m.Close()
		}
	}()
	const useInitialFlow = 4 // cv::OPTFLOW_USE_INITIAL_FLOW
	gocv.CalcOpticalFlowPyrLKWithParams(refMat, curMat, fromMat, toMat, &status, &residual, image.Pt(flowWindow, flowWindow), flowLevels,
		a.until, useInitialFlow, 1e-4)
	for i := range from {
		if status.GetUCharAt(i, 0) == 1 && residual.GetFloatAt(i, 0) < maxResidual {
			ref, cur = append(ref, from[i]), append(cur, gocv.NewPoint2f(toMat.GetFloatAt(i, 0), toMat.GetFloatAt(i, 1)))
		}
	}
	return ref, cur, nil
}

// fit returns the transform from cur to ref: a similarity, or the plane
// projection where that explains clearly more points and bends little.
func (a *Aligner) fit(cur, ref []gocv.Point2f) (m [9]float64, inliers int) {
	cv, rv := gocv.NewPoint2fVectorFromPoints(cur), gocv.NewPoint2fVectorFromPoints(ref)
	defer cv.Close()
	defer rv.Close()
	m = unit()
	affine := gocv.EstimateAffinePartial2D(cv, rv)
	defer func() { _ = affine.Close() }()
	if !affine.Empty() {
		for i := range 6 {
			m[i] = affine.GetDoubleAt(i/3, i%3)
		}
		inliers = agree(m, cur, ref)
	}
	if 10*inliers >= 9*len(cur) {
		return m, inliers
	}
	curMat, refMat, mask := pointMat(cur), pointMat(ref), gocv.NewMat()
	plane := gocv.FindHomography(curMat, &refMat, gocv.HomograpyMethodRANSAC, ransacPixels, &mask, ransacRounds, .995)
	defer func() {
		for _, m := range []*gocv.Mat{&curMat, &refMat, &mask, &plane} {
			_ = m.Close()
		}
	}()
	if plane.Empty() {
		return m, inliers
	}
	var p [9]float64
	for i := range p {
		p[i] = plane.GetDoubleAt(i/3, i%3)
	}
	if n := agree(p, cur, ref); n > inliers+max(2, inliers/10) && (inliers == 0 || a.bend(m, p) < maxBend*float64(max(a.w, a.h))) {
		return p, n
	}
	return m, inliers
}

// agree counts the points that m maps to within ransacPixels.
func agree(m [9]float64, from, to []gocv.Point2f) (n int) {
	for i := range from {
		x, y := project(m, float64(from[i].X), float64(from[i].Y))
		if math.Hypot(x-float64(to[i].X), y-float64(to[i].Y)) <= ransacPixels {
			n++
		}
	}
	return n
}

// bend is the largest distance, in pixels, between what two transforms make of
// the picture's corners.
func (a *Aligner) bend(m, p [9]float64) (d float64) {
	for _, c := range [][2]float64{{0, 0}, {float64(a.w), 0}, {0, float64(a.h)}, {float64(a.w), float64(a.h)}} {
		x0, y0 := project(m, c[0], c[1])
		x1, y1 := project(p, c[0], c[1])
		if e := math.Hypot(x1-x0, y1-y0); e > d || math.IsNaN(e) {
			d = e
		}
	}
	return d
}

// Warp writes the BGR picture src as it looks in the coordinates of the
// reference, bilinear, into dst, and 255 into outside where src does not
// reach, else 0. Rows have exactly 3×width bytes, those of outside width.
func (a *Aligner) Warp(dst, outside, src []byte, m [9]float64) error {
	back, ok := invert(m)
	if !ok || len(outside) != len(a.ref) {
		return errors.New("align: warp needs a matrix that can be inverted and a mask of the picture's size")
	}
	if err := a.warp(dst, src, m, gocv.MatTypeCV8UC3); err != nil {
		return fmt.Errorf("align: %w", err)
	}
	a.outline(outside, back)
	return nil
}

func (a *Aligner) warp(dst, src []byte, m [9]float64, typ gocv.MatType) error {
	in, done, err := wrap(src, a.w, a.h, typ)
	if err != nil {
		return fmt.Errorf("warp: %w", err)
	}
	defer done()
	out, done2, err := wrap(dst, a.w, a.h, typ)
	if err != nil {
		return fmt.Errorf("warp: %w", err)
	}
	defer done2()
	mat := gocv.NewMatWithSize(3, 3, gocv.MatTypeCV64F)
	defer func() { _ = mat.Close() }()
	for i, v := range m {
		mat.SetDoubleAt(i/3, i%3, v)
	}
	gocv.WarpPerspectiveWithParams(in, &out, mat, image.Pt(a.w, a.h), gocv.InterpolationLinear, gocv.BorderReplicate, color.RGBA{})
	return nil
}

// edge is how many pixels along its border a picture is not trusted: decoders
// and rotated cameras leave dark lines there.
const edge = 2

// outline marks the pixels of the reference that are not in the picture.
func (a *Aligner) outline(outside []byte, back [9]float64) {
	right, bottom := float64(a.w-1-edge), float64(a.h-1-edge)
	for y := range a.h {
		row := outside[y*a.w : (y+1)*a.w]
		fy := float64(y)
		u, v, s := back[1]*fy+back[2], back[4]*fy+back[5], back[7]*fy+back[8]
		for x := range row {
			px, py, pw := u, v, s
			u, v, s = u+back[0], v+back[3], s+back[6]
			row[x] = 255
			if pw > 0 && px >= edge*pw && py >= edge*pw && px <= right*pw && py <= bottom*pw {
				row[x] = 0
			}
		}
	}
}

func pointMat(pts []gocv.Point2f) gocv.Mat {
	m := gocv.NewMatWithSize(len(pts), 1, gocv.MatTypeCV32FC2)
	for i, p := range pts {
		m.SetFloatAt(i, 0, p.X)
		m.SetFloatAt(i, 1, p.Y)
	}
	return m
}

func multiply(a, b [9]float64) (c [9]float64) {
	for i := range 3 {
		for j := range 3 {
			c[3*i+j] = a[3*i]*b[j] + a[3*i+1]*b[3+j] + a[3*i+2]*b[6+j]
		}
	}
	for i := range c {
		c[i] /= c[8]
	}
	c[8] = 1
	return c
}

// project maps a point; NaN at the horizon.
func project(m [9]float64, x, y float64) (u, v float64) {
	w := m[6]*x + m[7]*y + m[8]
	if w <= 1e-9 {
		return math.NaN(), math.NaN()
	}
	return (m[0]*x + m[1]*y + m[2]) / w, (m[3]*x + m[4]*y + m[5]) / w
}

// invert returns the inverse of m, scaled to 1 in the last place.
func invert(m [9]float64) ([9]float64, bool) {
	c := [9]float64{
		m[4]*m[8] - m[5]*m[7], m[2]*m[7] - m[1]*m[8], m[1]*m[5] - m[2]*m[4],
		m[5]*m[6] - m[3]*m[8], m[0]*m[8] - m[2]*m[6], m[2]*m[3] - m[0]*m[5],
		m[3]*m[7] - m[4]*m[6], m[1]*m[6] - m[0]*m[7], m[0]*m[4] - m[1]*m[3],
	}
	det := m[0]*c[0] + m[1]*c[3] + m[2]*c[6]
	if math.IsNaN(det) || math.Abs(det) < 1e-12 || math.Abs(c[8]) < 1e-12 {
		return c, false
	}
	for i := range c[:8] {
		c[i] /= c[8]
	}
	c[8] = 1
	return c, true
}
