package tracklog

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
)

// days are cameras as the log meets them; each function gives the scenes of one
// hour. Times tremble as those of cheap cameras do.
func cameraHours() map[string]func(add func(*vision.Scene)) {
	tremble := func(r *rand.Rand) time.Duration {
		return 200*time.Millisecond + time.Duration(r.NormFloat64()*float64(2*time.Millisecond))
	}
	return map[string]func(func(*vision.Scene)){
		"busy": func(add func(*vision.Scene)) { // 30 tracks at 5 fps, never still
			st := newStreet(1)
			for range 5 * 3600 {
				add(st.next(tremble(st.r), 30))
			}
		},
		"ordinary": func(add func(*vision.Scene)) { // a fifth of the time one to six pass by, two are parked
			st := newStreet(2)
			for i := range 5 * 3600 {
				if minute := i / 300; i%300 < 60 || minute%10 == 0 {
					add(st.next(tremble(st.r), 2+minute%6))
				} else {
					add(st.hold(tremble(st.r)))
				}
			}
		},
		"quiet": func(add func(*vision.Scene)) { // nothing at all
			st := newStreet(3)
			for i := range 5 * 3600 {
				if i%10 == 0 {
					add(st.next(tremble(st.r), 0))
				} else {
					add(st.hold(tremble(st.r)))
				}
			}
		},
		"dozing": func(add func(*vision.Scene)) { // nothing, and key pictures only
			st := newStreet(4)
			for range 1800 {
				add(st.next(10*tremble(st.r), 0))
			}
		},
	}
}

// BenchmarkAdd is what a scene costs the analysis of a camera, deflating
// included. Budget: 20 µs with 30 tracks, which is 0.01 % of a core at 5 fps.
func BenchmarkAdd(b *testing.B) {
	l, err := New(Config{Dir: b.TempDir(), BlockBytes: 1 << 30})
	require.NoError(b, err)
	st := newStreet(1)
	scenes := make([]*vision.Scene, 1000)
	for i := range scenes {
		scenes[i] = st.next(200*time.Millisecond, 30)
	}
	tape := l.Tape("cho", Run{Started: start})
	var z deflater
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(scenes) {
			i = 0
		}
		if i%600 == 0 {
			drain(l, &z)
		}
		tape.Add(scenes[i])
		i++
	}
	tape.Close()
	drain(l, &z)
}

func drain(l *Log, z *deflater) {
	for {
		select {
		case j := <-l.jobs:
			if j.block != nil {
				_, _ = j.block.body(z)
			}
		default:
			return
		}
	}
}

// BenchmarkRead reads an hour, and says how large a day of such a camera is.
func BenchmarkRead(b *testing.B) {
	for name, hour := range cameraHours() {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			l, err := New(Config{Dir: dir, Queue: 10_000})
			require.NoError(b, err)
			tape := l.Tape("cho", Run{Started: start})
			scenes := 0
			hour(func(s *vision.Scene) { tape.Add(s); scenes++ })
			tape.Close()
			d := newDisk(l)
			for len(l.jobs) > 0 {
				d.do(b.Context(), <-l.jobs)
			}
			d.close()
			b.ReportAllocs()
			var bytes int64
			for b.Loop() {
				r, err := Open(b.Context(), dir, "cho", time.Time{}, start.AddDate(1, 0, 0))
				require.NoError(b, err)
				n := 0
				for {
					_, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(b, err)
					n++
				}
				bytes = r.Stats().Bytes
				r.Close()
				require.Equal(b, scenes, n)
			}
			b.ReportMetric(float64(scenes)*float64(b.N)/b.Elapsed().Seconds(), "scenes/s")
			b.ReportMetric(float64(bytes*24)/1e6, "MB/day")
			b.ReportMetric(1e9/float64(bytes*24), "days/GB")
		})
	}
}
