package score

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Dataset is what a COCO-style annotation file says.
type Dataset struct {
	Images []string // file names in the file's order
	Truths []Truth
}

const maxAnnotations = 256 << 20 // bytes

// ReadCOCO reads annotations in COCO's JSON form. VOC's "difficult" and
// COCO's "iscrowd" become Ignore. Categories are renamed by Canonical.
func ReadCOCO(r io.Reader) (Dataset, error) {
	var file struct {
		Images []struct {
			ID       int    `json:"id"`
			FileName string `json:"file_name"`
		} `json:"images"`
		Categories []struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
		} `json:"categories"`
		Annotations []struct {
			ImageID    int  `json:"image_id"`
			CategoryID int  `json:"category_id"`
			Box        Rect `json:"bbox"`
			Crowd      int  `json:"iscrowd"`
			Difficult  int  `json:"difficult"`
		} `json:"annotations"`
	}
	lr := &io.LimitedReader{R: r, N: maxAnnotations}
	if err := json.NewDecoder(lr).Decode(&file); err != nil {
		if lr.N == 0 {
			err = errors.New("file too large")
		}
		return Dataset{}, fmt.Errorf("read annotations: %w", err)
	}
	var d Dataset
	images, categories := make(map[int]string), make(map[int]string)
	for _, i := range file.Images {
		images[i.ID] = i.FileName
		d.Images = append(d.Images, i.FileName)
	}
	for _, c := range file.Categories {
		categories[c.ID] = Canonical(c.Name)
	}
	for i, a := range file.Annotations {
		image, ok := images[a.ImageID]
		category, known := categories[a.CategoryID]
		if !ok || !known || a.Box[2] <= 0 || a.Box[3] <= 0 {
			return Dataset{}, fmt.Errorf("read annotations: annotations[%d] has no image, category or size", i)
		}
		d.Truths = append(d.Truths, Truth{
			Image: image, Category: category, Box: a.Box, Ignore: a.Crowd != 0 || a.Difficult != 0,
		})
	}
	return d, nil
}

// Canonical returns COCO's spelling of a class name: lower case, and COCO's
// word where VOC and some label files have another.
func Canonical(label string) string {
	l := strings.ToLower(strings.TrimSpace(label))
	switch strings.ReplaceAll(strings.ReplaceAll(l, " ", ""), "_", "") {
	case "motorbike":
		return "motorcycle"
	case "aeroplane":
		return "airplane"
	case "sofa":
		return "couch"
	case "tvmonitor":
		return "tv"
	case "pottedplant":
		return "potted plant"
	case "diningtable":
		return "dining table"
	case "pedestrian":
		return "person"
	}
	return l
}
