package score

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/xacam/xacam/models"
)

// Dataset is what a COCO-style annotation file says.
type Dataset struct {
	Images []string // file names in the file's order
	Truths []Truth

	ids        map[identity]string // file name by ID
	order      []string            // file names in the order of their IDs
	categories map[identity]string // by ID
}

// Limits of what the parsers accept.
const (
	maxAnnotations = 512 << 20 // bytes of a file
	maxResults     = 5_000_000 // detections in a file
)

// identity is the ID of a picture or a category: a number, or a string that
// some tools write instead.
type identity string

// UnmarshalJSON takes a number or a string.
func (i *identity) UnmarshalJSON(b []byte) error {
	if text := ""; len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		*i = identity(text)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*i = identity(n)
	return nil
}

// compareIDs orders numbers by size, before everything else by its letters.
func compareIDs(a, b identity) int {
	x, errX := strconv.ParseInt(string(a), 10, 64)
	y, errY := strconv.ParseInt(string(b), 10, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

type cocoImage struct {
	ID       identity `json:"id"`
	FileName string   `json:"file_name"`
}

type cocoFile struct {
	Images     []cocoImage `json:"images"`
	Categories []struct {
		ID   identity `json:"id"`
		Name string   `json:"name"`
	} `json:"categories"`
	Annotations []struct {
		ImageID    identity        `json:"image_id"`
		CategoryID identity        `json:"category_id"`
		Box        json.RawMessage `json:"bbox"`
		Area       float64         `json:"area"`
		Crowd      int             `json:"iscrowd"`
		Difficult  int             `json:"difficult"`
	} `json:"annotations"`
}

// ReadCOCO reads annotations in COCO's JSON form. VOC's "difficult" and
// COCO's "iscrowd" become Ignore. Categories are renamed by Canonical. A box
// without a size, of which COCO has a few, is an object that nothing finds.
func ReadCOCO(r io.Reader) (Dataset, error) {
	var file cocoFile
	lr := &io.LimitedReader{R: r, N: maxAnnotations}
	if err := json.NewDecoder(lr).Decode(&file); err != nil {
		if lr.N == 0 {
			err = errors.New("file too large")
		}
		return Dataset{}, fmt.Errorf("read annotations: %w", err)
	}
	d := Dataset{ids: make(map[identity]string), categories: make(map[identity]string)}
	for _, i := range file.Images {
		if _, twice := d.ids[i.ID]; twice {
			return Dataset{}, fmt.Errorf("read annotations: two images have the id %s", i.ID)
		}
		d.ids[i.ID] = i.FileName
		d.Images = append(d.Images, i.FileName)
	}
	slices.SortStableFunc(file.Images, func(a, b cocoImage) int { return compareIDs(a.ID, b.ID) })
	for _, i := range file.Images {
		d.order = append(d.order, i.FileName)
	}
	for _, c := range file.Categories {
		d.categories[c.ID] = Canonical(c.Name)
	}
	for i, a := range file.Annotations {
		image, ok := d.ids[a.ImageID]
		category, known := d.categories[a.CategoryID]
		box, err := readBox(a.Box)
		if !ok || !known || err != nil {
			return Dataset{}, fmt.Errorf("read annotations: annotations[%d] has no image, category or size", i)
		}
		d.Truths = append(d.Truths, Truth{
			Image: image, Category: category, Box: box, Area: a.Area,
			Ignore: a.Crowd != 0 || a.Difficult != 0, Crowd: a.Crowd != 0,
		})
	}
	return d, nil
}

// ReadFound reads detections in the pictures of the dataset: an array of objects
// with "bbox" [left, top, width, height], "score", and either "file_name" and
// "category", as `xacam detect` writes them, or COCO's "image_id" and
// "category_id". A file name may have a folder that the annotations do not
// have, and the other way round. A picture that is not in the dataset is an
// error: the detections belong to something else.
func (d *Dataset) ReadFound(r io.Reader) ([]Found, error) {
	found, err := d.readFound(r)
	if err != nil {
		return nil, fmt.Errorf("read detections: %w", err)
	}
	return found, nil
}

func (d *Dataset) readFound(r io.Reader) ([]Found, error) {
	dec := json.NewDecoder(io.LimitReader(r, maxAnnotations))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("not a JSON array")
	}
	names := d.byName()
	var out []Found
	for i := 0; dec.More(); i++ {
		if i == maxResults {
			return nil, fmt.Errorf("more than %d detections", maxResults)
		}
		var f struct {
			FileName   string          `json:"file_name"`
			ImageID    identity        `json:"image_id"`
			Category   string          `json:"category"`
			CategoryID identity        `json:"category_id"`
			Box        json.RawMessage `json:"bbox"`
			Score      *float64        `json:"score"`
		}
		if err := dec.Decode(&f); err != nil {
			return nil, fmt.Errorf("detections[%d]: %w", i, err)
		}
		box, err := readBox(f.Box)
		if err != nil || f.Score == nil {
			return nil, fmt.Errorf("detections[%d] has no box or no score", i)
		}
		one := Found{Box: box, Score: *f.Score, Category: Canonical(f.Category)}
		var ok bool
		if f.FileName != "" {
			one.Image, ok = names[f.FileName]
			if !ok {
				one.Image, ok = names[path.Base(f.FileName)]
			}
		} else {
			one.Image, ok = d.ids[f.ImageID]
		}
		if !ok {
			return nil, fmt.Errorf("detections[%d]: picture %q is not in the annotations", i, f.FileName+string(f.ImageID))
		}
		if f.Category == "" {
			if one.Category, ok = d.categories[f.CategoryID]; !ok {
				return nil, fmt.Errorf("detections[%d]: category %q is not in the annotations", i, f.CategoryID)
			}
		}
		out = append(out, one)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("after %d detections: %w", len(out), err)
	}
	return out, nil
}

// byName returns the pictures by their names, and by the last part of them
// where only one has it.
func (d *Dataset) byName() map[string]string {
	names, twice := make(map[string]string), make(map[string]bool)
	for _, name := range d.Images {
		base := path.Base(name)
		if _, there := names[base]; there {
			twice[base] = true
		}
		names[base] = name
	}
	for base := range twice {
		delete(names, base)
	}
	for _, name := range d.Images {
		names[name] = name
	}
	return names
}

// readBox takes exactly four numbers, sizes not below 0.
func readBox(raw json.RawMessage) (Rect, error) {
	var v []float64
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&v); err != nil {
		return Rect{}, err
	}
	if len(v) != 4 || !(v[2] >= 0 && v[3] >= 0) || math.Abs(v[0])+math.Abs(v[1])+v[2]+v[3] > 1e9 {
		return Rect{}, errors.New("not a box")
	}
	return Rect(v), nil
}

// Canonical returns COCO's spelling of a class name, and any other in lower case.
func Canonical(label string) string { return strings.ToLower(models.ClassName(label)) }
