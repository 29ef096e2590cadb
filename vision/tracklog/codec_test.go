package tracklog

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
)

// fill sets every field of v that a scene can have to something random, so that
// a field that somebody adds to a scene and forgets here makes the tests fail.
func fill(r *rand.Rand, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.UnixMilli(1_700_000_000_000 + r.Int64N(1e9)).UTC()))
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(r.Int64N(1e6) * int64(time.Millisecond))
	case v.CanFloat():
		v.SetFloat(float64(r.IntN(201)) / 200)
	case v.CanUint():
		v.SetUint(r.Uint64() >> r.IntN(64))
	case v.CanInt():
		v.SetInt(r.Int64N(100))
	case v.Kind() == reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case v.Kind() == reflect.String:
		v.SetString([]string{"person", "car", "", "xe máy"}[r.IntN(4)])
	case v.Kind() == reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case v.Kind() == reflect.Slice:
		if n := r.IntN(5); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(r, v.Index(i))
			}
		}
	case v.Kind() == reflect.Struct:
		for _, f := range v.Fields() {
			fill(r, f)
		}
	default:
		panic("a scene has a " + v.Type().String() + ", which the log does not know")
	}
}

// evolve makes the next scene out of s: most of it stays.
func evolve(r *rand.Rand, s vision.Scene) vision.Scene {
	next := randomScene(r)
	if r.IntN(4) == 0 {
		return next.Scene
	}
	before := s.At
	s.At = s.At.Add(time.Duration(150+r.IntN(100)) * time.Millisecond)
	s.Held, s.Ended = r.IntN(2) == 0, nil
	tracks := make([]vision.Track, 0, len(s.Tracks))
	for _, t := range s.Tracks {
		if t.Prev = t.Box; t.Seen.Equal(before) || r.IntN(3) == 0 {
			since := t.Seen.Add(-t.StillFor)
			t.Seen = s.At
			t.StillFor = s.At.Sub(since)
		}
		switch r.IntN(12) {
		case 0:
			s.Ended = append(s.Ended, t.ID)
			continue
		case 1:
			t.Marks = next.marks()
		case 2:
			fill(r, reflect.ValueOf(&t.Box).Elem())
		case 3:
			fill(r, reflect.ValueOf(&t.Score).Elem())
		}
		tracks = append(tracks, t)
	}
	if s.Tracks = tracks; len(tracks) == 0 {
		s.Tracks = nil
	}
	if r.IntN(3) == 0 {
		s.Tracks = append(s.Tracks, next.Tracks...)
	}
	stills := make([]vision.Still, len(s.Stills))
	for i, x := range s.Stills {
		if x.Seen.Equal(before) {
			x.Seen = s.At
		}
		stills[i] = x
	}
	if s.Stills = stills; len(stills) == 0 {
		s.Stills = nil
	}
	if r.IntN(5) == 0 {
		s.Stills, s.View = next.Stills, next.View
	}
	return s
}

type randomised struct{ vision.Scene }

func (s randomised) marks() []vision.Mark {
	for i := range s.Tracks {
		if s.Tracks[i].Marks != nil {
			return s.Tracks[i].Marks
		}
	}
	return nil
}

func randomScene(r *rand.Rand) (s randomised) {
	fill(r, reflect.ValueOf(&s.Scene).Elem())
	return s
}

// Every field of a scene comes back, whatever follows what, and snapping is what
// writing and reading does.
func TestScenesComeBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var enc encoder
		var want []vision.Scene
		s := randomScene(r).Scene
		for range 40 {
			s.Camera = ""
			want = append(want, s)
			enc.next.take(&s)
			require.True(t, enc.next.keepable())
			enc.add()
			s = evolve(r, s)
		}
		raw, lengths := joinColumns(enc.col)
		h := sceneHeader{run: 5, seq: 7, first: enc.first, last: enc.prev.at, scenes: uint64(enc.scenes), lengths: lengths}
		if h.last < h.first {
			h.last = h.first // times of this test go anywhere
		}
		body, err := (&sealed{h, raw}).body(new(deflater))
		require.NoError(t, err)
		got, packed, err := parseHeader(body)
		require.NoError(t, err)
		require.Equal(t, h, got)
		_, col, err := new(inflater).columns(nil, &got, packed)
		require.NoError(t, err)
		var dec decoder
		var b buffers
		var snapper Snapper
		dec.reset(got.first, col)
		for i := range want {
			require.True(t, dec.more(), "seed %d, scene %d", seed, i)
			q, err := dec.scene()
			require.NoError(t, err, "seed %d, scene %d", seed, i)
			var s vision.Scene
			q.give(&s, &b)
			require.Equal(t, want[i], s, "seed %d, scene %d", seed, i)
			snapped := want[i]
			snapper.Snap(&snapped)
			require.Equal(t, want[i], snapped)
		}
		require.False(t, dec.more())
	}
}
