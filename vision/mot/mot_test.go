package mot_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/mot"
)

func TestReadDetections(t *testing.T) {
	t.Parallel()
	rows, err := mot.ReadDetections(strings.NewReader(
		"\ufeff1,-1,1691.97,381.048,152.23,352.617,0.995616,-1,-1,-1\r\n\n  2 , 7 , -3.5 , 4 , 5 , 6 , 30 \n"))
	require.NoError(t, err)
	assert.Equal(t, []mot.Row{
		{Frame: 1, ID: -1, Left: 1691.97, Top: 381.048, Width: 152.23, Height: 352.617, Conf: 0.995616, Class: -1},
		{Frame: 2, ID: -1, Left: -3.5, Top: 4, Width: 5, Height: 6, Conf: 30, Class: -1},
	}, rows)
	rows, err = mot.ReadDetections(strings.NewReader(""))
	require.NoError(t, err)
	assert.Empty(t, rows)
}

func TestReadTracks(t *testing.T) {
	t.Parallel()
	rows, err := mot.ReadTracks(strings.NewReader("1,1,912,484,97,109,0,7,1\n1,2,50,191,61,141,1,-5.0036,11.913,0.69979\n"))
	require.NoError(t, err)
	require.Len(t, rows, 2)
	assert.Equal(t, 7, rows[0].Class)
	assert.Zero(t, rows[0].Conf)
	assert.Equal(t, -1, rows[1].Class, "a world coordinate is no class")
	assert.Equal(t, int64(2), rows[1].ID)
	assert.InDelta(t, 111, rows[1].Box().Max.X, 1e-12)
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	const tail = ",1,-1,-1,-1\n"
	for name, c := range map[string]struct{ text, want string }{
		"too few columns":  {"1,-1,2,3,4,5\n", "line 1: 6 columns, want at least 7"},
		"too many columns": {"1,-1,2,3,4,5,6,7,8,9,10\n", "line 1: more than 10 columns"},
		"not a number":     {"1,1,2,3,4,5" + tail + "1,2,x,3,4,5" + tail, `line 2: column 3 is not a number: "x"`},
		"nan":              {"1,1,nan,3,4,5" + tail, "column 3 is not a number"},
		"infinite":         {"1,1,2,3,inf,5" + tail, "column 5 is not a number"},
		"frame 0":          {"0,1,2,3,4,5" + tail, "frame 0 is not a whole number from 1"},
		"frame far away":   {"1000001,1,2,3,4,5" + tail, "frame 1.000001e+06 is not"},
		"half a frame":     {"1.5,1,2,3,4,5" + tail, "frame 1.5 is not"},
		"no width":         {"1,1,2,3,0,5" + tail, "size 0 × 5 is out of range"},
		"negative height":  {"1,1,2,3,4,-5" + tail, "size 4 × -5 is out of range"},
		"far outside":      {"1,1,2e9,3,4,5" + tail, "position 2e+09, 3 is out of range"},
		"half an identity": {"1,1.5,2,3,4,5" + tail, "identity 1.5 is not"},
		"no identity":      {"1,-1,2,3,4,5" + tail, "frame 1 has the identity -1"},
		"identity twice":   {"1,4,2,3,4,5" + tail + "1,4,9,9,4,5" + tail, "frame 1 has identity 4 twice"},
		"spaces":           {"1 4 2 3 4 5 1\n", "column 1 is not a number"},
		"a long line":      {"1,4,2,3,4,5" + tail + strings.Repeat("1", 5000), "line 2: longer than 4096 bytes"},
		"binary":           {"\x00\x01\x02\n", "column 1 is not a number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := mot.ReadTracks(strings.NewReader(c.text))
			require.ErrorIs(t, err, mot.ErrFormat)
			require.ErrorContains(t, err, c.want)
		})
	}
	var line *mot.LineError
	_, err := mot.ReadDetections(strings.NewReader("\n\nx\n"))
	require.ErrorAs(t, err, &line)
	assert.Equal(t, 3, line.Line)
	_, err = mot.ReadDetections(iotestErr{})
	require.ErrorIs(t, err, errBroken)
}

var errBroken = errors.New("broken pipe")

// iotestErr is a reader and writer that fails.
type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error)  { return 0, errBroken }
func (iotestErr) Write([]byte) (int, error) { return 0, errBroken }

