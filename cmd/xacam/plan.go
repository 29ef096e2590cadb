package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/motion"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/still"
	"github.com/xacam/xacam/vision/track"
)

// plan is one camera made ready to run.
type plan struct {
	slug      string
	file      camera.File
	versions  map[string]int
	source    events.Source
	place     events.Place
	detectURL string // the stream that is looked at
	mainURL   string // the stream that clips are cut from, when it is another one
	transport string
	fps       float64
	model     string
	detector  vision.Detector // nil when there is none, then fault says why
	helmets   helmets         // nil when there are none
	reid      reids           // nil when there is none
	fault     error
	calendar  schedule.Calendar
	needs     []string              // what is worked out besides tracks
	open      func() []events.Event // events of the camera that are raised now
}

// planner makes plans out of stored cameras.
type planner struct {
	commune   string
	model     string // of cameras that name none
	calendar  schedule.Calendar
	detectors interface {
		Detector(name string) (vision.Detector, error)
	}

	mu     sync.Mutex
	faulty map[string]time.Time // models that could not be loaded, and when
	now    func() time.Time
}

// Plan checks a stored camera. A model that is missing is no error: the camera
// is still recorded and watched over.
func (p *planner) Plan(c storedCamera, open func() []events.Event) (*plan, error) {
	f, err := camera.DecodeJSON(c.Spec)
	if err != nil {
		return nil, fmt.Errorf("read the stored camera: %w", err)
	}
	f = f.WithDefaults()
	built, err := f.Build(camera.Options{Versions: c.Versions, Calendar: p.calendar})
	if err != nil {
		return nil, err
	}
	out := &plan{
		slug: f.Camera, file: f, versions: c.Versions, source: f.Source(), place: f.Place(p.commune),
		detectURL: f.StreamForDetection().Reveal(), transport: f.Transport,
		fps: f.Detect.FPS, model: f.Detect.Model, calendar: p.calendar, open: open, needs: needsOf(built),
	}
	if main := f.URL.Reveal(); main != out.detectURL {
		out.mainURL = main
	}
	if out.model == "" {
		out.model = p.model
	}
	out.detector, out.fault = p.detectors.Detector(out.model)
	out.helmets, _ = p.detectors.(helmets)
	out.reid, _ = p.detectors.(reids)
	if out.fault != nil {
		p.mu.Lock()
		p.faulty[out.model] = p.now()
		p.mu.Unlock()
	}
	return out, nil
}

// retryModel is how often a model that was missing is looked for again.
const retryModel = 30 * time.Second

// Better reports whether a plan without a detector would get one now: somebody
// has pulled the model meanwhile.
func (p *planner) Better(old *plan) bool {
	if old == nil || old.fault == nil {
		return false
	}
	p.mu.Lock()
	due := p.now().Sub(p.faulty[old.model]) >= retryModel
	if due {
		p.faulty[old.model] = p.now()
	}
	p.mu.Unlock()
	if !due {
		return false
	}
	_, err := p.detectors.Detector(old.model)
	return err == nil
}

// openOf returns the camera's open events of the kinds that want accepts.
func (p *plan) openOf(want func(events.Kind) bool) []events.Event {
	var out []events.Event
	for _, ev := range p.open() {
		if want(ev.Kind) {
			out = append(out, ev)
		}
	}
	return out
}

// analysis says what becomes of a camera's looks.
type analysis struct {
	record  func(context.Context, *media.Frame, []events.Change) error
	look    func(*pipeline.Look) error
	counted func([]events.Count) // may be nil
	run     string               // of the counts, see events.Count
	mood    func(pipeline.Mood)
	things  func(*still.Analyzer) // may be nil; gets what finds static things, where a rule needs it
	trouble func(error)           // nil makes it the look's own error
	metrics *pipeline.Metrics
	now     func() time.Time
	aspect  float64 // width of the picture over its height; 0 when unknown
	noGate  bool
}

// newCamera makes the analysis: a new tracker and new rules, which go on with
// the events that are open.
func (p *plan) newCamera(a analysis, open []events.Event, at time.Time) (*pipeline.Camera, error) {
	built, err := p.file.Build(camera.Options{Versions: p.versions, Calendar: p.calendar})
	if err != nil {
		return nil, err
	}
	tracker, err := track.New(track.Config{Aspect: a.aspect, HighScore: p.file.Detect.MinScore})
	if err != nil {
		return nil, err
	}
	engine, err := lifecycle.NewEngine(lifecycle.Config{Source: p.source, Place: p.place, Rules: built.Delays})
	if err != nil {
		return nil, err
	}
	engine.Restore(open, at)
	observers := make([]pipeline.Observer, len(built.Behaviours))
	for i, b := range built.Behaviours {
		observers[i] = b
	}
	enrichers, err := p.enrichers(built, a.trouble != nil)
	if err != nil {
		return nil, err
	}
	for _, e := range enrichers {
		if s, ok := e.(*still.Analyzer); ok && a.things != nil {
			a.things(s)
		}
	}
	cfg := pipeline.CameraConfig{
		Name: p.slug, Detector: p.detector, Tracker: tracker, Masks: built.Masks, Enrichers: enrichers, Observers: observers,
		Engine: engine, Record: a.record, Look: a.look, Mood: a.mood, Trouble: a.trouble, Now: a.now, Metrics: a.metrics,
	}
	if a.counted != nil {
		cfg.Counted = func(counts []events.Count) {
			for i := range counts {
				counts[i].Run = a.run
			}
			a.counted(counts)
		}
	}
	if !a.noGate {
		cfg.Gate, err = pipeline.NewMotionGate(motion.Config{Masks: built.Masks})
		if err != nil {
			return nil, err
		}
	}
	return pipeline.NewCamera(cfg)
}

// cameraInput is what the store keeps of a camera. A rule's own document holds
// the area it watches too, so that moving a zone makes a new version of the
// rule: an event refers to exactly what it was judged by.
func cameraInput(f camera.File) (pgstore.CameraInput, error) {
	spec, err := camera.EncodeJSON(f, true)
	if err != nil {
		return pgstore.CameraInput{}, fmt.Errorf("camera %s: %w", f.Camera, err)
	}
	in := pgstore.CameraInput{Slug: f.Camera, Spec: spec, Rules: make(map[string]json.RawMessage, len(f.Rules))}
	for _, r := range f.Rules {
		doc := struct {
			Rule camera.Rule  `json:"rule"`
			Zone *camera.Zone `json:"zone,omitempty"`
			Line *camera.Line `json:"line,omitempty"`
		}{Rule: r}
		if z, ok := f.Zones[r.Zone]; ok {
			doc.Zone = &z
		}
		if l, ok := f.Lines[r.Line]; ok {
			doc.Line = &l
		}
		if in.Rules[r.Name], err = json.Marshal(doc); err != nil {
			return pgstore.CameraInput{}, fmt.Errorf("camera %s, rule %s: %w", f.Camera, r.Name, err)
		}
	}
	return in, nil
}
