package pipeline_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/visiontest"
)

// memory notes which units it decodes; late of them back, as with B-frames.
type memory struct {
	units []*media.AccessUnit
	late  int

	broken bool // key pictures do not come out
}

func (m *memory) Decode(au *media.AccessUnit) ([]*media.Frame, error) {
	m.units = append(m.units, au)
	if m.broken && au.Key {
		return nil, nil
	}
	if i := len(m.units) - 1 - m.late; i >= 0 {
		return []*media.Frame{{PTS: m.units[i].PTS, Captured: m.units[i].Captured}}, nil
	}
	return nil, nil
}

func (*memory) Close() {}

// dozing is a camera of 12.5 frames a second in a bubble of synctest.
type dozing struct {
	t      *testing.T
	feed   *pipeline.Feed
	dec    *memory
	frames *sink
	m      *pipeline.Metrics
	rnd    *rand.Rand
	sent   int
	gop    int // pictures

	recovery bool // key pictures are recovery points, not IDR
}

func newDozing(t *testing.T, gop, late int) *dozing {
	t.Helper()
	d := &dozing{t: t, dec: &memory{late: late}, frames: &sink{}, m: pipeline.NewMetrics(nil), rnd: rand.New(rand.NewPCG(1, 2)), gop: gop}
	d.feed = pipeline.NewFeed(pipeline.FeedConfig{
		FPS: 5, Metrics: d.m, Camera: "gate", Deliver: d.frames.deliver,
		NewDecoder: func(media.Format) (pipeline.Decoder, error) { return d.dec, nil },
	})
	runUntilEnd(t, d.feed.Run)
	d.feed.SetFormat(media.Format{Codec: media.H264})
	return d
}

// send sends n pictures; those that are not key pictures have about size bytes.
func (d *dozing) send(n int, size float64, mood pipeline.Mood) {
	d.t.Helper()
	d.feed.SetMood(mood)
	for range n {
		au := &media.AccessUnit{PTS: time.Duration(d.sent) * 80 * time.Millisecond, Captured: time.Now(), Key: d.sent%d.gop == 0}
		bytes := size * (1 + .1*d.rnd.NormFloat64())
		if au.Key {
			bytes = 60_000
		}
		au.NALUs = [][]byte{make([]byte, int(max(10, bytes)))}
		if au.Key && !d.recovery {
			au.NALUs[0][0] = 0x65 // IDR
		}
		d.sent++
		d.feed.Put(au)
		time.Sleep(80 * time.Millisecond)
		synctest.Wait()
	}
}

func (d *dozing) decoded() int { return len(d.dec.units) }

// learn shows motion and then calm, up to a key picture.
func (d *dozing) learn(busy, calm float64) {
	d.send(60, busy, pipeline.MoodBusy)
	d.send(90, calm, pipeline.MoodCalm)
	d.send(d.gop-d.sent%d.gop, calm, pipeline.MoodCalm)
}

func TestCalmCameraDozes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDozing(t, 25, 0)
		d.learn(9000, 1200)
		before, looks := d.decoded(), len(d.frames.all())
		d.send(250, 1200, pipeline.MoodCalm)
		require.Equal(t, 10, d.decoded()-before, "key pictures only")
		require.Equal(t, 10, len(d.frames.all())-looks, "and all of them looked at")
		require.Equal(t, d.sent, d.decoded()+int(d.m.Counts("gate").Dozed)+24, "each unit decoded, dozed, or kept for now")

		// Somebody comes: what was kept is decoded, so that nothing is missed.
		from := d.decoded()
		d.send(12, 1200, pipeline.MoodCalm)
		d.send(4, 4000, pipeline.MoodCalm)
		since := d.dec.units[from:]
		require.Len(t, since, 16)
		require.True(t, since[0].Key)
		require.True(t, slices.IsSortedFunc(since, func(a, b *media.AccessUnit) int { return int(a.PTS - b.PTS) }))
		require.LessOrEqual(t, len(d.frames.all())-looks-10, 6, "the old ones are not looked at")

		// It stays awake while something moves, and dozes again after it.
		from = d.decoded()
		d.send(100, 9000, pipeline.MoodBusy)
		require.Equal(t, 100, d.decoded()-from)
		d.send(50, 1200, pipeline.MoodCalm)
		from = d.decoded()
		d.send(250, 1200, pipeline.MoodCalm)
		require.Equal(t, 10, d.decoded()-from)
	})
}

