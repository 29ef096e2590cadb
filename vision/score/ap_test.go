package score_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/score"
)

func TestAP(t *testing.T) {
	t.Parallel()
	box := func(x float64) score.Rect { return score.Rect{x, 0, 10, 10} }
	truth := func(x float64, ignore bool) score.Truth {
		return score.Truth{Image: "a", Category: "car", Box: box(x), Ignore: ignore}
	}
	found := func(x, s float64) score.Found {
		return score.Found{Image: "a", Category: "car", Box: box(x), Score: s}
	}
	two := []score.Truth{truth(0, false), truth(100, false)}
	for name, c := range map[string]struct {
		truths []score.Truth
		found  []score.Found
		want   float64
	}{
		"all":                 {two, []score.Found{found(0, 0.9), found(100, 0.8)}, 1},
		"none":                {two, nil, 0},
		"half":                {two, []score.Found{found(0, 0.9)}, 0.5},
		"mistake first":       {two, []score.Found{found(50, 0.95), found(0, 0.9), found(100, 0.8)}, 2. / 3},
		"mistake between":     {two, []score.Found{found(0, 0.9), found(50, 0.85), found(100, 0.8)}, 0.5 + 0.5*2./3},
		"mistake last":        {two, []score.Found{found(0, 0.9), found(100, 0.8), found(50, 0.1)}, 1},
		"found twice":         {two, []score.Found{found(0, 0.9), found(1, 0.85), found(100, 0.8)}, 0.5 + 0.5*2./3},
		"difficult not found": {append([]score.Truth{truth(200, true)}, two...), []score.Found{found(0, 0.9), found(100, 0.8)}, 1},
		"difficult found": {
			append([]score.Truth{truth(200, true)}, two...),
			[]score.Found{found(200, 0.99), found(201, 0.98), found(0, 0.9), found(100, 0.8)},
			1,
		},
		"overlap just enough": {two[:1], []score.Found{found(3.3, 0.9)}, 1},
		"overlap too small":   {two[:1], []score.Found{found(3.4, 0.9)}, 0},
		"other picture":       {two[:1], []score.Found{{Image: "b", Category: "car", Box: box(0), Score: 1}}, 0},
		"other class":         {two[:1], []score.Found{{Image: "a", Category: "bus", Box: box(0), Score: 1}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			classes, mean := score.AP(c.truths, c.found, 0.5)
			require.Len(t, classes, 1)
			assert.InDelta(t, c.want, mean, 1e-9)
			assert.Equal(t, "car", classes[0].Category)
		})
	}
	classes, mean := score.AP([]score.Truth{truth(0, true)}, nil, 0.5)
	assert.Empty(t, classes, "a class with only difficult objects has no AP")
	assert.Zero(t, mean)
}

func TestReadCOCO(t *testing.T) {
	t.Parallel()
	d, err := score.ReadCOCO(strings.NewReader(`{"images":[{"id":7,"file_name":"a.jpg"}],
		"categories":[{"id":1,"name":"motorbike"}],
		"annotations":[{"image_id":7,"category_id":1,"bbox":[1,2,3,4],"difficult":1}]}`))
	require.NoError(t, err)
	require.Equal(t, []string{"a.jpg"}, d.Images)
	require.Equal(t, []score.Truth{{Image: "a.jpg", Category: "motorcycle", Box: score.Rect{1, 2, 3, 4}, Ignore: true}}, d.Truths)

	for name, text := range map[string]string{
		"not JSON":    "{",
		"no image":    `{"annotations":[{"image_id":7,"bbox":[1,2,3,4]}]}`,
		"short box":   `{"images":[{"id":1}],"categories":[{"id":1}],"annotations":[{"image_id":1,"category_id":1,"bbox":[1,2]}]}`,
		"no category": `{"images":[{"id":1}],"annotations":[{"image_id":1,"category_id":1,"bbox":[1,2,3,4]}]}`,
	} {
		_, err := score.ReadCOCO(strings.NewReader(text))
		require.ErrorContains(t, err, "read annotations", name)
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Motorbike": "motorcycle", "aeroplane": "airplane", "tvmonitor": "tv", "sofa": "couch", "pottedplant": "potted plant",
		"diningtable": "dining table", "Dining Table": "dining table", " person ": "person", "vehicle": "vehicle",
	} {
		assert.Equal(t, want, score.Canonical(in))
	}
}

func FuzzReadCOCO(f *testing.F) {
	f.Add(`{"images":[{"id":7,"file_name":"a.jpg"}],"categories":[{"id":1,"name":"car"}],"annotations":[{"image_id":7,"category_id":1,"bbox":[1,2,3,4]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := score.ReadCOCO(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, x := range d.Truths {
			if x.Box[2] < 0 || x.Box[3] < 0 {
				t.Fatalf("%+v", x)
			}
		}
	})
}
