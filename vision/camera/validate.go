package camera

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
)

// Limits of one camera.
const (
	maxItems  = 64 // zones, lines, masks, rules each
	maxText   = 200
	maxURL    = 2000
	maxParams = 16 << 10 // bytes of one rule's parameters
	maxDepth  = 8        // of a parameter's nesting
)

var (
	slugSyntax  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	modelSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	hostSyntax  = regexp.MustCompile(`^(\[[0-9A-Fa-f:.%a-z]+\]|[^\s\[\]/?#@:]+)(:\d{1,5})?$`)
)

const slugWanted = "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"

// Options are what a camera file does not say.
type Options struct {
	Versions map[string]int    // of the rules, by name; missing is 1
	Calendar schedule.Calendar // local time and holidays
	Prefix   string            // of the fields in errors, "cameras[2]."
}

// Plan is a camera file made ready to run. The behaviours are for one goroutine;
// the rest never changes.
type Plan struct {
	Behaviours []behaviour.Behaviour // in the order of the rules
	Delays     lifecycle.Rules       // by kind and name of rule
	Masks      []geom.Polygon
	Ground     geom.Homography         // zero when not calibrated
	Needs      map[behaviour.Need]bool // what the rules want to know besides tracks
}

// Validate reports every problem, as events.FieldError with the path of the
// field, joined; nil when Build will succeed.
func (f File) Validate() error {
	_, err := f.Build(Options{})
	return err
}

// ValidateAll validates several cameras, each with the prefix "cameras[i]." if
// there are more than one, and reports slugs that are used twice.
func ValidateAll(files []File) error {
	var errs []error
	first := make(map[string]int)
	for i := range files {
		prefix := fmt.Sprintf("cameras[%d].", i)
		if len(files) == 1 {
			prefix = ""
		}
		_, err := files[i].Build(Options{Prefix: prefix})
		errs = append(errs, err)
		if j, twice := first[files[i].Camera]; twice {
			errs = append(errs, &events.FieldError{Field: prefix + "camera", Reason: fmt.Sprintf("%.70q is used by cameras[%d] too", files[i].Camera, j)})
		} else {
			first[files[i].Camera] = i
		}
	}
	return errors.Join(errs...)
}

// Build checks f and makes its rules. Errors are those of Validate.
func (f File) Build(o Options) (*Plan, error) {
	c := &checker{prefix: o.Prefix}
	f.checkHead(c)
	p := &Plan{Delays: make(lifecycle.Rules), Needs: make(map[behaviour.Need]bool)}
	zones, lines := f.shapes(c)
	c.few("masks", len(f.Masks))
	for i, m := range f.Masks {
		p.Masks = append(p.Masks, c.polygon(fmt.Sprintf("masks[%d]", i), m))
	}
	p.Ground = f.ground(c)
	c.few("rules", len(f.Rules))
	seen := make(map[string]bool)
	for i := range f.Rules {
		r := &f.Rules[i]
		at := fmt.Sprintf("rules[%d].", i)
		switch {
		case !slugSyntax.MatchString(r.Name):
			c.bad(at+"name", slugWanted)
		case seen[r.Name]:
			c.bad(at+"name", "%q is used twice", r.Name)
		}
		seen[r.Name] = true
		b, delays := r.build(c, at, f, zones, lines, p.Ground, o)
		p.Behaviours = append(p.Behaviours, b)
		p.Delays[lifecycle.RuleKey{Kind: r.Kind, Name: r.Name}] = delays
		if def, known := behaviour.Lookup(r.Kind); known {
			for _, n := range def.NeedsOf(r.ClassNames()) {
				p.Needs[n] = true
			}
		}
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// checker collects problems.
type checker struct {
	prefix string
	errs   []error
}

func (c *checker) bad(field, format string, args ...any) {
	c.errs = append(c.errs, &events.FieldError{Field: c.prefix + field, Reason: fmt.Sprintf(format, args...)})
}

func (c *checker) few(field string, n int) {
	if n > maxItems {
		c.bad(field, "has %d entries, at most %d are allowed", n, maxItems)
	}
}

// number reports v outside of [lo,hi].
func (c *checker) number(field string, v, lo, hi float64) {
	if math.IsNaN(v) || v < lo || v > hi {
		c.bad(field, "%g must be from %g to %g", v, lo, hi)
	}
}

func (c *checker) polygon(field string, pts []Point) geom.Polygon {
	g, err := geom.NewPolygon(toGeom(pts)...)
	if err != nil {
		c.bad(field, "%s", err)
	}
	return g
}

func toGeom(pts []Point) []geom.Point {
	out := make([]geom.Point, len(pts))
	for i, p := range pts {
		out[i] = geom.Point{X: p[0], Y: p[1]}
	}
	return out
}

// printable reports whether s is valid UTF-8 without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == utf8.RuneError || r == '\ufeff' || r == '\u2028' || r == '\u2029'
	})
}

