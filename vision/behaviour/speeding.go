package behaviour

import (
	"fmt"
	"math"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// KindSpeeding is the kind of "ground speed over the limit".
const KindSpeeding events.Kind = "speeding"

func init() {
	defaults := speedingParams{Limit: 50, Over: .6}
	register(Definition{
		Kind: KindSpeeding,
		Doc: events.Text{
			VI: "Nghi vấn xe chạy quá tốc độ; chỉ mang tính tham khảo, cần camera đã hiệu chuẩn.",
			EN: "A vehicle is suspected of driving too fast; indicative only, needs a calibrated camera.",
		},
		Where:    WhereZone,
		Severity: events.SeverityLow,
		Delays:   defaults.delays(),
		Needs:    []Need{NeedGround},
	}, defaults, newSpeeding)
}

type speedingParams struct {
	Limit float64 `yaml:"limit" unit:"km/h" min:"5" max:"200" doc_vi:"Tốc độ giới hạn; chỉ báo khi vượt quá nhiều hơn sai số của phép đo" doc_en:"The limit; counts only what is over it by more than the measurement's uncertainty"`
	Over  Seconds `yaml:"over" unit:"s" min:"0" max:"60" doc_vi:"Phải vượt quá trong bao lâu mới báo" doc_en:"How long it must be over the limit to count"`
}

const (
	speedingClear = 4 * time.Second
	speedingMiss  = 800 * time.Millisecond
	speedingKeep  = 3 * time.Second
	speedingReach = 1.0
	speedingGrow  = .5
)

func (p speedingParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Hold: p.Over.Duration(), Clear: speedingClear, Stale: blindAfter, Miss: speedingMiss}
}

func newSpeeding(r Rule, p speedingParams) (Behaviour, lifecycle.Rule, error) {
	b := &speeding{speedingParams: p, rule: r, objects: newFollower[racer](speedingKeep, speedingReach, speedingGrow)}
	return b, p.delays(), nil
}

type speeding struct {
	speedingParams
	rule    Rule
	objects *follower[racer]
}

// racer is what is known of a vehicle: where it was on the ground.
type racer struct {
	walk
	in     []bool // by zone
	places []fix  // of the last fixesOver, oldest first
}

// Observe implements Behaviour. One signal per vehicle and zone while the
// vehicle is in the zone and faster than Limit by more than the uncertainty of
// its speed. The speed is that of the straight line through the places on the
// ground where the foot of the box was in the last seconds; see fixes. Without
// classes the rule is about vehicles.
func (b *speeding) Observe(s *vision.Scene) []events.Signal {
	seen, blind := b.objects.observe(s)
	var out []events.Signal
	for _, o := range seen {
		if !b.rule.isAbout(o.label, vehicles()) {
			continue
		}
		v := &o.state
		if v.in == nil {
			v.in = make([]bool, len(b.rule.Zones))
		}
		if v.step(b.objects.sight(&o), o.again || blind != 0) {
			v.places = v.places[:0]
		}
		v.places = addFix(v.places, s.At, b.rule.Ground, &o)
		speed, known := speedOf(v.places)
		for i := range b.rule.Zones {
			z := &b.rule.Zones[i]
			v.in[i] = inZone(z, o.box, v.in[i])
			if v.in[i] && known && speed.kmh-speed.uncertainty > b.Limit && v.places[len(v.places)-1].at.Equal(s.At) {
				out = append(out, b.signal(s.At, z.Name, &o, speed))
			}
		}
	}
	return out
}

