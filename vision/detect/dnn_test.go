//go:build cgo

package detect_test

import (
	"image"
	"math"
	"path/filepath"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"gocv.io/x/gocv"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/prep"
)

// TestBoxesEqualOpenCV runs the same model with OpenCV's own inference engine,
// a plain letterbox with OpenCV and a decoder written here, and compares every
// box with a score of 0.3 or more.
func TestBoxesEqualOpenCV(t *testing.T) {
	t.Parallel()
	const minScore = 0.3
	det, assets := nano(t, detect.Config{MinScore: minScore - 0.01, NMS: 0.45, Whole: true})
	net := gocv.ReadNetFromONNX(filepath.Join(assets, "models", "yolox_nano.onnx"))
	defer net.Close()
	require.False(t, net.Empty())
	var paths []string
	for _, dir := range []string{"voc2012_50", "street_cctv_40"} {
		found, err := filepath.Glob(filepath.Join(assets, "stills", dir, "images", "*.jpg"))
		require.NoError(t, err)
		paths = append(paths, found[:8]...)
	}
	compared, worst := 0, 0.0
	for _, path := range paths {
		want, w, h := dnnBoxes(t, &net, path, minScore)
		img, err := prep.Load(path)
		require.NoError(t, err)
		got, err := det.Detect(t.Context(), &media.Frame{Picture: img})
		img.Release()
		require.NoError(t, err)
		for _, b := range want {
			nearest := math.Inf(1)
			for _, d := range got {
				if d.Label != b.label || math.Abs(d.Score-b.score) > 0.01 {
					continue
				}
				e := max(math.Abs(d.Box.Min.X*w-b.box[0]), math.Abs(d.Box.Min.Y*h-b.box[1]),
					math.Abs(d.Box.Max.X*w-b.box[2]), math.Abs(d.Box.Max.Y*h-b.box[3]))
				nearest = min(nearest, e)
			}
			require.Less(t, nearest, 1.0, "%s: %+v", filepath.Base(path), b)
			worst = max(worst, nearest)
			compared++
		}
		strong := 0
		for _, d := range got {
			if d.Score >= minScore {
				strong++
			}
		}
		require.LessOrEqual(t, strong, len(want)+1, "%s: more boxes than OpenCV", filepath.Base(path))
	}
	t.Logf("%d boxes of %d pictures, worst difference %.3f pixels", compared, len(paths), worst)
	require.Greater(t, compared, 30)
}

type dnnBox struct {
	label string
	score float64
	box   [4]float64 // pixels x0 y0 x1 y1, clipped
}

func dnnBoxes(t *testing.T, net *gocv.Net, path string, minScore float64) (boxes []dnnBox, width, height float64) {
	t.Helper()
	const size = 416
	img := gocv.IMRead(path, gocv.IMReadColor)
	defer img.Close()
	require.False(t, img.Empty(), path)
	width, height = float64(img.Cols()), float64(img.Rows())
	r := math.Min(size/width, size/height)
	padded := gocv.NewMatWithSizeFromScalar(gocv.NewScalar(114, 114, 114, 0), size, size, gocv.MatTypeCV8UC3)
	defer padded.Close()
	content := padded.Region(image.Rect(0, 0, int(width*r+1e-6), int(height*r+1e-6)))
	defer content.Close()
	gocv.Resize(img, &content, image.Pt(content.Cols(), content.Rows()), 0, 0, gocv.InterpolationLinear)
	blob := gocv.BlobFromImage(padded, 1, image.Pt(size, size), gocv.NewScalar(0, 0, 0, 0), false, false)
	defer blob.Close()
	net.SetInput(blob, "")
	out := net.Forward("")
	defer out.Close()
	data, err := out.DataPtrFloat32()
	require.NoError(t, err)
	require.Len(t, data, 3549*85)

	labels := models.COCO()
	var all []dnnBox
	i := 0
	for _, s := range []int{8, 16, 32} {
		n := size / s
		for c := 0; c < n*n; c, i = c+1, i+1 {
			row := data[i*85 : i*85+85]
			k := 5
			for j := range row[5:] {
				if row[5+j] > row[k] {
					k = 5 + j
				}
			}
			score := float64(row[4]) * float64(row[k])
			if score < minScore {
				continue
			}
			cx, cy := (float64(row[0])+float64(c%n))*float64(s)/r, (float64(row[1])+float64(c/n))*float64(s)/r
			w, h := math.Exp(float64(row[2]))*float64(s)/r, math.Exp(float64(row[3]))*float64(s)/r
			all = append(all, dnnBox{labels[k-5], score, [4]float64{cx - w/2, cy - h/2, cx + w/2, cy + h/2}})
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].score > all[b].score })
	for _, b := range all {
		keep := true
		for _, k := range boxes {
			keep = keep && (k.label != b.label || iou(k.box, b.box) <= 0.45)
		}
		if keep {
			boxes = append(boxes, b)
		}
	}
	for i := range boxes {
		for k := range 4 {
			boxes[i].box[k] = min(max(boxes[i].box[k], 0), []float64{width, height}[k%2])
		}
	}
	return boxes, width, height
}

func iou(a, b [4]float64) float64 {
	w := min(a[2], b[2]) - max(a[0], b[0])
	h := min(a[3], b[3]) - max(a[1], b[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / ((a[2]-a[0])*(a[3]-a[1]) + (b[2]-b[0])*(b[3]-b[1]) - w*h)
}
