package second_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/ration"
	"github.com/xacam/xacam/vision/second"
)

// street is a picture of 1000×500 pixels: a chequerboard whose red is the number
// of the hundred columns, so that a crop says where it is from.
type street struct{ dark bool }

func (street) Size() (width, height int) { return 1000, 500 }

func (street) BGR([]byte, int, int) error { return errors.New("the whole picture is not asked for") }

// CropBGR implements media.Cropper.
func (p street) CropBGR(dst []byte, a media.Area, w, h int) error {
	if err := a.Check(p.Size()); err != nil {
		return err
	}
	for i := range w * h {
		x, y := a.X+a.W*float64(i%w)/float64(w), a.Y+a.H*float64(i/w)/float64(h)
		dst[3*i], dst[3*i+1], dst[3*i+2] = 0, byte(200*(int(x/3+y/3+1000)%2)), byte(x/100)
		if p.dark {
			dst[3*i+1] = 3
		}
	}
	return nil
}

func (street) Gray([]byte, int, int) error { return nil }
func (street) Release()                    {}

// oracle answers by where the crop is from.
type oracle struct {
	answers map[byte][]float64 // with, without, other; by the number of the hundred columns
	asked   []byte
	err     error
}

func (*oracle) Size() (width, height int) { return 16, 16 }
func (*oracle) Labels() []string          { return []string{"with", "without", "other"} }

func (o *oracle) Classify(_ context.Context, dst []float64, crop []byte) ([]float64, error) {
	at := crop[len(crop)/2/48*48+3*8+2]
	o.asked = append(o.asked, at)
	return append(dst, o.answers[at]...), o.err
}

var start = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// scene is a moment with a rider in each of the given hundred columns; its ID is
// the number of the column.
func scene(step int, columns ...int) *vision.Scene {
	s := &vision.Scene{Camera: "cam", At: start.Add(time.Duration(step) * 200 * time.Millisecond)}
	for _, c := range columns {
		x := float64(c) / 10
		s.Tracks = append(s.Tracks, vision.Track{
			ID: uint64(c), Label: "person", Seen: s.At, Carrier: 100,
			Box: geom.Box{Min: geom.Point{X: x, Y: .4}, Max: geom.Point{X: x + .1, Y: .8}},
		})
	}
	return s
}

func enricher(t *testing.T, o *oracle, change func(*second.Config)) *second.Enricher {
	t.Helper()
	cfg := second.Config{Camera: "cam", Name: "helmet", Looker: o, Wants: second.Motorcyclist}
	if change != nil {
		change(&cfg)
	}
	e, err := second.New(cfg)
	require.NoError(t, err)
	return e
}

func frame() *media.Frame { return &media.Frame{Picture: street{}} }

func TestVotes(t *testing.T) {
	t.Parallel()
	o := &oracle{answers: map[byte][]float64{1: {.1, .8, .1}, 3: {.9, .05, .05}, 5: {.45, .5, .05}, 7: {.1, .1, .8}}}
	e := enricher(t, o, nil)
	var s *vision.Scene
	for step := range 20 {
		s = scene(step, 1, 3, 5, 7)
		require.NoError(t, e.Enrich(t.Context(), frame(), s))
	}
	mark := func(i int) vision.Mark { require.Len(t, s.Tracks[i].Marks, 1); return s.Tracks[i].Marks[0] }
	assert.Equal(t, "without", mark(0).Value)
	assert.InDelta(t, .8/.9, mark(0).Score, 1e-9, "given that there is a head")
	assert.Equal(t, "with", mark(1).Value)
	assert.Equal(t, second.Unsure, mark(2).Value)
	assert.Empty(t, s.Tracks[3].Marks, "what shows something else has no vote")
	assert.Less(t, mark(0).Votes, mark(2).Votes, "who is sure is looked at less often than who is not")

	s.Held = true
	s.Tracks[0].Marks, o.asked = nil, nil
	require.NoError(t, e.Enrich(t.Context(), frame(), s))
	assert.Empty(t, o.asked, "nothing moved: nothing is looked at")
	assert.Equal(t, "without", mark(0).Value, "the mark stays")

	gone := scene(30)
	gone.Ended = []uint64{1}
	require.NoError(t, e.Enrich(t.Context(), frame(), gone))
	again := scene(31, 1)
	again.Tracks[0].Seen = start // predicted
	require.NoError(t, e.Enrich(t.Context(), frame(), again))
	assert.Empty(t, again.Tracks[0].Marks, "what ended is forgotten")
}

