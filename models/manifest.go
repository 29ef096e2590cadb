// Package models knows which detection models exist, where they come from and
// how they want their input: manifests, the built-in catalogue, a folder of
// the user's own, and downloading with a checksum. It runs nothing.
package models

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxBytes is the largest model file that is read or downloaded.
const MaxBytes = 512 << 20

// Manifest describes one model file. It is a value: copies share only the
// slices and maps, which nobody modifies.
type Manifest struct {
	Name        string  `yaml:"name"`                  // lower case, digits, dot, dash, underscore; at most 64
	Family      string  `yaml:"family"`                // how the output is decoded; see vision/family
	Description string  `yaml:"description,omitempty"` // one sentence for the operator
	File        string  `yaml:"file"`                  // file name in the model folder, no path
	URL         string  `yaml:"url,omitempty"`         // https; empty for a file the user brings
	Bytes       int64   `yaml:"bytes,omitempty"`       // exact size; 0 when unknown
	SHA256      string  `yaml:"sha256"`                // of the file, 64 lower-case hex digits
	Licence     string  `yaml:"licence"`               // SPDX identifier
	Source      string  `yaml:"source,omitempty"`      // where it comes from, for people
	Input       Input   `yaml:"input,flow"`
	Params      Params  `yaml:"params,omitempty"` // what the family leaves open
	Labels      Labels  `yaml:"labels,flow"`      // class names in the order of the output
	NMS         float64 `yaml:"nms"`              // overlap (IoU) above which the weaker box of a class goes; default 0.45
	MinScore    float64 `yaml:"min_score"`        // below it nothing is reported unless asked for; default 0.35
}

// Input says how a picture becomes the model's input tensor:
// (value × Scale − Mean) / Std for each channel in the given order. A model
// with whole numbers as input gets the result rounded to the nearest one.
type Input struct {
	Width     int       `yaml:"width"`               // pixels, 32 to 4096
	Height    int       `yaml:"height"`              // pixels, 32 to 4096
	Layout    string    `yaml:"layout"`              // "nchw" (default), or "nhwc" where the channels of a pixel lie together
	Channels  string    `yaml:"channels"`            // order, "bgr" (default) or "rgb"
	Scale     float64   `yaml:"scale"`               // 1 (default) keeps 0–255, 0.00392156862745098 makes 0–1
	Mean      []float64 `yaml:"mean,flow,omitempty"` // after Scale, in channel order; default 0
	Std       []float64 `yaml:"std,flow,omitempty"`  // after Scale, in channel order; default 1
	Letterbox string    `yaml:"letterbox"`           // where the picture lies: "top_left" (default), "center", or "stretch" to fill the input
	Pad       int       `yaml:"pad"`                 // grey level around the picture before Scale, 0 to 255

	// MultipleOf says that the model works at other sizes too, if they are
	// multiples of this number of pixels; 0 says that it does not. A picture that
	// is wider than the input is then not padded to a square.
	MultipleOf int `yaml:"multiple_of,omitempty"`

	// Extra are the values of inputs beside the picture, by name, such as
	// {orig_target_sizes: [640, 640]}.
	Extra map[string][]float64 `yaml:"extra,flow,omitempty"`
}

// Tight returns the input without the padding that a picture of the given size
// in pixels would leave over, as far as MultipleOf allows: more than a third of
// a square input is grey where the picture is 16:9.
func (in Input) Tight(width, height int) Input {
	if in.MultipleOf == 0 || width <= 0 || height <= 0 {
		return in
	}
	scale := math.Min(float64(in.Width)/float64(width), float64(in.Height)/float64(height))
	side := func(picture, full int) int {
		content := int(math.Ceil(float64(picture)*scale - 1e-6))
		return min(full, max(1, (content+in.MultipleOf-1)/in.MultipleOf)*in.MultipleOf)
	}
	in.Width, in.Height = side(width, in.Width), side(height, in.Height)
	return in
}

// Labels are class names. In YAML they are a list, or the word "coco".
type Labels []string

//go:embed catalogue/coco.labels
var cocoLabels string

// COCO returns the 80 class names of COCO in the order models use.
func COCO() []string { return strings.Split(strings.TrimSpace(cocoLabels), "\n") }

// UnmarshalYAML accepts a list of names or the word coco.
func (l *Labels) UnmarshalYAML(unmarshal func(any) error) error {
	var word string
	if err := unmarshal(&word); err == nil {
		if word != "coco" {
			return fmt.Errorf("labels: %q is neither a list nor \"coco\"", word)
		}
		*l = COCO()
		return nil
	}
	return unmarshal((*[]string)(l))
}

// MarshalYAML writes COCO's names as the word coco.
func (l Labels) MarshalYAML() (any, error) {
	if slices.Equal(l, COCO()) {
		return "coco", nil
	}
	return []string(l), nil
}

const maxManifest = 1 << 20 // bytes of YAML

