package behaviour_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/track"
)

// crowdKinds are the kinds that follow objects for longer than the tracker, with
// parameters that make them fire often.
func crowdKinds() map[events.Kind]string {
	return map[events.Kind]string{
		behaviour.KindLoitering:      "{dwell: 3, grace: 2}",
		behaviour.KindCrowd:          "{count: 2, hold: 0.5}",
		behaviour.KindWrongWay:       "{direction: [1, 0], distance: 1}",
		behaviour.KindStoppedVehicle: "{dwell: 3, grace: 2}",
		behaviour.KindCongestion:     "{count: 2, speed: 5, hold: 0.5}",
		behaviour.KindSpeeding:       "{limit: 5, over: 0}",
	}
}

// walker is an object that walks at random, stands, leaves and comes again.
type walker struct {
	x, y, vx, vy float64
	gone         bool
}

func (w *walker) walk(rnd *rand.Rand, dt float64) {
	switch rnd.IntN(40) {
	case 0:
		w.vx, w.vy = .2*rnd.NormFloat64(), .1*rnd.NormFloat64()
	case 1:
		w.vx, w.vy = 0, 0
	case 2:
		w.gone = !w.gone
	}
	w.x, w.y = min(max(w.x+w.vx*dt, 0), 1), min(max(w.y+w.vy*dt, .2), 1)
}

// randomWalk shows a scene of walkers seen through noise, misses and the real
// tracker, with blind times, pictures that stand still, and then nothing for a
// minute and a half.
func randomWalk(t *testing.T, seed uint64, label string, each func(*vision.Scene)) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	tracker, err := track.New(track.Config{})
	require.NoError(t, err)
	walkers := make([]walker, 1+rnd.IntN(8))
	for i := range walkers {
		walkers[i] = walker{x: rnd.Float64(), y: .2 + .8*rnd.Float64(), vx: .2 * rnd.NormFloat64()}
	}
	fps := []float64{2, 5, 10}[rnd.IntN(3)]
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const seconds, empty = 60, 90
	for i := range int((seconds + empty) * fps) {
		at = at.Add(time.Duration(float64(time.Second) / fps))
		if rnd.IntN(200) == 0 {
			at = at.Add(time.Duration(rnd.IntN(20_000)) * time.Millisecond)
		}
		s := &vision.Scene{Camera: "cam", At: at, Aspect: 16.0 / 9}
		over := i > int(seconds*fps)
		if s.Held = rnd.IntN(10) == 0 && !over; s.Held {
			s.Tracks, s.Ended = tracker.Hold(at)
			each(s)
			continue
		}
		var dets []vision.Detection
		for j := range walkers {
			w := &walkers[j]
			w.walk(rnd, 1/fps)
			if w.gone || over || rnd.IntN(5) == 0 {
				continue
			}
			n := func() float64 { return .004 * rnd.NormFloat64() }
			b := geom.Box{Min: geom.Point{X: w.x - .04 + n(), Y: w.y - .15 + n()}, Max: geom.Point{X: w.x + .04 + n(), Y: w.y + n()}}
			dets = append(dets, vision.Detection{Label: label, Score: .5 + .4*rnd.Float64(), Box: b})
		}
		s.Tracks, s.Ended = tracker.Update(at, dets)
		each(s)
	}
}

// TestInvariants holds the kinds to what must be true of any scene: no two
// signals with one key, none about an object outside of the zone, events that
// are raised before they are cleared, none that stays open, and the same again
// from the same scenes.
func TestInvariants(t *testing.T) {
	t.Parallel()
	for kind, params := range crowdKinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			raised := 0
			for seed := range uint64(40) {
				label := "car"
				if kind == behaviour.KindLoitering || kind == behaviour.KindCrowd {
					label = "person"
				}
				first := invariants(t, kind, params, label, seed)
				require.Equal(t, first, invariants(t, kind, params, label, seed), "not the same twice")
				raised += strings.Count(first, "raised")
			}
			assert.Greater(t, raised, 8, "nothing was tested")
		})
	}
}

// invariants plays one random walk and returns what came of it.
func invariants(t *testing.T, kind events.Kind, params, label string, seed uint64) string {
	t.Helper()
	d, ok := behaviour.Lookup(kind)
	require.True(t, ok)
	r := rule(t)
	b, delays, err := d.New(r, []byte(params))
	require.NoError(t, err)
	engine, err := lifecycle.NewEngine(lifecycle.Config{
		Source: events.Source{Type: "camera", ID: "cam"}, Rules: lifecycle.Rules{{Kind: kind, Name: "r"}: delays},
	})
	require.NoError(t, err)
	var out strings.Builder
	open := map[events.Key]bool{}
	randomWalk(t, seed, label, func(s *vision.Scene) {
		signals := b.Observe(s)
		var keys []events.Key
		for i := range signals {
			require.NotContains(t, keys, signals[i].Key, "twice in one scene")
			keys = append(keys, signals[i].Key)
			require.Equal(t, s.At, signals[i].At)
			checkPlace(t, &r, s, &signals[i])
		}
		for _, c := range engine.Step(s.At, signals) {
			key := c.Event.Key()
			require.Equal(t, c.Event.State == events.StateCleared, open[key], "raised twice, or cleared without having been raised")
			open[key] = c.Event.State == events.StateRaised
			fmt.Fprintln(&out, c.Event.State, c.Event.ID, key, c.Event.OccurredAt, c.Event.ClearedAt, c.Event.Attributes)
		}
	})
	require.Empty(t, engine.Open(), "seed %d", seed)
	return out.String()
}