// What ends a doze besides a growing picture.
func TestDozeEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(d *dozing){
		"the key picture showed motion": func(d *dozing) { d.send(1, 1200, pipeline.MoodBusy) },
		"something was lost": func(d *dozing) {
			d.feed.Put(&media.AccessUnit{PTS: time.Duration(d.sent) * 80 * time.Millisecond, Captured: time.Now(), Gap: true})
			d.sent++
			synctest.Wait()
		},
		"no key picture comes": func(d *dozing) { d.gop = 1 << 30; d.send(20, 1200, pipeline.MoodCalm) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDozing(t, 25, 0)
				d.learn(9000, 1200)
				d.send(260, 1200, pipeline.MoodCalm)
				require.Equal(t, 24, d.sent-d.decoded()-int(d.m.Counts("gate").Dozed)+15, "asleep for ten pictures")
				end(d)
				assert.Empty(t, d.sent-d.decoded()-int(d.m.Counts("gate").Dozed))
			})
		})
	}
}

// Cameras whose sizes tell nothing, or whose key pictures are too rare, are
// always decoded.
func TestDozesOnlyWhereSafe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gop, late  int
		busy, calm float64
	}{
		"constant size":        {25, 0, 4000, 4000},
		"hardly grows":         {25, 0, 1500, 1200},
		"rare key pictures":    {50, 0, 9000, 1200},
		"reordered":            {25, 2, 9000, 1200},
		"never seen to move":   {25, 0, 0, 1200},
		"as noisy as anything": {25, 0, 1300, 1300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDozing(t, c.gop, c.late)
				if c.busy > 0 {
					d.send(60, c.busy, pipeline.MoodBusy)
				}
				for range 600 {
					d.send(1, c.calm, pipeline.MoodCalm)
					require.Equal(t, d.sent, d.decoded())
				}
			})
		})
	}
}

// A recovery point goes on with the numbers of the pictures before it.
func TestDozesAfterIDROnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDozing(t, 25, 0)
		d.recovery = true
		d.learn(9000, 1200)
		d.send(250, 1200, pipeline.MoodCalm)
		require.Equal(t, d.sent, d.decoded())
	})
}

// A key picture that does not come out was no look.
func TestBrokenKeyPictureEndsDoze(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDozing(t, 25, 0)
		d.learn(9000, 1200)
		d.send(50, 1200, pipeline.MoodCalm)
		d.dec.broken = true
		before := d.decoded()
		d.send(25, 1200, pipeline.MoodCalm)
		require.Equal(t, 25, d.decoded()-before)
	})
}

// A camera is calm once nothing has moved and no track has for CalmAfter.
func TestMood(t *testing.T) {
	t.Parallel()
	moods := map[pipeline.Mood]time.Duration{} // since when
	at := time.Duration(0)
	det := &visiontest.Script{Detections: func(*media.Frame) []vision.Detection {
		return []vision.Detection{person(geom.Point{X: .5, Y: .5})}
	}}
	c, _ := newCamera(t, pipeline.CameraConfig{
		Detector: det, Gate: motionUntil(t0().Add(4 * time.Second)),
		Mood: func(m pipeline.Mood) {
			if _, known := moods[m]; !known {
				moods[m] = at
			}
		},
	})
	for ; at < 30*time.Second; at += 200 * time.Millisecond {
		stepFor(t, c, at, 200*time.Millisecond)
	}
	assert.Equal(t, time.Duration(0), moods[pipeline.MoodBusy])
	assert.Equal(t, 5*time.Second, moods[pipeline.MoodAwake].Round(time.Second))
	assert.NotContains(t, moods, pipeline.MoodCalm, "somebody stands there who has not been still for long, says the tracker")

	at = 0
	clear(moods)
	det.Detections = func(*media.Frame) []vision.Detection { return nil }
	c, _ = newCamera(t, pipeline.CameraConfig{
		Detector: det, Gate: motionUntil(t0().Add(4 * time.Second)),
		Mood: func(m pipeline.Mood) {
			if _, known := moods[m]; !known {
				moods[m] = at
			}
		},
	})
	for ; at < 30*time.Second; at += 200 * time.Millisecond {
		stepFor(t, c, at, 200*time.Millisecond)
	}
	assert.Equal(t, 4*time.Second+pipeline.CalmAfter, moods[pipeline.MoodCalm].Round(time.Second))
}
