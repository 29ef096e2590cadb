package score_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/score"
)

// TestAgainstPycocotools scores made-up pictures with crowds, equal scores,
// objects of every size and more than a hundred detections in one; the figures
// come from an independent computation in NumPy after cocoeval.py.
func TestAgainstPycocotools(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"street", "busy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, found := readCOCO(t, filepath.Join("testdata", "coco", name))
			var want struct {
				Stats   []float64            `json:"stats"`
				Classes map[string][]float64 `json:"classes"`
			}
			b, err := os.ReadFile(filepath.Join("testdata", "coco", name+"_want.json"))
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(b, &want))
			c := score.ComputeCOCO(&d, found)
			got := []float64{
				c.AP, c.AP50, c.AP75, c.APSmall, c.APMedium, c.APLarge, c.AR1, c.AR10, c.AR100, c.ARSmall, c.ARMedium, c.ARLarge,
			}
			assert.InDeltaSlice(t, want.Stats, got, 1e-12)
			require.Len(t, c.Classes, len(want.Classes))
			for _, class := range c.Classes {
				got := []float64{class.AP, class.AP50, class.AP75, class.AR}
				assert.InDeltaSlice(t, want.Classes[class.Category], got, 1e-12, class.Category)
			}
		})
	}
}

func readCOCO(t *testing.T, path string) (score.Dataset, []score.Found) {
	t.Helper()
	truth, err := os.Open(path + "_truth.json")
	require.NoError(t, err)
	defer truth.Close()
	d, err := score.ReadCOCO(truth)
	require.NoError(t, err)
	results, err := os.Open(path + "_found.json")
	require.NoError(t, err)
	defer results.Close()
	found, err := d.ReadFound(results)
	require.NoError(t, err)
	return d, found
}

// small is one picture with a person and, beside it, something else.
func small(t *testing.T, more string) score.Dataset {
	t.Helper()
	d, err := score.ReadCOCO(strings.NewReader(`{"images":[{"id":"7","file_name":"day/a.jpg"}],
		"categories":[{"id":1,"name":"pedestrian"},{"id":2,"name":"car"}],
		"annotations":[{"image_id":7,"category_id":1,"bbox":[0,0,100,100]}` + more + `]}`))
	require.NoError(t, err)
	return d
}

func TestComputeCOCO(t *testing.T) {
	t.Parallel()
	hit := `{"file_name":"a.jpg","category":"person","bbox":[0,0,100,100],"score":0.9}`
	for name, c := range map[string]struct {
		more, found string
		ap, ar      float64
	}{
		"found":                     {"", hit, 1, 1},
		"not found":                 {"", "", 0, 0},
		"of a class without truth":  {"", `{"image_id":7,"category_id":2,"bbox":[0,0,100,100],"score":1},` + hit, 1, 1},
		"of a class never heard of": {"", `{"file_name":"a.jpg","category":"dog","bbox":[0,0,9,9],"score":1},` + hit, 1, 1},
		"an overlap of 0.72":        {"", strings.Replace(hit, "0,0,100,100", "0,0,72,100", 1), 0.5, 0.5},
		"twice":                     {"", hit + "," + hit, 1, 1},
		"in a crowd, three times": {
			`,{"image_id":7,"category_id":1,"bbox":[200,0,100,100],"iscrowd":1}`,
			hit + strings.Repeat(`,{"image_id":7,"category_id":1,"bbox":[210,0,10,10],"score":1}`, 3), 1, 1,
		},
		"difficult, twice": {
			`,{"image_id":7,"category_id":1,"bbox":[200,0,100,100],"difficult":1}`,
			hit + strings.Repeat(`,{"image_id":7,"category_id":1,"bbox":[200,0,100,100],"score":1}`, 2), 1, 1,
		},
		"a small one in a difficult one is a mistake": {
			`,{"image_id":7,"category_id":1,"bbox":[200,0,100,100],"difficult":1}`,
			hit + `,{"image_id":7,"category_id":1,"bbox":[210,0,10,10],"score":1}`, 0.5, 1,
		},
		"an object without a size is missed": {
			`,{"image_id":7,"category_id":1,"bbox":[200,0,0,0]}`, hit, 51.0 / 101, 0.5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := small(t, c.more)
			found, err := d.ReadFound(strings.NewReader("[" + c.found + "]"))
			require.NoError(t, err)
			got := score.ComputeCOCO(&d, found)
			assert.InDelta(t, c.ap, got.AP, 1e-9)
			assert.InDelta(t, c.ar, got.AR100, 1e-9)
			assert.InDelta(t, -1, got.APMedium, 0, "there is no medium object")
		})
	}
}

func TestReadFoundErrors(t *testing.T) {
	t.Parallel()
	d := small(t, "")
	for name, c := range map[string]struct{ text, want string }{
		"no array":         {`{}`, "not a JSON array"},
		"nothing":          {``, "not a JSON array"},
		"cut off":          {`[{"file_name":"a.jpg","category":"car","bbox":[0,0,1,1],"score":1}`, "after 1 detections"},
		"other picture":    {`[{"file_name":"b.jpg","category":"car","bbox":[0,0,1,1],"score":1}]`, `picture "b.jpg" is not in the annotations`},
		"other picture ID": {`[{"image_id":8,"category_id":1,"bbox":[0,0,1,1],"score":1}]`, `picture "8"`},
		"other category":   {`[{"image_id":7,"category_id":9,"bbox":[0,0,1,1],"score":1}]`, `category "9"`},
		"no box":           {`[{"image_id":7,"category_id":1,"score":1}]`, "no box or no score"},
		"short box":        {`[{"image_id":7,"category_id":1,"bbox":[1,2],"score":1}]`, "no box or no score"},
		"negative box":     {`[{"image_id":7,"category_id":1,"bbox":[1,2,-3,4],"score":1}]`, "no box or no score"},
		"no score":         {`[{"image_id":7,"category_id":1,"bbox":[0,0,1,1]}]`, "no box or no score"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := d.ReadFound(strings.NewReader(c.text))
			require.ErrorContains(t, err, "read detections: ")
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := score.ReadCOCO(strings.NewReader(`{"images":[{"id":1},{"id":"1"}]}`))
	require.ErrorContains(t, err, "two images have the id 1")
}

func FuzzReadFound(f *testing.F) {
	f.Add(`[{"file_name":"a.jpg","category":"car","bbox":[0,0,1,1],"score":1}]`)
	f.Add(`[{"image_id":"7","category_id":1,"bbox":[0,0,1,1],"score":1}]`)
	f.Fuzz(func(t *testing.T, text string) {
		d := small(t, "")
		found, err := d.ReadFound(strings.NewReader(text))
		if err != nil {
			return
		}
		c := score.ComputeCOCO(&d, found)
		for _, v := range []float64{c.AP, c.AP50, c.AR1, c.AR100} {
			if !(v >= 0 && v <= 1+1e-9) {
				t.Fatalf("%+v", c)
			}
		}
	})
}
