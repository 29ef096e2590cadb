package evidence

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func mp4Box(typ string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(out, typ...), body...)
}

func be32(v ...uint32) (out []byte) {
	for _, n := range v {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return out
}

// FuzzTimeline: whatever a clip says, what is made of it is in order or nothing.
func FuzzTimeline(f *testing.F) {
	good := bytes.Join([][]byte{
		mp4Box("ftyp"), mp4Box("prft", be32(1<<24, 1, 4000000000, 0, 0, 7200)),
		mp4Box("moof", mp4Box("mfhd", be32(0, 1)), mp4Box("traf", mp4Box("tfdt", be32(1<<24, 0, 0)),
			mp4Box("trun", be32(0x01000f01, 2, 0, 3600, 5, 0, 7200, 3600, 5, 0, 7200)))),
		mp4Box("mdat", []byte("picture")),
	}, nil)
	line, err := readTimeline(bytes.NewReader(good), int64(len(good)), fromNTP(4000000000<<32).Add(40*time.Millisecond))
	require.NoError(f, err)
	require.Len(f, line, 1)
	require.True(f, line[0].sure)
	require.Equal(f, 80*time.Millisecond, line.end())
	f.Add(good)
	f.Add(good[:60])
	f.Add(mp4Box("prft", make([]byte, 24)))
	f.Fuzz(func(t *testing.T, b []byte) {
		line, err := readTimeline(bytes.NewReader(b), int64(len(b)), time.Unix(1_800_000_000, 0))
		if err != nil {
			return
		}
		for i := range line {
			require.True(t, !line[i].sure || line[i].end >= line[i].at)
		}
		line.places(time.Unix(1_800_000_000, 0))
		line.sure(line.end() / 2)
	})
}
