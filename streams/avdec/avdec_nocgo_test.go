//go:build !cgo

package avdec_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

func TestUnavailable(t *testing.T) {
	t.Parallel()
	_, err := avdec.New(avdec.Config{Format: media.Format{Codec: media.H264}})
	assert.ErrorIs(t, err, avdec.ErrUnavailable)
	_, err = avdec.Open("a.mp4")
	assert.ErrorIs(t, err, avdec.ErrUnavailable)
	_, err = avdec.NewWriter(avdec.WriterConfig{Path: "a.mp4"})
	assert.ErrorIs(t, err, avdec.ErrUnavailable)
}
