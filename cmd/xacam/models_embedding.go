package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/second"
)

// How many numbers an embedding has; a classifier's output may look the same.
const leastEmbedding, mostEmbedding = 64, 8192

// usualAlike is the similarity from which two tracks look the same, for models
// that nobody has measured: most are trained with a like margin.
const usualAlike = .5

// isEmbedding reports whether the outputs are one row of numbers that are no
// probabilities.
func isEmbedding(outputs []vision.Tensor) bool {
	if len(outputs) != 1 {
		return false
	}
	o := outputs[0]
	n := len(o.Data)
	if len(o.Shape) < 1 || slices.Max(o.Shape) != n || n < leastEmbedding || n > mostEmbedding {
		return false
	}
	var sum float64
	for _, v := range o.Data {
		if sum += float64(v); v < 0 {
			return true
		}
	}
	return sum < .99 || sum > 1.01
}

// embedding completes the manifest of a model that tells objects of one class
// apart.
func (p *proposal) embedding(outputs []vision.Tensor) error {
	if !isEmbedding(outputs) {
		return fmt.Errorf("its outputs %v are not those of family %s: one row of %d to %d numbers that are no probabilities",
			outputs, second.FamilyEmbedding, leastEmbedding, mostEmbedding)
	}
	m := &p.manifest
	m.Family, m.MinScore = second.FamilyEmbedding, usualAlike
	in := &m.Input
	in.Channels, in.Scale, in.Letterbox = "bgr", 1, "stretch"
	if p.o.channels != "" {
		in.Channels = p.o.channels
	}
	if p.o.letterbox != "" {
		in.Letterbox = p.o.letterbox
	}
	p.notes = append(p.notes,
		fmt.Sprintf("Output %v is taken for an embedding: numbers whose direction says how an object looks (family %s). A classifier's may look the same.",
			outputs[0], m.Family),
		fmt.Sprintf("No ONNX file says how it wants its picture. Taken are: the whole crop, stretched, %s, 0 to 255. Models trained with PyTorch "+
			"often want rgb, scale 0.00392156862745098, mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225] (--channels, or a manifest).", in.Channels),
		fmt.Sprintf("min_score %v is the similarity from which two tracks may be one; measure it where you have pictures of the same persons.", m.MinScore))
	switch {
	case p.labels != nil:
		m.Labels = p.labels
	case strings.Contains(m.Name, "person") || 2*in.Height >= 3*in.Width:
		m.Labels = models.Labels{"person"}
		p.notes = append(p.notes, "It is taken to be about persons; give other classes with --labels, one a line.")
	default:
		m.Labels = models.Labels{"person"}
		p.missing = append(p.missing, "which classes it is about is not in the file; give them with --labels, one a line")
	}
	return nil
}

// judge loads the model as it will be used: it fits its manifest, or the error
// says what does not.
func judge(rt *ort.Runtime, m models.Manifest, file string) error {
	if m.Family != second.FamilyEmbedding {
		det, err := detect.New(rt, detect.Config{Manifest: m, Path: file, Workers: 1})
		if err != nil {
			return fmt.Errorf("the manifest does not fit the model: %w", err)
		}
		return det.Close()
	}
	e, err := second.NewEmbedder(rt, second.ModelConfig{Manifest: m, Path: file, Workers: 1})
	if err != nil {
		return fmt.Errorf("the manifest does not fit the model: %w", err)
	}
	return e.Close()
}

// tryIt says what to do with an added model.
func tryIt(m models.Manifest) string {
	if m.Family == second.FamilyEmbedding {
		return "name it in a camera's file: detect: {reid: " + m.Name + "}"
	}
	return "try it on pictures of yours with: xacam detect --model " + m.Name + " IMAGE"
}