// checkPlace: who a signal is about is a track of the scene whose foot is in the
// zone, give or take the trembling of its box.
func checkPlace(t *testing.T, r *behaviour.Rule, s *vision.Scene, sig *events.Signal) {
	t.Helper()
	if sig.Subject == nil {
		return
	}
	i := slices.IndexFunc(s.Tracks, func(tr vision.Track) bool { return tr.ID == sig.Subject.Track })
	require.GreaterOrEqual(t, i, 0, "about a track that is not there")
	tr := s.Tracks[i]
	require.False(t, tr.Coasting(s.At), "about a predicted box")
	off := r.Zones[0].Area.Distance(tr.Box.Foot(), geom.Point{X: tr.Box.Width(), Y: tr.Box.Height()})
	limit := .1001
	if sig.Key.Kind == behaviour.KindStoppedVehicle { // it is the place where it stands that counts
		limit = 1
	}
	require.LessOrEqual(t, off, limit, "outside of the zone")
}

// FuzzFollow shows the kinds arbitrary scenes: nothing may panic, and all events
// end.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{1, 255, 3, 128, 2, 0, 255, 130, 1, 3, 3, 3, 4, 250, 130, 2, 4, 250, 250, 250, 1, 3, 4, 5}, uint8(0))
	f.Add([]byte{2, 130, 140, 150, 2, 131, 141, 151, 7, 130, 140, 150, 2, 0, 1, 2, 3, 130, 140, 150}, uint8(1))
	kinds := []events.Kind{
		behaviour.KindLoitering, behaviour.KindCrowd, behaviour.KindWrongWay, behaviour.KindStoppedVehicle, behaviour.KindCongestion,
		behaviour.KindSpeeding,
	}
	params := crowdKinds()
	f.Fuzz(func(t *testing.T, in []byte, which uint8) {
		kind := kinds[int(which)%len(kinds)]
		d, _ := behaviour.Lookup(kind)
		r := rule(t)
		r.Classes = []string{"person"}
		b, delays, err := d.New(r, []byte(params[kind]))
		if err != nil {
			t.Fatal(err)
		}
		engine, err := lifecycle.NewEngine(lifecycle.Config{
			Source: events.Source{Type: "camera", ID: "cam"}, Rules: lifecycle.Rules{{Kind: kind, Name: "r"}: delays},
		})
		if err != nil {
			t.Fatal(err)
		}
		var at time.Time
		random(in, func(s *vision.Scene) {
			at = s.At
			engine.Step(at, b.Observe(s))
		})
		for range 60 {
			at = at.Add(time.Second)
			engine.Step(at, b.Observe(&vision.Scene{Camera: "cam", At: at}))
		}
		if n := len(engine.Open()); n != 0 {
			t.Fatalf("%s: %d events stay open", kind, n)
		}
	})
}

// BenchmarkFollow is the cost of one look at 30 objects in the zone, of which
// half move; at 5 looks a second 1 % of a core is 2 ms a look.
func BenchmarkFollow(b *testing.B) {
	for kind, params := range crowdKinds() {
		b.Run(string(kind), func(b *testing.B) {
			d, _ := behaviour.Lookup(kind)
			r := rule(b)
			r.Classes = []string{"car"}
			behave, _, err := d.New(r, []byte(params))
			require.NoError(b, err)
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := &vision.Scene{Camera: "cam", Aspect: 16.0 / 9, Tracks: make([]vision.Track, 30)}
			k := 0
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(200 * time.Millisecond)
				k++
				s.At = at
				for i := range s.Tracks {
					x, y := .32+.36*float64(i%6)/6, .35+.3*float64(i/6)/5
					if i%2 == 0 {
						x += .002 * float64(k%50)
					}
					s.Tracks[i] = vision.Track{
						ID: uint64(i + 1 + 30*(k/50)), Label: "car", Score: .6, First: at, Seen: at,
						Box: geom.Box{Min: geom.Point{X: x - .03, Y: y - .05}, Max: geom.Point{X: x + .03, Y: y}},
					}
				}
				behave.Observe(s)
			}
		})
	}
}
