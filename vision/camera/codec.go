package camera

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
)

// Limits of what is read.
const (
	MaxBytes   = 4 << 20 // of a YAML or JSON text
	MaxCameras = 2000    // in one text
)

// document is one YAML document: a camera, or a list of them.
type document struct {
	Cameras []File `yaml:"cameras"`
	File    `yaml:",inline"`
}

// Parse reads YAML: one camera per document, a list under "cameras", or both in
// different documents. Unknown fields are errors. Defaults are filled in, but
// nothing is validated; see ValidateAll.
func Parse(text []byte) ([]File, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("camera file: %d bytes, at most %d are allowed", len(text), MaxBytes)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	var out []File
	for {
		var d *document
		err := dec.Decode(&d)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, yamlError(err)
		}
		switch {
		case d == nil: // an empty document
		case d.Cameras == nil:
			out = append(out, d.File)
		case d.Camera != "" || !d.URL.IsZero() || d.Rules != nil || d.Zones != nil:
			return nil, errors.New(`camera file: a document has either "cameras" or one camera's fields`)
		default:
			out = append(out, d.Cameras...)
		}
		if len(out) > MaxCameras {
			return nil, fmt.Errorf("camera file: more than %d cameras", MaxCameras)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("camera file: no camera in it")
	}
	for i := range out {
		out[i] = out[i].WithDefaults()
		for j := range out[i].Rules {
			out[i].Rules[j].tidy()
		}
	}
	return out, nil
}

var (
	unknownField = regexp.MustCompile(`field (.*) not found in type .*`)
	goType       = regexp.MustCompile(` into (\[\])?[a-z0-9]+\.?[A-Za-z0-9]*$`)
	anyURL       = regexp.MustCompile(`(?i)[a-z]+s?://\S*`)
)

// yamlError rewrites the decoder's messages for people who do not write Go, and
// removes URLs: a misplaced one may hold a password.
func yamlError(err error) error {
	var list []string
	if te := (*yaml.TypeError)(nil); errors.As(err, &te) {
		list = te.Errors
	} else {
		list = []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var errs []error
	for _, s := range list {
		where, what, ok := strings.Cut(s, ": ")
		if !ok || !strings.HasPrefix(where, "line ") {
			where, what = "camera file", s
		}
		what = unknownField.ReplaceAllString(what, "unknown field \"$1\"")
		what = goType.ReplaceAllString(what, "")
		what = strings.ReplaceAll(what, "cannot unmarshal !!", "unexpected ")
		errs = append(errs, &events.FieldError{Field: where, Reason: anyURL.ReplaceAllString(what, Redacted)})
	}
	return errors.Join(errs...)
}

// EncodeYAML writes the cameras as YAML documents that Parse reads back as they
// are. With secrets false the URLs read "<redacted>".
func EncodeYAML(files []File, secrets bool) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for i := range files {
		var node yaml.Node
		if err := node.Encode(files[i]); err != nil {
			return nil, fmt.Errorf("encode camera %s: %w", files[i].Camera, err)
		}
		if secrets {
			reveal(&node, map[string]Secret{"url": files[i].URL, "detect_url": files[i].DetectURL})
		}
		if err := enc.Encode(&node); err != nil {
			return nil, fmt.Errorf("encode camera %s: %w", files[i].Camera, err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encode cameras: %w", err)
	}
	return b.Bytes(), nil
}

// reveal replaces values of the mapping.
func reveal(mapping *yaml.Node, by map[string]Secret) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if s, ok := by[mapping.Content[i].Value]; ok {
			mapping.Content[i+1].SetString(s.Reveal())
		}
	}
}

// EncodeJSON writes the camera as JSON that DecodeJSON reads back as it is. With
// secrets false, which is what json.Marshal does too, the URLs read
// "<redacted>".
func EncodeJSON(f File, secrets bool) ([]byte, error) {
	var v any = f
	if secrets {
		type plain File
		v = struct {
			plain
			URL       string `json:"url,omitempty"`
			DetectURL string `json:"detect_url,omitempty"`
		}{plain(f), f.URL.Reveal(), f.DetectURL.Reveal()}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode camera %s: %w", f.Camera, err)
	}
	return b, nil
}