func (b *speeding) signal(at time.Time, zone string, o *sighting[racer], v groundSpeed) events.Signal {
	sig := o.signal(&b.rule, KindSpeeding, zone, at)
	kmh, off := math.Round(v.kmh), math.Ceil(v.uncertainty)
	way := heading(o.state.speed)
	sig.Attributes = map[string]any{
		"indicative": true, "speed_kmh": kmh, "uncertainty_kmh": off, "limit_kmh": b.Limit, "heading": way,
		"ground_direction": [2]float64{hundredths(v.direction.X), hundredths(v.direction.Y)},
	}
	sig.Why = b.rule.why(at,
		fmt.Sprintf("nghi vấn (chỉ mang tính tham khảo): %s chạy khoảng %s ± %s km/h %s trong vùng «%s» (giới hạn %s km/h)",
			someVI(o.class), numberVI(kmh, 0), numberVI(off, 0), headingVI(way), zone, numberVI(b.Limit, -1)),
		fmt.Sprintf("suspected (indicative only): %s drove at about %s ± %s km/h %s in zone “%s”, where the limit is %s km/h,",
			someEN(o.class), numberEN(kmh, 0), numberEN(off, 0), headingEN(way), zone, numberEN(b.Limit, -1)))
	return sig
}

// hundredths rounds v; it never returns -0.
func hundredths(v float64) float64 { return math.Round(v*100)/100 + 0 }

func headingVI(way string) string {
	return map[string]string{"left": "sang trái", "right": "sang phải", "away": "ra xa camera", "towards": "về phía camera"}[way]
}

func headingEN(way string) string {
	return map[string]string{"left": "to the left", "right": "to the right", "away": "away from the camera", "towards": "towards the camera"}[way]
}

// fix is where a vehicle was on the ground, and how sure that is.
type fix struct {
	at         time.Time
	x, y       float64 // metres
	xx, xy, yy float64 // inverse of the covariance, 1/m²
}

// What is believed of fixes and of the line through them.
const (
	fixesOver   = 2 * time.Second        // of the latest fixes a speed is made
	fixesLeast  = 700 * time.Millisecond // or of those of at least so much time
	fewestFixes = 4
	maxFixes    = 64
	leastWay    = 4.0 // metres that a speed needs
	footNoise   = .03 // by how much the foot of a box is off, in sizes of the box
	footSame    = .4  // seconds in which it is off by the same: the tracker smooths
	scaleError  = .03 // of speeds, by calibration and by what a box takes for the foot
	sure        = 2.0 // standard deviations
	furthest    = 5.0 // metres of the ground that one hundredth of the picture may be
)

// addFix appends the place of the detection and drops what is too old. A box
// that the border of the picture cuts off has no foot, and near the horizon the
// ground is too far away.
func addFix(fixes []fix, at time.Time, ground geom.Homography, o *sighting[racer]) []fix {
	keep := fixes[:0]
	for i, f := range fixes {
		if at.Sub(f.at) <= fixesOver && len(fixes)-i < maxFixes {
			keep = append(keep, f)
		}
	}
	box := o.box
	foot := box.Foot()
	if foot.Y >= cutOff || box.Min.X <= rim || box.Max.X >= 1-rim {
		return keep
	}
	const e = .005 // of the picture, to both sides
	p, ok1 := ground.Map(foot)
	l, ok2 := ground.Map(geom.Point{X: foot.X - e, Y: foot.Y})
	r, ok3 := ground.Map(geom.Point{X: foot.X + e, Y: foot.Y})
	u, ok4 := ground.Map(geom.Point{X: foot.X, Y: foot.Y - e})
	d, ok5 := ground.Map(geom.Point{X: foot.X, Y: foot.Y + e})
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || math.Hypot(d.X-u.X, d.Y-u.Y) > furthest {
		return keep
	}
	sx, sy := footNoise*box.Width()/(2*e), footNoise*max(box.Height(), box.Width()/2)/(2*e)
	ax, ay, bx, by := (r.X-l.X)*sx, (r.Y-l.Y)*sx, (d.X-u.X)*sy, (d.Y-u.Y)*sy
	const floor = .05 * .05 // m², of a calibration drawn by hand
	cxx, cxy, cyy := ax*ax+bx*bx+floor, ax*ay+bx*by, ay*ay+by*by+floor
	det := cxx*cyy - cxy*cxy
	if !(det > 0) || math.IsInf(det, 0) {
		return keep
	}
	return append(keep, fix{at: at, x: p.X, y: p.Y, xx: cyy / det, xy: -cxy / det, yy: cxx / det})
}