func TestReadSeqInfo(t *testing.T) {
	t.Parallel()
	const good = "[Sequence]\nname=TUD-Campus\nimDir=img1\nframeRate=25\nseqLength=71\nimWidth=640\nimHeight=480\nimExt=.jpg\n"
	info, err := mot.ReadSeqInfo(strings.NewReader("; made by hand\r\n[other]\nnonsense\n" + strings.ReplaceAll(good, "\n", "\r\n") + "camera=left\n"))
	require.NoError(t, err)
	assert.Equal(t, mot.SeqInfo{
		Name: "TUD-Campus", ImageDir: "img1", ImageExt: ".jpg", FPS: 25, Length: 71, WidthPx: 640, HeightPx: 480,
	}, info)
	for name, c := range map[string]struct{ old, changed, want string }{
		"no section":     {"[Sequence]", "", "has no frameRate"},
		"no width":       {"imWidth=640\n", "", "has no imWidth"},
		"open section":   {"[Sequence]", "[Sequence", "line 1: section without an end"},
		"no value":       {"imDir=img1", "imDir", "line 3: neither"},
		"twice":          {"imDir=img1", "NAME=x", `line 3: "name" is given twice`},
		"rate 0":         {"frameRate=25", "frameRate=0", "line 4: frameRate"},
		"rate nan":       {"frameRate=25", "frameRate=nan", "line 4: frameRate"},
		"length":         {"seqLength=71", "seqLength=1e3", `line 5: seqLength "1e3" is not a whole number`},
		"negative width": {"imWidth=640", "imWidth=-640", "line 6: imWidth"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := mot.ReadSeqInfo(strings.NewReader(strings.Replace(good, c.old, c.changed, 1)))
			require.ErrorIs(t, err, mot.ErrFormat)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// echo is a tracker that shows every detection, numbered, and the ones of the
// last look once more as coasting.
type echo struct {
	last  []vision.Track
	calls []time.Time
}

func (e *echo) Update(at time.Time, dets []vision.Detection) (tracks []vision.Track, ended []uint64) {
	e.calls = append(e.calls, at)
	var now []vision.Track
	for i, d := range dets {
		now = append(now, vision.Track{ID: uint64(i + 1), Label: d.Label, Score: d.Score, Box: d.Box, Seen: at})
	}
	out := append([]vision.Track{}, now...)
	for _, old := range e.last {
		old.ID += 100
		out = append(out, old)
	}
	e.last = now
	return out, nil
}

func (e *echo) Hold(time.Time) (tracks []vision.Track, ended []uint64) { return nil, nil }

func TestRun(t *testing.T) {
	t.Parallel()
	dets := []mot.Row{
		{Frame: 3, ID: -1, Left: 10, Top: 20, Width: 30, Height: 40, Conf: 2},
		{Frame: 1, ID: -1, Left: -10, Top: 20, Width: 30, Height: 40, Conf: 0.5},
		{Frame: 2, ID: -1, Left: 500, Top: 20, Width: 30, Height: 40, Conf: 0.5},
	}
	opt := mot.Options{FPS: 10, WidthPx: 100, HeightPx: 200}
	e := &echo{}
	rows, err := mot.Run(e, dets, opt)
	require.NoError(t, err)
	assert.Len(t, e.calls, 3)
	assert.Equal(t, 200*time.Millisecond, e.calls[2].Sub(e.calls[0]))
	var text bytes.Buffer
	require.NoError(t, mot.Write(&text, rows))
	assert.Equal(t, "1,1,0.00,20.00,20.00,40.00,0.5000,-1,-1,-1\n3,1,10.00,20.00,30.00,40.00,1.0000,-1,-1,-1\n", text.String(),
		"clipped to the picture; one outside is none; coasting ones are left out")
	again, err := mot.ReadTracks(&text)
	require.NoError(t, err)
	assert.Len(t, again, 2)

	opt.Step, opt.Length, opt.Coast = 2, 7, time.Second
	e = &echo{}
	rows, err = mot.Run(e, dets, opt)
	require.NoError(t, err)
	assert.Len(t, e.calls, 4, "frames 1, 3, 5, 7")
	assert.Len(t, rows, 4, "two detected, two coasting")
	assert.Equal(t, []int{1, 3, 3, 5}, []int{rows[0].Frame, rows[1].Frame, rows[2].Frame, rows[3].Frame})

	for name, o := range map[string]mot.Options{
		"no rate":    {WidthPx: 1, HeightPx: 1},
		"no width":   {FPS: 1, HeightPx: 1},
		"bad step":   {FPS: 1, WidthPx: 1, HeightPx: 1, Step: -1},
		"bad coast":  {FPS: 1, WidthPx: 1, HeightPx: 1, Coast: -1},
		"bad length": {FPS: 1, WidthPx: 1, HeightPx: 1, Length: -1},
		"too short":  {FPS: 1, WidthPx: 1, HeightPx: 1, Length: 2},
	} {
		_, err := mot.Run(&echo{}, dets, o)
		require.ErrorContains(t, err, "track detections", name)
	}
	require.ErrorIs(t, mot.Write(iotestErr{}, rows), errBroken)
}

func FuzzReadTracks(f *testing.F) {
	f.Add([]byte("1,1,912,484,97,109,0,7,1\n1,2,50,191,61,141,1,-5.0036,11.913,0.69979\n"))
	f.Add([]byte("1,-1,1691.97,381.048,152.23,352.617,0.995616,-1,-1,-1\r\n"))
	f.Add([]byte("1e6,-0,-1e6,1e-300,1e6,0x1p3,NaN"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := mot.ReadTracks(bytes.NewReader(data))
		if err != nil {
			require.Empty(t, rows)
			return
		}
		for _, r := range rows {
			if r.Frame < 1 || r.Frame > mot.MaxFrame || r.ID < 0 || !(r.Width > 0) || !(r.Box().Max.Y < 1e7) {
				t.Fatalf("accepted %+v", r)
			}
		}
		dets, err := mot.ReadDetections(bytes.NewReader(data))
		require.NoError(t, err)
		require.Len(t, dets, len(rows))
	})
}

func FuzzReadSeqInfo(f *testing.F) {
	f.Add([]byte("[Sequence]\nname=a\nframeRate=25\nseqLength=71\nimWidth=640\nimHeight=480\n"))
	f.Add([]byte(";x\n[a]\nb\n[sequence]\nFRAMERATE = 0x1p-3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := mot.ReadSeqInfo(bytes.NewReader(data))
		if err == nil && (!(info.FPS > 0) || info.FPS > 1000 || info.Length < 1 || info.WidthPx < 1 || info.HeightPx < 1) {
			t.Fatalf("accepted %+v", info)
		}
	})
}