// DecodeJSON reads one camera. Unknown fields are errors. Defaults are filled
// in, but nothing is validated.
func DecodeJSON(text []byte) (File, error) {
	if len(text) > MaxBytes {
		return File{}, fmt.Errorf("camera: %d bytes, at most %d are allowed", len(text), MaxBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var f File
	if err := dec.Decode(&f); err != nil {
		return File{}, jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return File{}, errors.New("camera: more than one JSON value")
	}
	return f.WithDefaults(), nil
}

func jsonError(err error) error {
	var ute *json.UnmarshalTypeError
	if errors.As(err, &ute) && ute.Field != "" {
		return &events.FieldError{Field: ute.Field, Reason: "unexpected " + strings.SplitN(ute.Value, " ", 2)[0]}
	}
	what := strings.TrimPrefix(err.Error(), "json: ")
	return &events.FieldError{Field: "camera", Reason: anyURL.ReplaceAllString(what, Redacted)}
}

// ruleJSON are the fields of Rule that are not parameters.
type ruleJSON struct {
	Name     string          `json:"name"`
	Kind     events.Kind     `json:"kind"`
	Zone     string          `json:"zone,omitempty"`
	Line     string          `json:"line,omitempty"`
	Classes  []string        `json:"classes,omitempty"`
	Schedule string          `json:"schedule,omitempty"`
	Severity events.Severity `json:"severity,omitempty"`
	MinScore float64         `json:"min_score,omitempty"`

	MinSize      float64 `json:"min_size,omitempty"`
	MaxSize      float64 `json:"max_size,omitempty"`
	MaxPerMinute int     `json:"max_per_minute,omitempty"`
}

// common returns the names of the fields of ruleJSON.
func common() []string {
	return []string{"name", "kind", "zone", "line", "classes", "schedule", "severity", "min_score", "min_size", "max_size", "max_per_minute"}
}

// MarshalJSON writes the parameters beside the other fields.
func (r Rule) MarshalJSON() ([]byte, error) {
	all := make(map[string]any, len(r.Params)+11)
	maps.Copy(all, r.Params)
	head, err := json.Marshal(ruleJSON{
		r.Name, r.Kind, r.Zone, r.Line, r.Classes, r.Schedule, r.Severity, r.MinScore, r.MinSize, r.MaxSize, r.MaxPerMinute,
	})
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(head, &fields); err != nil {
		return nil, err
	}
	for k, v := range fields { // these win
		all[k] = v
	}
	return json.Marshal(all)
}

// UnmarshalJSON takes fields that are not known for parameters.
func (r *Rule) UnmarshalJSON(b []byte) error {
	var head ruleJSON
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var all map[string]any
	if err := dec.Decode(&all); err != nil {
		return err
	}
	for _, k := range common() {
		delete(all, k)
	}
	if len(all) == 0 {
		all = nil
	}
	*r = Rule{
		head.Name, head.Kind, head.Zone, head.Line, head.Classes, head.Schedule, head.Severity, head.MinScore,
		head.MinSize, head.MaxSize, head.MaxPerMinute, all,
	}
	r.tidy()
	return nil
}

// tidy gives parameters one Go type per value, however they were read.
func (r *Rule) tidy() {
	if len(r.Params) == 0 {
		r.Params = nil
		return
	}
	for k, v := range r.Params {
		r.Params[k] = tidy(v)
	}
}

// tidy makes int of whole numbers and float64 of others, down to the leaves.
func tidy(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v // Validate refuses it
		}
		return tidy(f)
	case int64:
		return tidy(float64(v))
	case uint64:
		return tidy(float64(v))
	case int:
		return tidy(float64(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v)
		}
		return v
	case []any:
		for i := range v {
			v[i] = tidy(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = tidy(v[k])
		}
	}
	return v
}
