package track_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/score"
	"github.com/xacam/xacam/vision/track"
)

// sequence is one of the MOT15 sequences with its detections.
type sequence struct {
	name      string
	reference float64 // HOTA of ByteTrack on these detections, in percent
	info      mot.SeqInfo
	dets      []mot.Row
	truth     []mot.Row
}

// sequences reads the five sequences, or skips the test where they are absent.
func sequences(tb testing.TB) []sequence {
	tb.Helper()
	root := os.Getenv("XACAM_ASSETS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "assets")
	}
	root = filepath.Join(root, "mot")
	if _, err := os.Stat(root); err != nil {
		tb.Skipf("no MOT15 sequences: set XACAM_ASSETS to the folder that has mot/: %v", err)
	}
	all := []sequence{
		{name: "TUD-Campus", reference: 51.4},
		{name: "ETH-Sunnyday", reference: 56.2},
		{name: "KITTI-17", reference: 47.3},
		{name: "Venice-2", reference: 31.9},
		{name: "ADL-Rundle-6", reference: 35.4},
	}
	for i := range all {
		s := &all[i]
		open := func(parts ...string) *os.File {
			f, err := os.Open(filepath.Join(append([]string{root, s.name}, parts...)...))
			require.NoError(tb, err)
			tb.Cleanup(func() { _ = f.Close() })
			return f
		}
		var err error
		s.info, err = mot.ReadSeqInfo(open("seqinfo.ini"))
		require.NoError(tb, err)
		s.dets, err = mot.ReadDetections(open("det", "det.txt"))
		require.NoError(tb, err)
		s.truth, err = mot.ReadTracks(open("gt", "gt.txt"))
		require.NoError(tb, err)
	}
	return all
}

// figures are the scores of one sequence or of all.
type figures struct {
	hota  score.HOTA
	idf1  score.IDF1
	clear score.CLEAR
}

// evaluate tracks every step-th frame of each sequence, so that about fps
// frames a second are left (0: all), and scores the result on those.
func evaluate(tb testing.TB, all []sequence, cfg track.Config, fps float64) (each []figures, total figures) {
	tb.Helper()
	var hotas []score.HOTA
	var idf1s []score.IDF1
	var clears []score.CLEAR
	for i := range all {
		s := &all[i]
		step := 1
		if fps > 0 {
			step = max(1, int(s.info.FPS/fps+0.5))
		}
		cfg.Aspect = float64(s.info.WidthPx) / float64(s.info.HeightPx)
		tracker, err := track.New(cfg)
		require.NoError(tb, err)
		rows, err := mot.Run(tracker, s.dets, mot.Options{
			FPS: s.info.FPS, WidthPx: s.info.WidthPx, HeightPx: s.info.HeightPx, Length: s.info.Length, Step: step,
		})
		require.NoError(tb, err)
		seq, err := score.NewSequence(s.info.Length, s.truth, rows)
		require.NoError(tb, err)
		seq = seq.Every(step)
		var f figures
		f.hota, err = score.ComputeHOTA(seq)
		require.NoError(tb, err)
		f.idf1, err = score.ComputeIDF1(seq)
		require.NoError(tb, err)
		f.clear, err = score.ComputeCLEAR(seq)
		require.NoError(tb, err)
		each = append(each, f)
		hotas, idf1s, clears = append(hotas, f.hota), append(idf1s, f.idf1), append(clears, f.clear)
	}
	total = figures{score.CombineHOTA(hotas...), score.CombineIDF1(idf1s...), score.CombineCLEAR(clears...)}
	return each, total
}

func logFigures(tb testing.TB, name string, f figures) {
	tb.Helper()
	tb.Logf("%-13s HOTA %5.1f  DetA %5.1f  AssA %5.1f  IDF1 %5.1f  MOTA %5.1f  IDSW %3d",
		name, 100*f.hota.HOTA, 100*f.hota.DetA, 100*f.hota.AssA, 100*f.idf1.IDF1, 100*f.clear.MOTA, f.clear.IDSW)
}

// TestTable holds the tracker to the reference table of the five sequences, at
// the full frame rate.
func TestTable(t *testing.T) {
	t.Parallel()
	all := sequences(t)
	each, total := evaluate(t, all, track.Config{}, 0)
	for i, f := range each {
		logFigures(t, all[i].name, f)
		assert.GreaterOrEqual(t, 100*f.hota.HOTA, all[i].reference-1, all[i].name)
	}
	logFigures(t, "all five", total)
	assert.GreaterOrEqual(t, 100*total.hota.HOTA, 40.0)
	assert.GreaterOrEqual(t, 100*total.idf1.IDF1, 52.0)
}

// TestTableAtLowFrameRates takes frames away: at 5 a second not more than 15 %
// of HOTA may be lost.
func TestTableAtLowFrameRates(t *testing.T) {
	t.Parallel()
	all := sequences(t)
	_, full := evaluate(t, all, track.Config{}, 0)
	for _, c := range []struct {
		name       string
		fps, least float64 // least is a fraction of the HOTA at the full rate
	}{{"10 fps", 10, 0.95}, {"5 fps", 5, 0.85}, {"3 fps", 3, 0.75}} {
		each, total := evaluate(t, all, track.Config{}, c.fps)
		for i, f := range each {
			logFigures(t, c.name[:2]+" "+all[i].name[:8], f)
		}
		logFigures(t, c.name, total)
		assert.GreaterOrEqual(t, total.hota.HOTA, c.least*full.hota.HOTA, c.name)
	}
}
