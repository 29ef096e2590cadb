package avdec

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
)

func TestSplitAnnexB(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   string
		want []string
	}{
		"empty":            {"", nil},
		"no start code":    {"\x67\x42\x00", nil},
		"both start codes": {"\x00\x00\x00\x01\x67a\x00\x00\x01\x68b", []string{"\x67a", "\x68b"}},
		"trailing zeros":   {"\x00\x00\x01\x67a\x00\x00\x00\x00\x00\x01\x68b\x00", []string{"\x67a", "\x68b"}},
		"empty units":      {"\x00\x00\x01\x00\x00\x01\x68b\x00\x00\x01", []string{"\x68b"}},
		"leading noise":    {"noise\x00\x00\x01\x68b", []string{"\x68b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, u := range splitAnnexB([]byte(tt.in)) {
				got = append(got, string(u))
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestSplitPrefixed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   string
		size int
		want []string
		err  string
	}{
		"empty":           {"", 4, nil, ""},
		"four bytes":      {"\x00\x00\x00\x02ab\x00\x00\x00\x01c", 4, []string{"ab", "c"}, ""},
		"one byte":        {"\x02ab\x01c", 1, []string{"ab", "c"}, ""},
		"empty unit":      {"\x00\x00\x00\x01c", 2, []string{"c"}, ""},
		"past the end":    {"\x00\x01c\x00\x09d", 2, []string{"c"}, "NAL unit of 9 bytes with 1 left: bitstream is broken"},
		"cut off length":  {"\x00\x01c\x00", 2, []string{"c"}, "1 bytes left for a length of 2: bitstream is broken"},
		"largest length":  {"\xff\xff\xff\xffa", 4, nil, "NAL unit of 4294967295 bytes with 1 left: bitstream is broken"},
		"no length field": {"ab", 4, nil, "2 bytes left for a length of 4: bitstream is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			units, err := splitPrefixed([]byte(tt.in), tt.size)
			var got []string
			for _, u := range units {
				got = append(got, string(u))
			}
			assert.Equal(t, tt.want, got)
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.err)
				require.ErrorIs(t, err, errBitstream)
			}
		})
	}
}

func TestParseExtra(t *testing.T) {
	t.Parallel()
	avcC := "\x01\x42\x00\x1e\xff\xe1\x00\x03\x67ab\x01\x00\x02\x68c"
	hvcC := "\x01" + string(make([]byte, 20)) + "\x03\x03" +
		"\xa0\x00\x01\x00\x03\x40\x01v" + "\xa1\x00\x01\x00\x03\x42\x01s" + "\xa2\x00\x02\x00\x03\x44\x01p\x00\x03\x44\x01q"
	for name, tt := range map[string]struct {
		codec media.Codec
		in    string
		sets  []string
		size  int
		fails bool
	}{
		"nothing":       {media.H264, "", nil, 0, false},
		"Annex B":       {media.H264, "\x00\x00\x00\x01\x68c\x00\x00\x01\x67ab", []string{"\x67ab", "\x68c"}, 0, false},
		"avcC":          {media.H264, avcC, []string{"\x67ab", "\x68c"}, 4, false},
		"avcC cut off":  {media.H264, avcC[:10], nil, 4, true},
		"avcC no PPS":   {media.H264, avcC[:11], []string{"\x67ab"}, 4, false},
		"avcC short":    {media.H264, "\x01\x42", nil, 4, true},
		"hvcC":          {media.H265, hvcC, []string{"\x40\x01v", "\x42\x01s", "\x44\x01p", "\x44\x01q"}, 4, false},
		"hvcC cut off":  {media.H265, hvcC[:len(hvcC)-8], []string{"\x40\x01v", "\x42\x01s"}, 4, true},
		"hvcC no array": {media.H265, hvcC[:23], nil, 4, true},
		"hvcC short":    {media.H265, hvcC[:22], nil, 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := parseExtra(tt.codec, []byte(tt.in))
			assert.Equal(t, tt.fails, err != nil, "%v", err)
			assert.Equal(t, tt.size, p.lengthSize)
			var got []string
			for _, u := range p.all() {
				got = append(got, string(u))
			}
			assert.Equal(t, tt.sets, got)
		})
	}
}

// FuzzBitstream: whatever the bytes, units lie within them and are not empty.
func FuzzBitstream(f *testing.F) {
	f.Add([]byte("\x01\x42\x00\x1e\xff\xe1\x00\x03\x67ab\x01\x00\x02\x68c"), uint8(3))
	f.Add([]byte("\x00\x00\x00\x01\x67a\x00\x00\x01\x68b"), uint8(0))
	f.Add(make([]byte, 64), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		total := 0
		check := func(units [][]byte) {
			for _, u := range units {
				require.NotEmpty(t, u)
				total += len(u)
			}
		}
		annexB := splitAnnexB(b)
		check(annexB)
		require.LessOrEqual(t, total, len(b))
		for _, u := range annexB {
			require.False(t, bytes.Contains(u, []byte{0, 0, 1}))
		}
		total = 0
		units, _ := splitPrefixed(b, int(size%4)+1)
		check(units)
		require.LessOrEqual(t, total, len(b))
		for _, codec := range []media.Codec{media.H264, media.H265} {
			p, _ := parseExtra(codec, b)
			require.LessOrEqual(t, p.lengthSize, 4)
			for _, u := range p.all() {
				require.NotEmpty(t, u)
			}
		}
	})
}
