// Package detect is the object detector: a model's manifest, an ONNX Runtime
// session, preparation of the picture and the family's decoder joined into one
// vision.Detector that all cameras share.
package detect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/family"
	"github.com/xacam/xacam/vision/ort"
)

// ErrClosed is returned by a detector after Close.
var ErrClosed = errors.New("detector is closed")

// Config describes a Detector.
type Config struct {
	Manifest models.Manifest
	Path     string                // of the model file
	MinScore float64               // detections below it are left out; default 0.1, so that a tracker sees weak ones too
	NMS      float64               // overlap limit; default the manifest's
	Workers  int                   // inferences at the same time; default the number of CPUs
	Whole    bool                  // keep to the model's own input size, also where most of it would be padding
	Metrics  prometheus.Registerer // nil works; one detector of a model each
}

func (c Config) withDefaults() (Config, error) {
	if c.MinScore == 0 {
		c.MinScore = 0.1
	}
	if c.NMS == 0 {
		c.NMS = c.Manifest.NMS
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case !(c.MinScore > 0 && c.MinScore < 1):
		return c, fmt.Errorf("min_score: %v is not in (0,1)", c.MinScore)
	case !(c.NMS > 0 && c.NMS <= 1):
		return c, fmt.Errorf("nms: %v is not in (0,1]", c.NMS)
	case c.Workers < 0 || c.Workers > 256:
		return c, fmt.Errorf("workers: %d is not in 1…256", c.Workers)
	}
	return c, nil
}

// Detector implements vision.Detector. It is safe for concurrent use: at most
// Workers inferences run at once, further callers wait in the order they came.
// Whoever made it closes it.
type Detector struct {
	cfg     Config
	rt      *ort.Runtime
	decode  family.Decoder
	params  family.Params
	turns   chan struct{} // one for each worker that is free; drained by Close
	closed  chan struct{}
	once    sync.Once
	metrics *metrics

	mu       sync.Mutex
	whole    *variant
	variants map[[2]int]*variant // by width and height of the input
}

var _ vision.Detector = (*Detector)(nil)

// New loads the model and tries it on an empty picture: a model that is
// missing, damaged, of another family or that answers with NaN is refused here
// with a sentence.
func New(rt *ort.Runtime, cfg Config) (*Detector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("detector %s: %w", cfg.Manifest.Name, err)
	}
	d := &Detector{
		cfg: cfg, rt: rt, closed: make(chan struct{}), turns: make(chan struct{}, cfg.Workers), variants: make(map[[2]int]*variant),
		params:  family.Params{MinScore: cfg.MinScore, NMS: cfg.NMS, Labels: models.ClassNames(cfg.Manifest.Labels), Params: cfg.Manifest.Params},
		metrics: newMetrics(cfg.Metrics, cfg.Manifest.Name),
	}
	if d.decode, err = family.Lookup(cfg.Manifest.Family); err != nil {
		return nil, fmt.Errorf("detector %s: %w", cfg.Manifest.Name, err)
	}
	if err := models.CheckFile(cfg.Path, cfg.Manifest); err != nil {
		return nil, err
	}
	if d.whole, err = d.load(cfg.Manifest.Input); err != nil {
		return nil, fmt.Errorf("detector %s: %w", cfg.Manifest.Name, err)
	}
	d.variants[[2]int{cfg.Manifest.Input.Width, cfg.Manifest.Input.Height}] = d.whole
	for range cfg.Workers {
		d.turns <- struct{}{}
	}
	return d, nil
}

// session returns what the runtime needs to know of a model.
func session(cfg Config) ort.Config {
	in, p := cfg.Manifest.Input, cfg.Manifest.Params
	out := ort.Config{
		Path: cfg.Path, SHA256: cfg.Manifest.SHA256, Width: in.Width, Height: in.Height, Layout: in.Layout, Extra: in.Extra,
	}
	for _, role := range slices.Sorted(maps.Keys(p.Outputs)) {
		out.Outputs = append(out.Outputs, p.Outputs[role])
	}
	for name, q := range p.Quant {
		if out.Quant == nil {
			out.Quant = make(map[string]ort.Quant, len(p.Quant))
		}
		out.Quant[name] = ort.Quant{Scale: q.Scale, Zero: q.Zero}
	}
	return out
}

// Detect implements vision.Detector. Detections come best first. It waits for
// a free worker, or until ctx ends; a running inference is not interrupted.
func (d *Detector) Detect(ctx context.Context, f *media.Frame) ([]vision.Detection, error) {
	if f == nil || f.Picture == nil {
		return nil, errors.New("detect: the frame has no picture")
	}
	select {
	case <-d.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("detect: %w", context.Cause(ctx))
	case <-d.turns:
	}
	defer func() { d.turns <- struct{}{} }()
	start := time.Now()
	dets, err := d.run(f.Picture)
	d.metrics.observe(time.Since(start), err)
	if err != nil {
		return nil, fmt.Errorf("detect with %s: %w", d.cfg.Manifest.Name, err)
	}
	return dets, nil
}

func (d *Detector) run(p media.Picture) ([]vision.Detection, error) {
	v, s, err := d.take(p)
	if err != nil {
		return nil, err
	}
	defer d.giveBack(v, s)
	g, err := s.box.Fill(s.buffers.Input(), p)
	if err != nil {
		return nil, err
	}
	out, err := v.session.Run(s.buffers)
	if err != nil {
		return nil, err
	}
	return d.decode(out, g, d.params)
}

// Manifest returns the model's manifest, for evidence.
func (d *Detector) Manifest() models.Manifest { return d.cfg.Manifest }

// MinScore returns the score below which nothing is reported.
func (d *Detector) MinScore() float64 { return d.cfg.MinScore }

// Close waits for running inferences and frees the model. It is safe to call
// twice.
func (d *Detector) Close() (err error) {
	d.once.Do(func() {
		close(d.closed)
		for range d.cfg.Workers {
			select {
			case <-d.turns:
			case <-time.After(30 * time.Second):
				err = errors.New("close detector: an inference does not end")
				return
			}
		}
		closed := make(map[*variant]bool)
		for _, v := range d.variants {
			if !closed[v] {
				closed[v] = true
				err = errors.Join(err, v.close())
			}
		}
	})
	return err
}

// grey is a picture without content.
type grey struct{}

func (grey) Size() (width, height int) { return 1280, 720 }

func (grey) BGR(dst []byte, _, _ int) error {
	for i := range dst {
		dst[i] = 128
	}
	return nil
}

func (g grey) Gray(dst []byte, w, h int) error { return g.BGR(dst, w, h) }
func (grey) Release()                          {}
