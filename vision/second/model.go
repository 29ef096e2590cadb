package second

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/prep"
)

// ErrClosed is returned by a model after Close.
var ErrClosed = errors.New("model is closed")

// ModelConfig describes a model that looks at crops.
type ModelConfig struct {
	Manifest models.Manifest // of the family Family or FamilyEmbedding
	Path     string          // of the model file, which is read once
	Data     []byte          // its content, where there is no file: of a model that is a part of the program
	Workers  int             // crops that are looked at at the same time; default 2
}

// model runs a model with one output on single crops. It is safe for concurrent
// use: at most Workers run at once, further callers wait. Whoever made it closes
// it.
type model struct {
	what     string // "classifier", for errors
	manifest models.Manifest
	session  *ort.Session
	free     chan *slot // idle ones; filled by prepare, drained by Close
	made     int
	closed   chan struct{}
}

// slot is the memory of one look.
type slot struct {
	fill    *prep.Letterbox
	buffers *ort.Buffers
}

// load reads the model, which is of the given family, and makes its slots.
func load(rt *ort.Runtime, cfg ModelConfig, what, family string) (*model, error) {
	m := cfg.Manifest
	if m.Family != family {
		return nil, fmt.Errorf("%s %s: its family is %q, not %q", what, m.Name, m.Family, family)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 2
	}
	if cfg.Data != nil {
		path, err := lay(cfg.Data)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", what, m.Name, err)
		}
		defer func() { _ = os.Remove(path) }()
		cfg.Path = path
	}
	if err := models.CheckFile(cfg.Path, m); err != nil {
		return nil, err
	}
	s, err := rt.Load(ort.Config{
		Path: cfg.Path, SHA256: m.SHA256, Width: m.Input.Width, Height: m.Input.Height, Layout: m.Input.Layout, Extra: m.Input.Extra,
	})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, m.Name, err)
	}
	c := &model{what: what, manifest: m, session: s, free: make(chan *slot, cfg.Workers), closed: make(chan struct{})}
	if err := c.prepare(cfg.Workers); err != nil {
		return nil, errors.Join(fmt.Errorf("%s %s: %w", what, m.Name, err), c.Close())
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

func (c *model) prepare(workers int) error {
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
	return nil
}

// grey returns a crop without content.
func (c *model) grey() []byte {
	w, h := c.Size()
	out := make([]byte, 3*w*h)
	for i := range out {
		out[i] = 114
	}
	return out
}

// Size returns width and height of the crops, in pixels.
func (c *model) Size() (width, height int) {
	return c.manifest.Input.Width, c.manifest.Input.Height
}

// run shows the model one crop, packed BGR of Size, and hands its output to use,
// which must not keep it. It waits for a free worker, or until ctx ends.
func (c *model) run(ctx context.Context, crop []byte, use func(vision.Tensor) error) (err error) {
	var s *slot
	select {
	case <-c.closed:
		return fmt.Errorf("%s %s: %w", c.what, c.manifest.Name, ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", c.what, c.manifest.Name, context.Cause(ctx))
	case s = <-c.free:
	}
	defer func() {
		c.free <- s
		if err != nil {
			err = fmt.Errorf("%s %s: %w", c.what, c.manifest.Name, err)
		}
	}()
	w, h := c.Size()
	if _, err := s.fill.Fill(s.buffers.Input(), still{crop, w, h}); err != nil {
		return err
	}
	out, err := c.session.Run(s.buffers)
	if err != nil {
		return err
	}
	return use(out[0])
}

// Close waits for the looks in progress and frees the model. It is called once.
func (c *model) Close() error {
	close(c.closed)
	for range c.made {
		(<-c.free).buffers.Close()
	}
	c.made = 0
	if err := c.session.Close(); err != nil {
		return fmt.Errorf("close %s %s: %w", c.what, c.manifest.Name, err)
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
