package behaviour_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
)

func rule(tb testing.TB) behaviour.Rule {
	tb.Helper()
	area, err := geom.NewPolygon(geom.Point{X: .3, Y: .3}, geom.Point{X: .7, Y: .3}, geom.Point{X: .7, Y: .7}, geom.Point{X: .3, Y: .7})
	require.NoError(tb, err)
	ground, err := geom.NewHomography(
		[4]geom.Point{{X: .4, Y: .3}, {X: .6, Y: .3}, {X: .9, Y: .9}, {X: .1, Y: .9}},
		[4]geom.Point{{X: 0, Y: 20}, {X: 6, Y: 20}, {X: 6, Y: 0}, {X: 0, Y: 0}})
	require.NoError(tb, err)
	return behaviour.Rule{
		Ground: ground,
		Camera: "cam",
		Ref:    events.RuleRef{Name: "r", Version: 1},
		Zones:  []behaviour.Zone{{Name: "z", Area: area}},
		Line:   &behaviour.Line{Name: "l", Segment: geom.Segment{From: geom.Point{X: 0, Y: .5}, To: geom.Point{X: 1, Y: .5}}},
	}
}

// TestRegistry holds every kind to what the console needs.
func TestRegistry(t *testing.T) {
	t.Parallel()
	require.Subset(t, behaviour.Kinds(), []events.Kind{"intrusion", "line_crossing"})
	for _, kind := range behaviour.Kinds() {
		d, ok := behaviour.Lookup(kind)
		require.True(t, ok)
		assert.NotEmpty(t, d.Doc.VI, kind)
		assert.NotEmpty(t, d.Doc.EN, kind)
		assert.Contains(t, events.Severities(), d.Severity)
		_, delays, err := d.New(rule(t), required(t, d))
		require.NoError(t, err)
		assert.Equal(t, d.Delays, delays, "delays of %s with defaults", kind)
		_, _, err = d.New(rule(t), []byte("no_such_parameter: 1"))
		require.ErrorContains(t, err, "no_such_parameter: is not a parameter of this kind; it has ")

		schema := d.Schema()
		_, err = json.Marshal(schema)
		require.NoError(t, err)
		properties, ok := schema["properties"].(map[string]any)
		require.True(t, ok)
		for name, p := range properties {
			p, ok := p.(map[string]any)
			require.True(t, ok)
			value := "default"
			if p["examples"] != nil {
				value = "examples"
			}
			for _, k := range []string{"type", "description", "x-description-vi", value} {
				assert.NotEmpty(t, fmt.Sprint(p[k]), "%s of parameter %s of %s", k, name, kind)
			}
		}
	}
	_, ok := behaviour.Lookup("nope")
	assert.False(t, ok)
}

// required returns the parameters without which the kind cannot be, as the
// examples of its schema have them.
func required(tb testing.TB, d behaviour.Definition) []byte {
	tb.Helper()
	out := map[string]any{}
	properties, ok := d.Schema()["properties"].(map[string]any)
	require.True(tb, ok)
	for name, p := range properties {
		if p, ok := p.(map[string]any); ok && p["examples"] != nil {
			examples, ok := p["examples"].([]any)
			require.True(tb, ok)
			out[name] = examples[0]
		}
	}
	text, err := json.Marshal(out)
	require.NoError(tb, err)
	return text
}

