package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The sample says of every setting that it shows the default.
func TestSampleConfigurationIsTheDefault(t *testing.T) {
	t.Parallel()
	got, err := loadConfig("../../deploy/xacam.yaml")
	require.NoError(t, err)
	want := defaultConfig()
	require.NoError(t, want.validate())
	require.Equal(t, want, got)
}
