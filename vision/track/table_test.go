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

// from returns the sequence as it is for who begins to look after offset frames.
func (s *sequence) from(offset int) sequence {
	out := *s
	out.info.Length -= offset
	shift := func(rows []mot.Row) (kept []mot.Row) {
		for _, r := range rows {
			if r.Frame -= offset; r.Frame >= 1 {
				kept = append(kept, r)
			}
		}
		return kept
	}
	out.dets, out.truth = shift(s.dets), shift(s.truth)
	return out
}

// step is by how many frames to go on so that about fps frames a second are left;
// 0 is all of them.
func (s *sequence) step(fps float64) int {
	if fps <= 0 {
		return 1
	}
	return max(1, int(s.info.FPS/fps+0.5))
}

// scored tracks every step-th frame and scores the result on every scoredStep-th.
func (s *sequence) scored(tb testing.TB, cfg track.Config, step, scoredStep int) (f figures) {
	tb.Helper()
	cfg.Aspect = float64(s.info.WidthPx) / float64(s.info.HeightPx)
	tracker, err := track.New(cfg)
	require.NoError(tb, err)
	rows, err := mot.Run(tracker, s.dets, mot.Options{
		FPS: s.info.FPS, WidthPx: s.info.WidthPx, HeightPx: s.info.HeightPx, Length: s.info.Length, Step: step,
	})
	require.NoError(tb, err)
	seq, err := score.NewSequence(s.info.Length, s.truth, rows)
	require.NoError(tb, err)
	seq = seq.Every(scoredStep)
	f.hota, err = score.ComputeHOTA(seq)
	require.NoError(tb, err)
	f.idf1, err = score.ComputeIDF1(seq)
	require.NoError(tb, err)
	f.clear, err = score.ComputeCLEAR(seq)
	require.NoError(tb, err)
	return f
}

func combine(each []figures) figures {
	var hotas []score.HOTA
	var idf1s []score.IDF1
	var clears []score.CLEAR
	for _, f := range each {
		hotas, idf1s, clears = append(hotas, f.hota), append(idf1s, f.idf1), append(clears, f.clear)
	}
	return figures{score.CombineHOTA(hotas...), score.CombineIDF1(idf1s...), score.CombineCLEAR(clears...)}
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
	var each []figures
	for i := range all {
		f := all[i].scored(t, track.Config{}, 1, 1)
		logFigures(t, all[i].name, f)
		assert.GreaterOrEqual(t, 100*f.hota.HOTA, all[i].reference-1, all[i].name)
		each = append(each, f)
	}
	total := combine(each)
	logFigures(t, "all five", total)
	assert.GreaterOrEqual(t, 100*total.hota.HOTA, 40.0)
	assert.GreaterOrEqual(t, 100*total.idf1.IDF1, 52.0)
}

// TestTableAtLowFrameRates takes frames away: at 5 a second far less than 15 % of
// HOTA may be lost.
//
// Every n-th frame is tracked, n being the file's rate over the wanted one,
// rounded; truth is taken at the same frames. What is lost is measured in two
// ways: against the figure of the full rate on all frames, as one would publish
// it, and against the tracks of the full rate scored on the same frames, so that
// neither the mix of sequences nor the frames differ. All beginnings count: which
// frame is the first is chance.
func TestTableAtLowFrameRates(t *testing.T) {
	t.Parallel()
	all := sequences(t)
	var full []figures
	for i := range all {
		full = append(full, all[i].scored(t, track.Config{}, 1, 1))
	}
	published := combine(full).hota.HOTA
	for _, c := range []struct {
		name       string
		fps, least float64 // least is a share of the HOTA at the full rate
	}{{"10 fps", 10, 0.97}, {"5 fps", 5, 0.92}, {"3 fps", 3, 0.87}} {
		var low, same, first []figures
		for i := range all {
			s := &all[i]
			step := s.step(c.fps)
			var mine, theirs []figures
			for offset := range step {
				late := s.from(offset)
				mine = append(mine, late.scored(t, track.Config{}, step, step))
				theirs = append(theirs, late.scored(t, track.Config{}, 1, step))
			}
			first = append(first, mine[0])
			got, want := combine(mine), combine(theirs)
			logFigures(t, c.name[:2]+" "+s.name[:8], got)
			assert.GreaterOrEqual(t, got.hota.HOTA, (c.least-0.05)*want.hota.HOTA, "%s, %s", c.name, s.name)
			low, same = append(low, mine...), append(same, theirs...)
		}
		logFigures(t, c.name, combine(low))
		logFigures(t, "of full rate", combine(same))
		logFigures(t, "first only", combine(first))
		assert.GreaterOrEqual(t, combine(first).hota.HOTA, c.least*published, "%s, against the published figure", c.name)
		assert.GreaterOrEqual(t, combine(low).hota.HOTA, c.least*combine(same).hota.HOTA, "%s, on the same frames", c.name)
	}
}