func TestSchema(t *testing.T) {
	t.Parallel()
	d, _ := behaviour.Lookup("intrusion")
	b, err := json.Marshal(d.Schema())
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"object","additionalProperties":false,"properties":{
		"after":{"type":"number","minimum":0,"maximum":86400,"default":0.5,"x-unit":"s",
			"description":"How long it must last before it counts","x-description-vi":"Tình trạng phải kéo dài bao lâu mới báo"},
		"clear":{"type":"number","minimum":1,"maximum":86400,"default":3,"x-unit":"s",
			"description":"How long the condition must be gone before the event is cleared",
			"x-description-vi":"Tình trạng phải hết bao lâu thì sự kiện mới kết thúc"},
		"mode":{"type":"string","enum":["inside","enter","exit"],"default":"inside",
			"description":"Count being in the zone (inside), going in (enter) or going out (exit)",
			"x-description-vi":"Báo khi ở trong vùng (inside), đi vào (enter) hay đi ra (exit)"}}}`, string(b))
}

func TestParameters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind         events.Kind
		params, want string
	}{
		{"intrusion", "", ""},
		{"intrusion", "{}", ""},
		{"intrusion", "after: 3", ""},
		{"intrusion", "after: 1.5\nmode: exit", ""},
		{"line_crossing", "{direction: b_to_a, margin: 0}", ""},
		{"intrusion", "after: 3s", "after: must be a number (s) from 0 to 86400"},
		{"intrusion", "after: .nan", "after: must be a number (s) from 0 to 86400"},
		{"intrusion", "after: .inf", "after: must be"},
		{"intrusion", "after: -0.1", "after: must be"},
		{"intrusion", "after: null", "after: must be"},
		{"intrusion", "after: [1]", "after: must be"},
		{"intrusion", "mode: 3", `mode: "3" is not one of [inside enter exit]`},
		{"intrusion", "mode: {a: b}", "mode: must be one of [inside enter exit]"},
		{"intrusion", "{after: x, mode: y, when: z}", "after: must be a number (s) from 0 to 86400\nmode: \"y\" is not one of [inside enter exit]\nwhen: is not a parameter"},
		{"wrong_way", "direction: [0.5, -1]", ""},
		{"wrong_way", "{direction: [1, 0], tolerance: 30, distance: 3.5}", ""},
		{"wrong_way", "", "direction: is required; it must be a list of 2 numbers such as [0, 1]"},
		{"wrong_way", "direction: [0, 0]", "direction: must have a length"},
		{"wrong_way", "direction: [1]", "direction: must be a list of 2 numbers"},
		{"wrong_way", "direction: [1, 2, 3]", "direction: must be a list of 2 numbers"},
		{"wrong_way", "direction: [1, .nan]", "direction: must be"},
		{"wrong_way", "direction: [1, x]", "direction: must be"},
		{"wrong_way", "direction: 1", "direction: must be"},
		{"congestion", "speed_kmh: 10", ""},
		{"crowd", "count: 2.5", "count: must be a whole number from 2 to 500"},
		{"intrusion", "[1]", "parameters:"},
		{"intrusion", "{", "parameters:"},
	} {
		d, _ := behaviour.Lookup(tt.kind)
		_, _, err := d.New(rule(t), []byte(tt.params))
		if tt.want == "" {
			require.NoError(t, err, tt.params)
			continue
		}
		require.ErrorContains(t, err, tt.want, tt.params)
	}
	r := rule(t)
	r.Zones, r.Line = nil, nil
	for _, kind := range behaviour.Kinds() {
		d, _ := behaviour.Lookup(kind)
		if _, _, err := d.New(r, required(t, d)); d.Where == behaviour.WhereNone {
			require.NoError(t, err, kind)
		} else {
			require.ErrorContains(t, err, string(d.Where)+": is required", kind)
		}
	}
}

// TestUnknownClass: a class without a Vietnamese name still makes a sentence.
func TestUnknownClass(t *testing.T) {
	t.Parallel()
	d, _ := behaviour.Lookup("intrusion")
	b, _, err := d.New(rule(t), []byte("after: 0"))
	require.NoError(t, err)
	at := time.Date(2026, 1, 1, 6, 5, 0, 0, time.UTC)
	box := geom.Box{Min: geom.Point{X: .4, Y: .4}, Max: geom.Point{X: .5, Y: .6}}
	out := b.Observe(&vision.Scene{Camera: "cam", At: at, Tracks: []vision.Track{{ID: 1, Label: "excavator", Score: .5, Box: box, Seen: at}}})
	require.Len(t, out, 1)
	assert.Equal(t, events.Text{
		VI: "Một vật thể (excavator) ở trong vùng «z» lúc 06:05.",
		EN: "An excavator was in zone “z” at 06:05.",
	}, out[0].Why)
	assert.Equal(t, events.SeverityMedium, out[0].Severity)
	assert.Equal(t, events.Key{Source: "cam", Kind: "intrusion", Rule: "r", Zone: "z", Object: "1"}, out[0].Key)
}

// random makes scenes of three tracks from bytes: each track moves, coasts,
// hides or ends.
func random(in []byte, each func(s *vision.Scene)) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ids := [3]uint64{1, 2, 3}
	next := uint64(4)
	var y [3]float64
	var seen [3]time.Time
	for len(in) >= 4 {
		at = at.Add(time.Duration(in[0]%8) * 100 * time.Millisecond)
		s := &vision.Scene{Camera: "cam", At: at}
		for i := range ids {
			b := in[i+1]
			switch b % 8 {
			case 0:
				s.Ended = append(s.Ended, ids[i])
				ids[i] = next
				next++
				seen[i] = time.Time{}
				continue
			case 1: // hidden from this rule
				continue
			case 2: // coasts
			default:
				y[i] = min(max(y[i]+float64(int(b>>3)-16)/40, 0), 1)
				seen[i] = at
			}
			if seen[i].IsZero() {
				continue
			}
			box := geom.Box{Min: geom.Point{X: .4, Y: y[i] - .2}, Max: geom.Point{X: .5, Y: y[i]}}
			s.Tracks = append(s.Tracks, vision.Track{ID: ids[i], Label: "person", Score: .5, Box: box, Seen: seen[i]})
		}
		each(s)
		in = in[4:]
	}
}

// FuzzObserve checks that keys are not repeated within a scene, that the
// crossings of one track alternate in direction while it is not out of sight
// for long, and that the events made of all that are cleared in the end.
func FuzzObserve(f *testing.F) {
	f.Add([]byte{1, 255, 3, 128, 2, 0, 255, 130, 1, 3, 3, 3, 4, 250, 130, 2, 4, 250, 250, 250, 1, 3, 4, 5}, uint8(0))
	f.Add([]byte{1, 255, 255, 255, 1, 131, 131, 131, 1, 3, 3, 3, 1, 3, 3, 3, 1, 255, 255, 255, 2, 255, 255, 255}, uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, which uint8) {
		config := []struct {
			kind   events.Kind
			params string
		}{{"intrusion", "after: 0.3"}, {"line_crossing", "margin: 0.1"}, {"intrusion", "mode: enter"}, {"intrusion", "{mode: exit, after: 0}"}}[which%4]
		d, _ := behaviour.Lookup(config.kind)
		b, delays, err := d.New(rule(t), []byte(config.params))
		if err != nil {
			t.Fatal(err)
		}
		engine, err := lifecycle.NewEngine(lifecycle.Config{
			Source: events.Source{Type: "camera", ID: "cam"},
			Rules:  lifecycle.Rules{{Kind: config.kind, Name: "r"}: delays},
		})
		if err != nil {
			t.Fatal(err)
		}
		last := map[uint64]any{}
		shown := map[uint64]time.Time{}
		var at time.Time
		random(in, func(s *vision.Scene) {
			at = s.At
			for _, tr := range s.Tracks {
				if s.At.Sub(shown[tr.ID]) > 4*time.Second {
					delete(last, tr.ID)
				}
				if !tr.Coasting(s.At) {
					shown[tr.ID] = s.At
				}
			}
			keys := map[events.Key]bool{}
			signals := b.Observe(s)
			for _, sig := range signals {
				if keys[sig.Key] && config.kind == "line_crossing" {
					t.Fatalf("%v twice", sig.Key)
				}
				keys[sig.Key] = true
				dir := sig.Attributes["direction"]
				if dir != nil && last[sig.Subject.Track] == dir {
					t.Fatalf("track %d crosses %v twice in a row", sig.Subject.Track, dir)
				}
				last[sig.Subject.Track] = dir
			}
			engine.Step(s.At, signals)
		})
		for range 10 {
			at = at.Add(time.Second)
			engine.Step(at, b.Observe(&vision.Scene{Camera: "cam", At: at}))
		}
		if n := len(engine.Open()); n != 0 {
			t.Fatalf("%d events stay open", n)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	for _, kind := range behaviour.Kinds() {
		b.Run(string(kind), func(b *testing.B) {
			d, _ := behaviour.Lookup(kind)
			r := rule(b)
			r.Classes = []string{"person"}
			behave, _, err := d.New(r, required(b, d))
			require.NoError(b, err)
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := &vision.Scene{Camera: "cam"}
			for i := range 20 { // busy, none of them in the zone
				box := geom.Box{Min: geom.Point{X: float64(i) / 25, Y: .1}, Max: geom.Point{X: float64(i)/25 + .05, Y: .25}}
				s.Tracks = append(s.Tracks, vision.Track{ID: uint64(i + 1), Label: "person", Score: .5, Box: box})
			}
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(200 * time.Millisecond)
				s.At = at
				for i := range s.Tracks {
					s.Tracks[i].Seen = at
				}
				behave.Observe(s)
			}
		})
	}
}
