package streamtest_test

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/streamtest"
)

func TestClips(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]media.Codec{
		streamtest.H264: media.H264, streamtest.H264B: media.H264, streamtest.H265: media.H265,
		streamtest.H264Raw: media.H264, streamtest.H265Raw: media.H265,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := streamtest.Open(t, name)
			f := c.Format()
			assert.Equal(t, codec, f.Codec)
			assert.Equal(t, [2]int{320, 240}, [2]int{f.Width, f.Height})
			assert.InDelta(t, 25, f.FPS, 0.01)
			require.Len(t, c.Units(), 100)
			back, last := false, time.Duration(0)
			for i, u := range c.Units() {
				assert.Equal(t, i%25 == 0, u.Key, "unit %d", i)
				last = max(last, u.PTS)
				back = back || i > 0 && u.PTS < c.Units()[i-1].PTS
			}
			assert.Equal(t, name == streamtest.H264B, back, "timestamps go back")
			assert.Equal(t, 3960*time.Millisecond, last.Round(time.Millisecond))
		})
	}
}

func TestClipEndsAndRewinds(t *testing.T) {
	t.Parallel()
	c := streamtest.Open(t, streamtest.H264)
	for range 100 {
		_, err := c.Next()
		require.NoError(t, err)
	}
	_, err := c.Next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, c.Rewind())
	u, err := c.Next()
	require.NoError(t, err)
	require.True(t, u.Key)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	_, err := streamtest.ParseAnnexB(nil, media.H264, 25)
	require.Error(t, err)
	_, err = streamtest.ParseAnnexB([]byte{0, 0, 1, 0x65, 0x88, 0x80}, media.H264, 25)
	require.Error(t, err, "no parameter sets")
	_, err = streamtest.ParseMP4([]byte("not an mp4"))
	require.Error(t, err)
}

func FuzzParseAnnexB(f *testing.F) {
	for _, name := range []string{streamtest.H264Raw, streamtest.H265Raw} {
		b, err := os.ReadFile(streamtest.Path(f, name))
		require.NoError(f, err)
		f.Add(b[:4000], name == streamtest.H265Raw)
	}
	f.Fuzz(func(t *testing.T, b []byte, h265 bool) {
		codec := media.H264
		if h265 {
			codec = media.H265
		}
		c, err := streamtest.ParseAnnexB(b, codec, 25)
		if err != nil {
			return
		}
		total := 0
		for _, u := range c.Units() {
			total += u.Size()
		}
		if total > len(b) {
			t.Fatalf("%d bytes out of %d", total, len(b))
		}
	})
}
