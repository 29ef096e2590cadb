package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTracksConfig(t *testing.T) {
	t.Parallel()
	c, err := parseConfig([]byte("tracks: {days: 7, max_gb: 0.5}\n"))
	require.NoError(t, err)
	assert.Equal(t, TracksConfig{Days: 7, GB: 0.5}, c.Tracks)
	c, err = parseConfig([]byte("tracks: {days: 0}\n"))
	require.NoError(t, err)
	assert.Equal(t, TracksConfig{Days: 0, GB: 5}, c.Tracks, "kept beside another field of its group")
	_, err = parseConfig([]byte("tracks: {days: -1, max_gb: .nan}\n"))
	require.ErrorContains(t, err, "tracks.days: ")
	require.ErrorContains(t, err, "tracks.max_gb: ")
}
