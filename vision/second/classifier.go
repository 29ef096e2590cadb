// Package second is the second stage of the analysis: a classifier looks at
// crops of chosen tracks, within a budget, and its answers are put together
// over time into marks of the tracks.
package second

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/prep"
)

// Family is the family of the manifests of classifiers: one output [1 n] of
// probabilities, in the order of the labels.
const Family = "classifier"

// ErrClosed is returned by a classifier after Close.
var ErrClosed = errors.New("classifier is closed")

// ClassifierConfig describes a Classifier.
type ClassifierConfig struct {
	Manifest models.Manifest // of the family Family
	Path     string          // of the model file, which is read once
	Data     []byte          // its content, where there is no file: of a model that is a part of the program
	Workers  int             // classifications at the same time; default 2
}

// Classifier runs a model on single crops. It is safe for concurrent use: at
// most Workers run at once, further callers wait. Whoever made it closes it.
type Classifier struct {
	manifest models.Manifest
	session  *ort.Session
	free     chan *slot // idle ones; filled by NewClassifier, drained by Close
	made     int
	closed   chan struct{}
}

// slot is the memory of one classification.
type slot struct {
	fill    *prep.Letterbox
	buffers *ort.Buffers
}

// NewClassifier loads the model and tries it on a grey crop: what is missing,
// damaged, of another shape or answers with NaN is refused here.
func NewClassifier(rt *ort.Runtime, cfg ClassifierConfig) (*Classifier, error) {
	m := cfg.Manifest
	if m.Family != Family {
		return nil, fmt.Errorf("classifier %s: its family is %q, not %q", m.Name, m.Family, Family)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 2
	}
	if cfg.Data != nil {
		path, err := lay(cfg.Data)
		if err != nil {
			return nil, fmt.Errorf("classifier %s: %w", m.Name, err)
		}
		defer func() { _ = os.Remove(path) }()
		cfg.Path = path
	}
	if err := models.CheckFile(cfg.Path, m); err != nil {
		return nil, err
	}
	c := &Classifier{manifest: m, free: make(chan *slot, cfg.Workers), closed: make(chan struct{})}
	var err error
	c.session, err = rt.Load(ort.Config{
		Path: cfg.Path, SHA256: m.SHA256, Width: m.Input.Width, Height: m.Input.Height, Layout: m.Input.Layout,
	})
	if err != nil {
		return nil, fmt.Errorf("classifier %s: %w", m.Name, err)
	}
	if err := c.prepare(cfg.Workers); err != nil {
		return nil, errors.Join(fmt.Errorf("classifier %s: %w", m.Name, err), c.Close())
	}
	return c, nil
}

// lay writes the content into a temporary file, which the caller removes: the
// session reads a file.
func lay(data []byte) (path string, err error) {
	f, err := os.CreateTemp("", "xacam-*.onnx")
	if err != nil {
		return "", fmt.Errorf("make a file for the model: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write the model to %s: %w", f.Name(), err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// prepare makes the slots and tries the model once.
func (c *Classifier) prepare(workers int) error {
	if outs := c.session.Outputs(); len(outs) != 1 || !slices.Equal(outs[0].Shape, []int{1, len(c.manifest.Labels)}) {
		return fmt.Errorf("%w: its outputs are %v, not one of [1 %d] for the labels %v",
			ort.ErrBadModel, outs, len(c.manifest.Labels), c.manifest.Labels)
	}
	for range workers {
		s := &slot{}
		var err error
		if s.fill, err = prep.NewLetterbox(c.manifest.Input); err != nil {
			return err
		}
		if s.buffers, err = c.session.NewBuffers(); err != nil {
			return err
		}
		c.free <- s
		c.made++
	}
	w, h := c.Size()
	grey := make([]byte, 3*w*h)
	for i := range grey {
		grey[i] = 114
	}
	_, err := c.Classify(context.Background(), nil, grey)
	return err
}

// Size returns width and height of the crops, in pixels.
func (c *Classifier) Size() (width, height int) {
	return c.manifest.Input.Width, c.manifest.Input.Height
}

// Labels returns what is told apart. The caller must not modify it.
func (c *Classifier) Labels() []string { return c.manifest.Labels }

// Classify appends the probability of each label to dst. The crop is packed
// BGR of Size. It waits for a free worker, or until ctx ends.
func (c *Classifier) Classify(ctx context.Context, dst []float64, crop []byte) ([]float64, error) {
	var s *slot
	select {
	case <-c.closed:
		return dst, ErrClosed
	case <-ctx.Done():
		return dst, fmt.Errorf("classify: %w", context.Cause(ctx))
	case s = <-c.free:
	}
	defer func() { c.free <- s }()
	w, h := c.Size()
	if _, err := s.fill.Fill(s.buffers.Input(), still{crop, w, h}); err != nil {
		return dst, fmt.Errorf("classify with %s: %w", c.manifest.Name, err)
	}
	out, err := c.session.Run(s.buffers)
	if err != nil {
		return dst, fmt.Errorf("classify with %s: %w", c.manifest.Name, err)
	}
	for _, v := range out[0].Data {
		p := float64(v)
		if !(p >= -1e-3 && p <= 1+1e-3) || math.IsNaN(p) {
			return dst, fmt.Errorf("classify with %s: the answer %v is no probability", c.manifest.Name, p)
		}
		dst = append(dst, min(max(p, 0), 1))
	}
	return dst, nil
}

// Close waits for the classifications in progress and frees the model. It is
// called once.
func (c *Classifier) Close() error {
	close(c.closed)
	for range c.made {
		(<-c.free).buffers.Close()
	}
	c.made = 0
	if err := c.session.Close(); err != nil {
		return fmt.Errorf("close classifier %s: %w", c.manifest.Name, err)
	}
	return nil
}

// still is a crop as a picture of the input's own size.
type still struct {
	bgr  []byte
	w, h int
}

var _ media.Picture = still{}

func (p still) Size() (width, height int) { return p.w, p.h }

func (p still) BGR(dst []byte, w, h int) error {
	if w != p.w || h != p.h || len(p.bgr) < 3*w*h {
		return fmt.Errorf("a crop of %d bytes is not %d×%d pixels", len(p.bgr), w, h)
	}
	copy(dst, p.bgr)
	return nil
}

func (still) Gray([]byte, int, int) error { return errors.ErrUnsupported }
func (still) Release()                    {}
