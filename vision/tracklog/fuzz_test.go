package tracklog

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
)

func contextWithEnd(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

// sample returns the columns of a short block.
func sample(seed uint64) ([]byte, [columns]int) {
	st := newStreet(seed)
	var e encoder
	for i := range 20 {
		s := st.next(200*time.Millisecond, i%4)
		if i%5 == 0 {
			s.Stills = []vision.Still{{ID: 1, Kind: vision.StillAdded, Actor: &vision.Actor{Label: "person"}}}
			s.View = []vision.ViewFault{{Kind: "dark"}}
		}
		e.next.take(s)
		e.add()
	}
	return joinColumns(e.col)
}

// FuzzDecode reads columns of any bytes: it ends, within the limits, and what it
// read can be written and read again as it is.
func FuzzDecode(f *testing.F) {
	for seed := range uint64(3) {
		raw, lengths := sample(seed)
		cuts := make([]byte, columns)
		for i, n := range lengths {
			cuts[i] = byte(n)
		}
		f.Add(raw, cuts)
	}
	f.Add([]byte{}, make([]byte, columns))
	f.Fuzz(func(t *testing.T, raw, cuts []byte) {
		var lengths [columns]int
		left := len(raw)
		for i := range lengths {
			if lengths[i] = left; i < len(cuts) && i+1 < columns {
				lengths[i] = min(left, int(cuts[i]))
			}
			left -= lengths[i]
		}
		col, err := splitColumns(raw, lengths)
		require.NoError(t, err)
		var dec, again decoder
		var enc encoder
		dec.reset(0, col)
		var scenes []vision.Scene
		for dec.more() {
			q, err := dec.scene()
			if err != nil {
				break
			}
			if !q.keepable() {
				t.Fatal("more in a scene than a writer may write")
			}
			var s vision.Scene
			q.give(&s, new(buffers))
			enc.next.take(&s)
			if int64Safe(&s) {
				scenes = append(scenes, snapped(&s))
				enc.add()
			}
		}
		out, lengths := joinColumns(enc.col)
		col, err = splitColumns(out, lengths)
		require.NoError(t, err)
		again.reset(enc.first, col)
		for i := range scenes {
			q, err := again.scene()
			require.NoError(t, err)
			var s vision.Scene
			q.give(&s, new(buffers))
			s.Camera = "cho"
			require.Equal(t, scenes[i], s)
		}
	})
}

// int64Safe reports whether the scene's times are such as a clock gives: others
// cannot be subtracted from each other.
func int64Safe(s *vision.Scene) bool {
	const most = int64(1) << 50
	sane := func(at time.Time) bool { ms := at.UnixMilli(); return ms > -most && ms < most }
	ok := sane(s.At)
	for i := range s.Tracks {
		t := &s.Tracks[i]
		ok = ok && sane(t.First) && sane(t.Seen) && t.StillFor < 1<<60 && t.StillFor > -1<<60
	}
	for i := range s.Stills {
		ok = ok && sane(s.Stills[i].Since) && sane(s.Stills[i].Seen)
		if a := s.Stills[i].Actor; a != nil {
			ok = ok && sane(a.Contact) && sane(a.Near)
		}
	}
	for _, v := range s.View {
		ok = ok && sane(v.Since)
	}
	return ok
}

// FuzzFile reads any bytes as a file.
func FuzzFile(f *testing.F) {
	raw, lengths := sample(1)
	ms := start.UnixMilli()
	body, err := (&sealed{sceneHeader{run: ms, first: ms, last: ms + 3800, scenes: 20, lengths: lengths}, raw}).body(new(deflater))
	require.NoError(f, err)
	run, err := runBody(&Run{Started: start})
	require.NoError(f, err)
	whole := frame(frame(nil, run), body)
	f.Add(whole)
	f.Add(append([]byte("xtr1 no"), whole...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// The sum is made right, so that what is behind it is tried too.
		if len(b) > headBytes && string(b[:4]) == blockMagic {
			b = append(b, frame(nil, b[headBytes:])...)
		}
		var read []loaded
		r := &Reader{ended: t.Context().Err, from: math.MinInt64, to: math.MaxInt64, free: make(chan []byte)}
		r.loadHour(func(l loaded) bool {
			read = append(read, l)
			return true
		}, new(inflater), b)
		blocks := make(chan loaded, len(read))
		for _, l := range read {
			blocks <- l
		}
		close(blocks)
		r.blocks = blocks
		for {
			s, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.LessOrEqual(t, len(s.Tracks), maxTracks)
		}
		require.LessOrEqual(t, validPrefix(b), len(b))
	})
}