// groundSpeed is an estimated speed.
type groundSpeed struct {
	kmh, uncertainty float64    // the latter is for about 95 % of cases
	direction        geom.Point // on the ground, of length 1
}

// speedOf fits a motion of constant velocity to the fixes, by least squares with
// the fixes' own weights (Bevington, "Data Reduction", ch. 7), and returns its
// speed. The uncertainty grows with the scatter of the fixes around the line, so
// that a vehicle that brakes or turns, or two that were taken for one, have
// none that says anything.
func speedOf(fixes []fix) (groundSpeed, bool) {
	n := len(fixes)
	if n < fewestFixes || fixes[n-1].at.Sub(fixes[0].at) < fixesLeast {
		return groundSpeed{}, false
	}
	var a [4][5]float64 // of x, y, vx, vy
	for _, f := range fixes {
		t := f.at.Sub(fixes[0].at).Seconds()
		bx, by := f.xx*f.x+f.xy*f.y, f.xy*f.x+f.yy*f.y
		a[0][0], a[0][1], a[1][1] = a[0][0]+f.xx, a[0][1]+f.xy, a[1][1]+f.yy
		a[0][2], a[0][3], a[1][3] = a[0][2]+t*f.xx, a[0][3]+t*f.xy, a[1][3]+t*f.yy
		a[2][2], a[2][3], a[3][3] = a[2][2]+t*t*f.xx, a[2][3]+t*t*f.xy, a[3][3]+t*t*f.yy
		a[0][4], a[1][4], a[2][4], a[3][4] = a[0][4]+bx, a[1][4]+by, a[2][4]+t*bx, a[3][4]+t*by
	}
	a[1][2] = a[0][3]
	inv, x, ok := invert(a)
	if !ok {
		return groundSpeed{}, false
	}
	chi2 := 0.0
	for _, f := range fixes {
		t := f.at.Sub(fixes[0].at).Seconds()
		ex, ey := f.x-x[0]-t*x[2], f.y-x[1]-t*x[3]
		chi2 += ex*ex*f.xx + 2*ex*ey*f.xy + ey*ey*f.yy
	}
	over := fixes[n-1].at.Sub(fixes[0].at).Seconds()
	speed := math.Hypot(x[2], x[3])
	if speed*over < leastWay {
		return groundSpeed{}, false
	}
	ux, uy := x[2]/speed, x[3]/speed
	variance := ux*ux*inv[2][2] + 2*ux*uy*inv[2][3] + uy*uy*inv[3][3]
	variance *= max(1, chi2/float64(2*n-4)) * max(1, footSame*float64(n-1)/over)
	off := math.Hypot(sure*math.Sqrt(max(0, variance)), scaleError*speed)
	return groundSpeed{kmh: 3.6 * speed, uncertainty: 3.6 * off, direction: geom.Point{X: ux, Y: uy}}, true
}

// invert solves the symmetric system whose upper half is in a, with the right
// hand side in the last column, and returns the inverse too.
func invert(a [4][5]float64) (inv [4][4]float64, x [4]float64, ok bool) {
	var m [4][9]float64
	for i := range 4 {
		for j := range 4 {
			m[i][j] = a[min(i, j)][max(i, j)]
		}
		m[i][4+i], m[i][8] = 1, a[i][4]
	}
	for c := range 4 {
		p := c
		for i := c + 1; i < 4; i++ {
			if math.Abs(m[i][c]) > math.Abs(m[p][c]) {
				p = i
			}
		}
		m[c], m[p] = m[p], m[c]
		if !(math.Abs(m[c][c]) > 1e-12) {
			return inv, x, false
		}
		for i := range 4 {
			if i == c {
				continue
			}
			f := m[i][c] / m[c][c]
			for j := c; j < 9; j++ {
				m[i][j] -= f * m[c][j]
			}
		}
	}
	for i := range 4 {
		x[i] = m[i][8] / m[i][i]
		for j := range 4 {
			inv[i][j] = m[i][4+j] / m[i][i]
		}
	}
	return inv, x, true
}
