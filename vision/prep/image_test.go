//go:build cgo

package prep_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/prep"
)

// halves is 80×40, its left half red and its right half blue.
func halves() *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, 80, 40))
	for y := range 40 {
		for x := range 80 {
			c := color.RGBA{R: 255, A: 255}
			if x >= 40 {
				c = color.RGBA{B: 255, A: 255}
			}
			m.SetRGBA(x, y, c)
		}
	}
	return m
}

func jpegBytes(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, halves(), &jpeg.Options{Quality: 95}))
	return b.Bytes()
}

// oriented puts an EXIF segment with the given orientation behind the SOI
// marker (TIFF 6.0, tag 274).
func oriented(jpg []byte, orientation byte) []byte {
	exif := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00")
	exif = append(exif, orientation, 0, 0, 0, 0, 0, 0)
	seg := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	return append(append(append([]byte{}, jpg[:2]...), append(seg, exif...)...), jpg[2:]...)
}

func TestDecodeHonoursEXIF(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		orientation byte
		w, h        int
		redX, redY  int // a pixel that must be red
	}{{1, 80, 40, 10, 20}, {3, 80, 40, 70, 20}, {6, 40, 80, 20, 10}, {8, 40, 80, 20, 70}} {
		m, err := prep.Decode(oriented(jpegBytes(t), c.orientation))
		require.NoError(t, err)
		w, h := m.Size()
		require.Equal(t, []int{c.w, c.h}, []int{w, h}, "orientation %d", c.orientation)
		px := make([]byte, 3*w*h)
		require.NoError(t, m.BGR(px, w, h))
		i := 3 * (c.redY*w + c.redX)
		assert.Greater(t, px[i+2], byte(200), "orientation %d", c.orientation)
		assert.Less(t, px[i], byte(60), "orientation %d", c.orientation)
		m.Release()
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, halves()))
	path := filepath.Join(t.TempDir(), "p.png")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	m, err := prep.Load(path)
	require.NoError(t, err)
	defer m.Release()

	gray := make([]byte, 8*4)
	require.NoError(t, m.Gray(gray, 8, 4))
	assert.Equal(t, byte(76), gray[0], "ITU-R BT.601: 0.299 of red")
	assert.Equal(t, byte(29), gray[7], "ITU-R BT.601: 0.114 of blue")

	l, err := prep.NewLetterbox(models.Input{Width: 64, Height: 64, Scale: 1, Pad: 114})
	require.NoError(t, err)
	dst := make([]float32, 3*64*64)
	g, err := l.Fill(dst, m)
	require.NoError(t, err)
	w, h := g.Content()
	require.Equal(t, []int{64, 32}, []int{w, h})
	require.InDelta(t, 255, dst[2*64*64], 0, "red plane, left")
	require.InDelta(t, 255, dst[63], 0, "blue plane, right")
	require.InDelta(t, 114, dst[40*64], 0, "padding")

	require.Error(t, m.BGR(make([]byte, 5), 4, 4))
	require.Error(t, m.BGR(nil, 0, 4))
	m.Release()
	require.ErrorContains(t, m.BGR(make([]byte, 48), 4, 4), "released")
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	good := jpegBytes(t)
	var p bytes.Buffer
	require.NoError(t, png.Encode(&p, halves()))
	huge := p.Bytes() // a header of more than 2^30 pixels ends OpenCV's process
	binary.BigEndian.PutUint32(huge[16:], 40_000)
	binary.BigEndian.PutUint32(huge[20:], 40_000)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "not a JPEG or PNG"},
		"text":        {[]byte("hello"), "not a JPEG or PNG"},
		"header only": {good[:30], "damaged"},
		"huge":        {huge, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := prep.Decode(c.data)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := prep.Load("nowhere.jpg")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestEncodeJPEG(t *testing.T) {
	t.Parallel()
	px := bytes.Repeat([]byte{255, 0, 0}, 64*48)
	b, err := prep.EncodeJPEG(px, 64, 48, 90)
	require.NoError(t, err)
	m, err := jpeg.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 64, 48), m.Bounds())
	r, _, bl, _ := m.At(30, 20).RGBA()
	require.Less(t, r>>8, uint32(20))
	require.Greater(t, bl>>8, uint32(230))
	_, err = prep.EncodeJPEG(px[1:], 64, 48, 90)
	require.ErrorContains(t, err, "encode jpeg")
}