// TestVoteChanges lets somebody put the helmet on: the vote follows.
func TestVoteChanges(t *testing.T) {
	t.Parallel()
	o := &oracle{answers: map[byte][]float64{1: {.1, .85, .05}}}
	e := enricher(t, o, nil)
	value := ""
	for step := range 600 { // two minutes
		if step == 300 {
			o.answers[1] = []float64{.9, .05, .05}
		}
		s := scene(step, 1)
		require.NoError(t, e.Enrich(t.Context(), frame(), s))
		if len(s.Tracks[0].Marks) > 0 {
			value = s.Tracks[0].Marks[0].Value
		}
		if step == 299 {
			require.Equal(t, "without", value)
		}
	}
	assert.Equal(t, "with", value)
}

func TestOtherMarksStay(t *testing.T) {
	t.Parallel()
	e := enricher(t, &oracle{answers: map[byte][]float64{1: {.1, .9, 0}}}, nil)
	s := scene(0, 1)
	given := []vision.Mark{{Name: "colour"}, {Name: "vest"}}
	s.Tracks[0].Marks = given
	require.NoError(t, e.Enrich(t.Context(), frame(), s))
	require.Len(t, s.Tracks[0].Marks, 3)
	assert.Equal(t, "helmet", s.Tracks[0].Marks[1].Name, "by name")
	assert.Len(t, given, 2)
}

// TestRate holds that a camera gets its looks a second and no more, that they
// go round, and that what is left out is counted.
func TestRate(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	o := &oracle{answers: map[byte][]float64{}}
	for i := range byte(10) {
		o.answers[i] = []float64{.5, .5, 0}
	}
	e := enricher(t, o, func(c *second.Config) { c.PerSecond, c.Metrics = 4, second.NewMetrics(reg) })
	for step := range 51 { // 10 s, 9 riders
		require.NoError(t, e.Enrich(t.Context(), frame(), scene(step, 0, 1, 2, 3, 4, 5, 6, 7, 8)))
	}
	assert.InDelta(t, 4+4*10, len(o.asked), 1, "the first second's and those of ten")
	seen := map[byte]int{}
	for _, c := range o.asked {
		seen[c]++
	}
	for c := range byte(9) {
		assert.InDelta(t, 5, seen[c], 1, "rider %d", c)
	}
	got := 0.
	fams, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range fams {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == "rate_limit" {
					got = m.GetCounter().GetValue()
				}
			}
		}
	}
	assert.Positive(t, got, "looks left out are counted")
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func TestWhoIsLookedAt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*vision.Scene)
		asked  int
	}{
		"a rider":           {func(*vision.Scene) {}, 1},
		"predicted":         {func(s *vision.Scene) { s.Tracks[0].Seen = s.At.Add(-time.Second) }, 0},
		"on foot":           {func(s *vision.Scene) { s.Tracks[0].Carrier = 0 }, 0},
		"on a bicycle":      {func(s *vision.Scene) { s.Tracks = append(s.Tracks, vision.Track{ID: 100, Label: "bicycle"}) }, 0},
		"on a motorcycle":   {func(s *vision.Scene) { s.Tracks = append(s.Tracks, vision.Track{ID: 100, Label: "motorcycle"}) }, 1},
		"far away":          {func(s *vision.Scene) { s.Tracks[0].Box.Max = geom.Point{X: .32, Y: .45} }, 0},
		"without any box":   {func(s *vision.Scene) { s.Tracks[0].Box = geom.Box{} }, 0},
		"behind another":    {func(s *vision.Scene) { hide(s, .01) }, 1},
		"beside another":    {func(s *vision.Scene) { hide(s, .1) }, 2},
		"cut by the border": {func(s *vision.Scene) { s.Tracks[0].Box.Min.Y, s.Tracks[0].Box.Max.Y = 0, .3 }, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &oracle{answers: map[byte][]float64{3: {.1, .9, 0}, 4: {.1, .9, 0}}}
			s := scene(0, 3)
			tt.change(s)
			require.NoError(t, enricher(t, o, nil).Enrich(t.Context(), frame(), s))
			assert.Len(t, o.asked, tt.asked)
		})
	}
}

