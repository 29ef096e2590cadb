//go:build cgo

package avdec_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

// TestRelease lets goroutines use and release frames in random orders while
// their decoders are closed.
func TestRelease(t *testing.T) {
	t.Parallel()
	file := open(t, clip(t, "a.mp4", "320x240", 30, x264()...))
	all := units(t, file, -1)
	var wg sync.WaitGroup
	for seed := range uint64(20) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			d, err := avdec.New(avdec.Config{Format: file.Format()})
			if !assert.NoError(t, err) {
				return
			}
			var frames []*media.Frame
			var inner sync.WaitGroup
			closeAt := random.IntN(len(all))
			for i, au := range all {
				if i == closeAt {
					inner.Go(func() { assert.NoError(t, d.Close()) })
				}
				out, err := d.Decode(au)
				if err != nil {
					assert.ErrorIs(t, err, avdec.ErrClosed)
					break
				}
				frames = append(frames, out...)
			}
			random.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
			for _, f := range frames {
				inner.Go(func() {
					err := f.Picture.BGR(make([]byte, 3*64*48), 64, 48)
					if err != nil {
						assert.ErrorIs(t, err, avdec.ErrReleased)
					}
				})
				inner.Go(f.Release)
				inner.Go(f.Release)
			}
			inner.Wait()
			assert.NoError(t, d.Close())
			assert.Equal(t, 0, d.Stats().Live)
			_, err = d.Decode(all[0])
			assert.ErrorIs(t, err, avdec.ErrClosed)
			_, err = d.Flush()
			assert.ErrorIs(t, err, avdec.ErrClosed)
		})
	}
	wg.Wait()
}

// TestMemoryIsFlat opens, uses and closes decoders and files many times.
func TestMemoryIsFlat(t *testing.T) { //nolint:paralleltest // it measures the process
	path := clip(t, "a.mp4", "640x480", 10, x264()...)
	round := func() {
		file, err := avdec.Open(path)
		require.NoError(t, err)
		d, err := avdec.New(avdec.Config{Format: file.Format()})
		require.NoError(t, err)
		frames := decode(t, d, units(t, file, -1))
		for _, f := range frames {
			require.NoError(t, f.Picture.BGR(make([]byte, 3*416*312), 416, 312))
		}
		require.NoError(t, file.Rewind())
		f, err := file.ReadFrame()
		require.NoError(t, err)
		require.NoError(t, d.Close())
		require.NoError(t, file.Close())
		release(append(frames, f))
		_, err = avdec.Open("/dev/null")
		require.Error(t, err)
	}
	for range 15 {
		round()
	}
	before := residentKiB(t)
	for range 40 {
		round()
	}
	grown := residentKiB(t) - before
	assert.Less(t, grown, 12<<10, "KiB more than after 15 rounds; each uses 5 MiB of pictures")
}

func residentKiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "VmRSS:")
	require.True(t, ok)
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return n
}