func (f File) checkHead(c *checker) {
	if !slugSyntax.MatchString(f.Camera) {
		c.bad("camera", slugWanted)
	}
	if utf8.RuneCountInString(f.Name) > maxText || !printable(f.Name) {
		c.bad("name", "must be at most %d printable characters", maxText)
	}
	if f.Hamlet != "" && !slugSyntax.MatchString(f.Hamlet) {
		c.bad("hamlet", slugWanted)
	}
	if l := f.Location; l != nil {
		c.number("location.lat", l.Lat, -90, 90)
		c.number("location.lon", l.Lon, -180, 180)
		if l.Bearing != nil {
			c.number("location.bearing", *l.Bearing, 0, 360)
		}
		if l.FOV != nil {
			c.number("location.fov", *l.FOV, 1, 360)
		}
	}
	if f.URL.IsZero() {
		c.bad("url", "is required")
	} else {
		c.url("url", f.URL)
	}
	if !f.DetectURL.IsZero() {
		c.url("detect_url", f.DetectURL)
	}
	if f.Transport != "" && f.Transport != TransportTCP && f.Transport != TransportUDP {
		c.bad("transport", "%.40q is not one of [%s %s]", f.Transport, TransportTCP, TransportUDP)
	}
	d := f.WithDefaults().Detect
	c.number("detect.fps", d.FPS, 0.5, 30)
	c.number("detect.min_score", d.MinScore, 0.01, 0.99)
	if d.Model != "" && !modelSyntax.MatchString(d.Model) {
		c.bad("detect.model", "%.110q is not the name of a model", d.Model)
	}
	if d.Reid != "" && !modelSyntax.MatchString(d.Reid) {
		c.bad("detect.reid", "%.110q is not the name of a model", d.Reid)
	}
}

// url checks scheme and host, and never prints the URL. Passwords are often
// written as they are, with @ : % and # in them: the host begins after the last
// @ that a host can follow.
func (c *checker) url(field string, s Secret) {
	scheme, rest, ok := strings.Cut(s.Reveal(), "://")
	scheme = strings.ToLower(scheme)
	switch {
	case s.Reveal() == Redacted:
		c.bad(field, "is the placeholder for a hidden URL: write the URL itself")
	case !ok || scheme != "rtsp" && scheme != "rtsps":
		c.bad(field, "must begin with rtsp:// or rtsps://")
	case len(rest) > maxURL || !printable(rest) || strings.ContainsRune(rest, ' '):
		c.bad(field, "must be at most %d printable characters without spaces", maxURL)
	case !hasHost(rest):
		c.bad(field, "has no host name: write rtsp://user:password@host:554/path")
	}
}

// hasHost reports whether some part of rest, the beginning or what follows an @,
// up to the next / or the end, can be host and port.
func hasHost(rest string) bool {
	for at := 0; ; {
		host := rest[at:]
		if i := strings.IndexAny(host, "/?"); i >= 0 {
			host = host[:i]
		}
		if hostSyntax.MatchString(host) {
			return true
		}
		i := strings.IndexByte(rest[at:], '@')
		if i < 0 {
			return false
		}
		at += i + 1
	}
}

func (f File) shapes(c *checker) (map[string]geom.Polygon, map[string]geom.Segment) {
	zones, lines := make(map[string]geom.Polygon), make(map[string]geom.Segment)
	c.few("zones", len(f.Zones))
	for _, name := range f.ZoneNames() {
		if !slugSyntax.MatchString(name) {
			c.bad(fmt.Sprintf("zones.%.70q", name), "the name "+slugWanted)
			continue
		}
		zones[name] = c.polygon("zones."+name+".area", f.Zones[name].Area)
	}
	c.few("lines", len(f.Lines))
	for _, name := range f.LineNames() {
		if !slugSyntax.MatchString(name) {
			c.bad(fmt.Sprintf("lines.%.70q", name), "the name "+slugWanted)
			continue
		}
		l := f.Lines[name]
		s, err := geom.NewSegment(geom.Point{X: l.From[0], Y: l.From[1]}, geom.Point{X: l.To[0], Y: l.To[1]})
		if err != nil {
			c.bad("lines."+name, "%s", strings.TrimPrefix(err.Error(), "encloses no area: "))
		}
		lines[name] = s
	}
	return zones, lines
}

func (f File) ground(c *checker) geom.Homography {
	k := f.Calibration
	if k == nil {
		return geom.Homography{}
	}
	if len(k.Image) != 4 || len(k.Metres) != 4 {
		c.bad("calibration", "image and metres must have 4 points each")
		return geom.Homography{}
	}
	image := toGeom(k.Image)
	for i, p := range image {
		if !p.InPicture() {
			c.bad(fmt.Sprintf("calibration.image[%d]", i), "is %s", geom.ErrOutside)
		}
	}
	h, err := geom.NewHomography([4]geom.Point(image), [4]geom.Point(toGeom(k.Metres)))
	if err != nil {
		c.bad("calibration", "%s", err)
	}
	return h
}

// nested adds each of the joined errors with the prefix at.
func (c *checker) nested(at string, err error) {
	if err == nil {
		return
	}
	var list interface{ Unwrap() []error }
	if errors.As(err, &list) {
		for _, e := range list.Unwrap() {
			c.nested(at, e)
		}
		return
	}
	var fe *events.FieldError
	if errors.As(err, &fe) {
		c.bad(at+fe.Field, "%s", fe.Reason)
		return
	}
	c.bad(strings.TrimSuffix(at, "."), "%s", err)
}