func TestCanvas(t *testing.T) {
	t.Parallel()
	px := make([]byte, 3*640*360)
	before := bytes.Clone(px)
	c, err := prep.NewCanvas(px, 640, 360)
	require.NoError(t, err)
	defer c.Close()
	yellow := color.RGBA{R: 255, G: 255, A: 255}
	c.Box(geom.Box{Min: geom.Point{X: 0.5, Y: 0.5}, Max: geom.Point{X: 0.75, Y: 0.9}}, "người 0.81", yellow)
	c.Polygon([]geom.Point{{X: 0.1, Y: 0.1}, {X: 0.4, Y: 0.1}, {X: 0.4, Y: 0.4}}, "Cổng chợ", yellow)
	c.Line(geom.Point{X: 0.1, Y: 0.6}, geom.Point{X: 0.4, Y: 0.6}, "", yellow)
	c.Text(geom.Point{X: 5, Y: 5}, "outside", yellow)
	c.Text(geom.Point{X: -5, Y: -5}, "Đường ấp ữ ễ ặ ỹ ộ \x00\xff 你", yellow)
	require.Equal(t, before, px, "the original is untouched")
	at := func(x, y int) []byte { return c.Pixels()[3*(y*640+x):][:3] }
	require.Greater(t, at(320, 250)[1], byte(200), "left edge of the box")
	require.Greater(t, at(100, 215)[1], byte(200), "line")
	jpg, err := c.JPEG(90)
	require.NoError(t, err)
	if dir := os.Getenv("XACAM_KEEP"); dir != "" { // to look at the letters
		require.NoError(t, os.WriteFile(filepath.Join(dir, "canvas.jpg"), jpg, 0o600))
	}
	c.Close()
	c.Close()
	_, err = prep.NewCanvas(px, 641, 360)
	require.ErrorContains(t, err, "canvas")
}

// TestTextDistinguishesDiacritics: letters that differ only in their marks
// must look different.
func TestTextDistinguishesDiacritics(t *testing.T) {
	t.Parallel()
	seen := make(map[string]rune)
	for _, r := range "aàáảãạăằắẳẵặâầấẩẫậeèéẻẽẹêềếểễệiìíỉĩịoòóỏõọôồốổỗộơờớởỡợuùúủũụưừứửữựyỳýỷỹỵdđDĐ" {
		c, err := prep.NewCanvas(make([]byte, 3*80*80), 80, 80)
		require.NoError(t, err)
		c.Text(geom.Point{X: 0.2, Y: 0.8}, string(r), color.RGBA{R: 255, G: 255, B: 255, A: 255})
		if other, dup := seen[string(c.Pixels())]; dup {
			t.Errorf("%c looks like %c", r, other)
		}
		seen[string(c.Pixels())] = r
		c.Close()
	}
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, jpeg.Encode(&b, halves(), nil))
	f.Add(b.Bytes())
	f.Add(oriented(b.Bytes(), 6))
	var p bytes.Buffer
	require.NoError(f, png.Encode(&p, halves()))
	f.Add(p.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := prep.Decode(data)
		if err != nil {
			return
		}
		defer m.Release()
		if err := m.BGR(make([]byte, 3*8*8), 8, 8); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkEncodeJPEG1080p(b *testing.B) {
	px := make([]byte, 3*1920*1080)
	for i := range px {
		px[i] = byte(i * i >> 8)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := prep.EncodeJPEG(px, 1920, 1080, 85); err != nil {
			b.Fatal(err)
		}
	}
}
