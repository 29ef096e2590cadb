package evidence

import (
	"archive/zip"
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzPackage is in memory, which makes it a hundred times faster than files.
func FuzzPackage(f *testing.F) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{manifestName, signatureName, exportName, exportSignatureName, keyName, readmeName, "clip.mp4", "../x"} {
		w, err := z.Create(name)
		require.NoError(f, err)
		_, err = w.Write([]byte("{}"))
		require.NoError(f, err)
	}
	require.NoError(f, z.Close())
	f.Add(b.Bytes())
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readZip(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, name := range b.names {
			require.True(t, insideName(name))
		}
		r, err := verifyBundle(t.Context(), b, nil, nil)
		require.NoError(t, err)
		require.False(t, r.OK(), "nobody signed this")
	})
}
