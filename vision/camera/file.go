// Package camera is the camera file: what `xacam apply` reads, the API takes
// and the database keeps about one camera, in one shape.
package camera

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
)

// Point is x and y in [0,1] of the picture, y down; in a calibration's ground
// also metres. It is written [x, y].
type Point [2]float64

// UnmarshalJSON takes exactly two numbers.
func (p *Point) UnmarshalJSON(b []byte) error {
	var xy []*float64
	if err := json.Unmarshal(b, &xy); err != nil || len(xy) != 2 || xy[0] == nil || xy[1] == nil {
		return errors.New("a point must be two numbers, [x, y]")
	}
	*p = Point{*xy[0], *xy[1]}
	return nil
}

// UnmarshalYAML takes exactly two numbers.
func (p *Point) UnmarshalYAML(unmarshal func(any) error) error {
	var xy []*float64
	if unmarshal(&xy) != nil || len(xy) != 2 || xy[0] == nil || xy[1] == nil {
		return &yaml.TypeError{Errors: []string{"a point must be two numbers, [x, y]"}} // others are still reported
	}
	*p = Point{*xy[0], *xy[1]}
	return nil
}

// File is one camera. Parse and DecodeJSON fill in defaults; a File made by hand
// is used after WithDefaults. A File is plain data and may be copied, but copies
// share maps and slices.
type File struct {
	Camera      string          `yaml:"camera" json:"camera"` // slug, unique
	Name        string          `yaml:"name,omitempty" json:"name,omitempty"`
	Hamlet      string          `yaml:"hamlet,omitempty" json:"hamlet,omitempty"` // slug
	Location    *Location       `yaml:"location,omitempty" json:"location,omitempty"`
	URL         Secret          `yaml:"url,omitempty" json:"url,omitzero"`               // main stream: live view, clips
	DetectURL   Secret          `yaml:"detect_url,omitempty" json:"detect_url,omitzero"` // substream for detection; default URL
	Transport   string          `yaml:"transport,omitempty" json:"transport,omitempty"`  // TransportTCP, the default, or TransportUDP
	Detect      Detect          `yaml:"detect" json:"detect"`
	Zones       map[string]Zone `yaml:"zones,omitempty" json:"zones,omitempty"`
	Lines       map[string]Line `yaml:"lines,omitempty" json:"lines,omitempty"`
	Masks       [][]Point       `yaml:"masks,omitempty,flow" json:"masks,omitempty"` // areas that are never looked at
	Calibration *Calibration    `yaml:"calibration,omitempty" json:"calibration,omitempty"`
	Rules       []Rule          `yaml:"rules,omitempty" json:"rules,omitempty"`
}

// Transports of RTP.
const (
	TransportTCP = "tcp"
	TransportUDP = "udp"
)

// Location is where the camera stands and looks.
type Location struct {
	Lat     float64  `yaml:"lat" json:"lat"` // WGS 84 degrees
	Lon     float64  `yaml:"lon" json:"lon"`
	Bearing *float64 `yaml:"bearing,omitempty" json:"bearing,omitempty"` // degrees clockwise from north, [0,360)
	FOV     *float64 `yaml:"fov,omitempty" json:"fov,omitempty"`         // horizontal field of view, degrees
}

// Detect says how the camera's pictures are looked at.
type Detect struct {
	FPS      float64 `yaml:"fps" json:"fps"`                         // inferences a second, 0.5 to 30; default 5
	Model    string  `yaml:"model,omitempty" json:"model,omitempty"` // name of a manifest; default the server's
	MinScore float64 `yaml:"min_score" json:"min_score"`             // of detections that may become tracks, in (0,1); default 0.35

	// Reid is the name of a manifest of the family embedding, which finds tracks
	// again that were lost for a few seconds; default none.
	Reid string `yaml:"reid,omitempty" json:"reid,omitempty"`
}

// Zone is an area of the picture.
type Zone struct {
	Area []Point `yaml:"area,flow" json:"area"`
}

// Line is a line in the picture; side a is on the left hand of someone walking
// from From to To.
type Line struct {
	From Point `yaml:"from,flow" json:"from"`
	To   Point `yaml:"to,flow" json:"to"`
}

// Calibration maps four points of the picture to the ground.
type Calibration struct {
	Image  []Point `yaml:"image,flow" json:"image"`
	Metres []Point `yaml:"metres,flow" json:"metres"`
}

// Rule is one thing to watch for. What is not listed here is a parameter of the
// kind, written beside the others.
type Rule struct {
	Name     string          `yaml:"name"` // slug, unique within the camera
	Kind     events.Kind     `yaml:"kind"`
	Zone     string          `yaml:"zone,omitempty"`
	Line     string          `yaml:"line,omitempty"`
	Classes  []string        `yaml:"classes,omitempty,flow"` // default all
	Schedule string          `yaml:"schedule,omitempty"`     // see events/schedule; default always
	Severity events.Severity `yaml:"severity,omitempty"`     // default the kind's
	MinScore float64         `yaml:"min_score,omitempty"`    // default 0: what the tracker accepts

	// MinSize and MaxSize limit the height of an object's box, as a share of the
	// picture's height, in [0,1]; 0 is no limit. Height, as it hardly changes
	// when somebody turns or swings the arms.
	MinSize float64 `yaml:"min_size,omitempty"`
	MaxSize float64 `yaml:"max_size,omitempty"`
	// MaxPerMinute is how many events the rule may raise within a minute before
	// the next ones are grouped into one; 0 is lifecycle.DefaultMaxPerMinute, -1
	// no limit.
	MaxPerMinute int `yaml:"max_per_minute,omitempty"`

	Params map[string]any `yaml:",inline"` // nil, bool, int, float64, string, []any, map[string]any
}

// WithDefaults returns f with defaults filled in.
func (f File) WithDefaults() File {
	if f.Name == "" {
		f.Name = f.Camera
	}
	if f.Transport == "" {
		f.Transport = TransportTCP
	}
	if f.Detect.FPS == 0 {
		f.Detect.FPS = 5
	}
	if f.Detect.MinScore == 0 {
		f.Detect.MinScore = 0.35
	}
	return f
}

// StreamForDetection returns the URL whose pictures are looked at.
func (f File) StreamForDetection() Secret {
	if f.DetectURL.IsZero() {
		return f.URL
	}
	return f.DetectURL
}

// Source returns what the camera's events say about their source.
func (f File) Source() events.Source {
	return events.Source{Type: "camera", ID: f.Camera, Name: f.Name, Hamlet: f.Hamlet}
}

// Place returns what the camera's events say about their place; commune is the
// national code.
func (f File) Place(commune string) events.Place {
	p := events.Place{Commune: commune}
	if f.Location != nil {
		lat, lon := f.Location.Lat, f.Location.Lon
		p.Lat, p.Lon = &lat, &lon
	}
	return p
}

// KeepSecrets returns f with each URL that reads Redacted replaced by that of
// old: a client of the API sends back what it was shown.
func (f File) KeepSecrets(old File) File {
	if f.URL.Reveal() == Redacted {
		f.URL = old.URL
	}
	if f.DetectURL.Reveal() == Redacted {
		f.DetectURL = old.DetectURL
	}
	return f
}

// ZoneNames returns the names of the zones in alphabetical order.
func (f File) ZoneNames() []string { return slices.Sorted(maps.Keys(f.Zones)) }

// LineNames returns the names of the lines in alphabetical order.
func (f File) LineNames() []string { return slices.Sorted(maps.Keys(f.Lines)) }