// Parse reads one manifest. Unknown fields are errors; so is a second
// document. The error lists every problem.
func Parse(data []byte) (Manifest, error) {
	if len(data) > maxManifest {
		return Manifest{}, fmt.Errorf("parse model manifest: %d bytes are more than %d", len(data), maxManifest)
	}
	m := Manifest{
		NMS: 0.45, MinScore: 0.35,
		Input: Input{Layout: "nchw", Channels: "bgr", Scale: 1, Letterbox: "top_left"},
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&m); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		return Manifest{}, fmt.Errorf("parse model manifest: %w", err)
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return Manifest{}, errors.New("parse model manifest: more than one document in the file")
	}
	if err := m.validate(); err != nil {
		return Manifest{}, fmt.Errorf("model manifest %q: %w", m.Name, err)
	}
	return m, nil
}

// YAML returns the manifest as Parse reads it.
func (m *Manifest) YAML() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(m), enc.Close()); err != nil {
		return nil, fmt.Errorf("write model manifest: %w", err)
	}
	return out.Bytes(), nil
}

var (
	nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	fileRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	sumRE  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// validate returns every problem, joined.
func (m *Manifest) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameRE.MatchString(m.Name), "name: %q must be lower-case letters, digits, dots, dashes, at most 64", m.Name)
	check(nameRE.MatchString(m.Family), "family: %q must be lower-case letters, digits, dots, dashes, at most 64", m.Family)
	check(fileRE.MatchString(m.File) && filepath.Base(m.File) == m.File, "file: %q must be a plain file name", m.File)
	if m.URL != "" {
		u, err := url.Parse(m.URL)
		check(err == nil && u.Scheme == "https" && u.Host != "", "url: must be https://…")
	}
	check(m.Bytes >= 0 && m.Bytes <= MaxBytes, "bytes: %d is not in 0…%d", m.Bytes, int64(MaxBytes))
	check(sumRE.MatchString(m.SHA256), "sha256: needs 64 lower-case hex digits (sha256sum FILE prints them)")
	check(m.Licence != "", "licence: needs the SPDX identifier")
	check(len(m.Labels) > 0 && len(m.Labels) <= maxLabels, "labels: needs 1 to %d names, has %d", maxLabels, len(m.Labels))
	for i, l := range m.Labels {
		check(strings.TrimSpace(l) != "" && len(l) <= 64, "labels[%d]: %q must be 1 to 64 bytes", i, l)
	}
	check(m.NMS > 0 && m.NMS <= 1, "nms: %v is not in (0,1]", m.NMS)
	check(m.MinScore >= 0 && m.MinScore < 1, "min_score: %v is not in [0,1)", m.MinScore)
	errs = append(errs, m.Input.validate()...)
	return errors.Join(append(errs, m.Params.validate()...)...)
}

func (in *Input) validate() (errs []error) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(in.Width >= 32 && in.Width <= 4096, "input.width: %d is not in 32…4096", in.Width)
	check(in.Height >= 32 && in.Height <= 4096, "input.height: %d is not in 32…4096", in.Height)
	check(in.Layout == "nchw" || in.Layout == "nhwc", "input.layout: %q is not one of [nchw nhwc]", in.Layout)
	check(in.Channels == "bgr" || in.Channels == "rgb", "input.channels: %q is not one of [bgr rgb]", in.Channels)
	check(slices.Contains([]string{"top_left", "center", "stretch"}, in.Letterbox),
		"input.letterbox: %q is not one of [top_left center stretch]", in.Letterbox)
	check(in.Pad >= 0 && in.Pad <= 255, "input.pad: %d is not in 0…255", in.Pad)
	check(in.Scale > 0 && in.Scale <= 1e6, "input.scale: %v is not in (0,1e6]", in.Scale)
	check(len(in.Mean) == 0 || len(in.Mean) == 3, "input.mean: needs 3 numbers, has %d", len(in.Mean))
	check(len(in.Std) == 0 || len(in.Std) == 3, "input.std: needs 3 numbers, has %d", len(in.Std))
	for i, v := range in.Mean {
		check(math.Abs(v) <= 1e6, "input.mean[%d]: %v is not a usable number", i, v) // false for NaN
	}
	for i, v := range in.Std {
		check(v > 1e-6 && v <= 1e6, "input.std[%d]: %v is not in (0,1e6]", i, v)
	}
	check(in.MultipleOf == 0 || in.MultipleOf >= 4 && in.MultipleOf <= 128 && in.Width%in.MultipleOf == 0 && in.Height%in.MultipleOf == 0,
		"input.multiple_of: %d is not in 4…128, or the input's width and height are no multiples of it", in.MultipleOf)
	check(in.MultipleOf == 0 || in.Letterbox != "stretch", "input.multiple_of: a picture that is stretched has no padding to save")
	check(in.MultipleOf == 0 || len(in.Extra) == 0, "input.multiple_of: a model with input.extra has one size only")
	check(len(in.Extra) <= 8, "input.extra: %d inputs are more than 8", len(in.Extra))
	for _, name := range slices.Sorted(maps.Keys(in.Extra)) {
		values := in.Extra[name]
		check(name != "" && len(values) > 0 && len(values) <= 64, "input.extra[%q]: needs 1 to 64 numbers, has %d", name, len(values))
		check(!slices.ContainsFunc(values, func(v float64) bool { return !(math.Abs(v) <= 1e9) }),
			"input.extra[%q]: %v are not usable numbers", name, values)
	}
	return errs
}
