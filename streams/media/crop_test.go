package media_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
)

// ramp is a picture that is no media.Cropper: blue is the column, green the row.
type ramp struct{ picture }

func (*ramp) Size() (width, height int) { return 100, 80 }

func (*ramp) BGR(dst []byte, w, h int) error {
	for i := range w * h {
		dst[3*i], dst[3*i+1], dst[3*i+2] = byte(i%w), byte(i/w), 7
	}
	return nil
}

func TestCropOfAnyPicture(t *testing.T) {
	t.Parallel()
	dst := make([]byte, 3*4*2)
	require.NoError(t, media.Crop(&ramp{}, dst, media.Area{X: 10, Y: 20, W: 8, H: 4}, 4, 2))
	assert.Equal(t, []byte{
		11, 21, 7, 13, 21, 7, 15, 21, 7, 17, 21, 7,
		11, 23, 7, 13, 23, 7, 15, 23, 7, 17, 23, 7,
	}, dst, "each pixel is the middle of two by two, 10.5 rounded")
	require.NoError(t, media.Crop(&ramp{}, dst, media.Area{X: -40, Y: 78, W: 4, H: 4}, 4, 2))
	assert.Equal(t, []byte{0, 79, 7}, dst[len(dst)-3:], "the edge goes on")

	for _, a := range []media.Area{{}, {W: 1}, {W: 1, H: -1}, {X: math.NaN(), W: 1, H: 1}, {W: 1, H: math.Inf(1)}, {Y: 1e6, W: 1, H: 1}} {
		require.Error(t, media.Crop(&ramp{}, dst, a, 4, 2), "%v", a)
	}
	require.Error(t, media.Crop(&ramp{}, dst[:23], media.Area{W: 8, H: 4}, 4, 2))
	require.Error(t, media.Crop(&ramp{}, dst, media.Area{W: 8, H: 4}, 0, 2))
}