// hide puts somebody in front of the first track, that far to the right.
func hide(s *vision.Scene, right float64) {
	o := s.Tracks[0]
	o.ID = 50
	o.Box.Min.X, o.Box.Max.X, o.Box.Max.Y = o.Box.Min.X+right, o.Box.Max.X+right, o.Box.Max.Y+.02
	s.Tracks = append(s.Tracks, o)
}

func TestDark(t *testing.T) {
	t.Parallel()
	o := &oracle{}
	s := scene(0, 3)
	require.NoError(t, enricher(t, o, nil).Enrich(t.Context(), &media.Frame{Picture: street{dark: true}}, s))
	assert.Empty(t, o.asked)
	assert.Empty(t, s.Tracks[0].Marks)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	o := &oracle{err: errors.New("broken")}
	e := enricher(t, o, nil)
	require.ErrorContains(t, e.Enrich(t.Context(), frame(), scene(0, 3)), "broken")
	require.NoError(t, e.Enrich(t.Context(), nil, scene(1, 3)), "no frame, nothing to look at")
	o.err = nil
	require.ErrorContains(t, e.Enrich(t.Context(), frame(), scene(5, 3)), "0 answers to 3 labels")
	for name, cfg := range map[string]second.Config{
		"nothing":       {},
		"no looker":     {Name: "helmet", Wants: second.Motorcyclist},
		"sure too low":  {Name: "helmet", Wants: second.Motorcyclist, Looker: o, Sure: .3},
		"certain below": {Name: "helmet", Wants: second.Motorcyclist, Looker: o, Sure: .9},
		"negative rate": {Name: "helmet", Wants: second.Motorcyclist, Looker: o, PerSecond: -1},
	} {
		_, err := second.New(cfg)
		require.Error(t, err, name)
	}
}

// TestBudget holds that nothing is asked when all cameras have spent the time.
func TestBudget(t *testing.T) {
	t.Parallel()
	o := &oracle{answers: map[byte][]float64{3: {.1, .9, 0}}}
	spent := ration.NewBudget(0, time.Now)
	require.NoError(t, enricher(t, o, func(c *second.Config) { c.Budget = spent }).Enrich(t.Context(), frame(), scene(0, 3)))
	assert.Empty(t, o.asked)
}

func TestHeadArea(t *testing.T) {
	t.Parallel()
	a := second.HeadArea(geom.Box{Min: geom.Point{X: .4, Y: .2}, Max: geom.Point{X: .5, Y: .6}}, 1000, 500) // 100×200 pixels
	head := .335 * 141.42
	assert.InDelta(t, 1.5*head, a.W, .1)
	assert.InDelta(t, a.W, a.H, 1e-9)
	assert.InDelta(t, 450, a.X+a.W/2, 1e-9)
	assert.InDelta(t, 100+.46*head, a.Y+a.H/2, .1)
	assert.Equal(t, media.Area{}, second.HeadArea(geom.Box{}, 1000, 500))
}

// BenchmarkEnrich has 30 riders and an oracle that costs nothing: what choosing
// and voting take. Crops of a picture that is no Cropper are not the pipeline's.
func BenchmarkEnrich(b *testing.B) {
	o := &oracle{answers: map[byte][]float64{}}
	for i := range byte(10) {
		o.answers[i] = []float64{.3, .7, 0}
	}
	e, err := second.New(second.Config{Camera: "cam", Name: "helmet", Looker: o, Wants: second.Motorcyclist, PerSecond: 1e-6})
	require.NoError(b, err)
	step := 0
	b.ReportAllocs()
	for b.Loop() {
		s := scene(step, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
		if err := e.Enrich(context.Background(), frame(), s); err != nil {
			b.Fatal(err)
		}
		step++
	}
}
