package detect

import (
	"fmt"
	"math"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/family"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/prep"
)

// maxVariants bounds the input sizes of one model, each of which costs memory.
// The cameras of a commune have two or three shapes.
const maxVariants = 6

// variant is the model at one size of its input.
type variant struct {
	in      models.Input
	session *ort.Session
	idle    []*slot
}

// slot is the memory of one inference.
type slot struct {
	box     *prep.Letterbox
	buffers *ort.Buffers
}

// load makes the variant for the input, and tries it.
func (d *Detector) load(in models.Input) (*variant, error) {
	cfg := session(d.cfg)
	cfg.Resize = in.Width != d.cfg.Manifest.Input.Width || in.Height != d.cfg.Manifest.Input.Height
	cfg.Width, cfg.Height = in.Width, in.Height
	s, err := d.rt.Load(cfg)
	if err != nil {
		return nil, err
	}
	v := &variant{in: in, session: s}
	slot, err := v.slot()
	if err == nil {
		err = d.try(v, slot)
		v.idle = append(v.idle, slot)
	}
	if err != nil {
		_ = v.close()
		return nil, err
	}
	return v, nil
}

// slot returns an idle slot or makes one.
func (v *variant) slot() (*slot, error) {
	if n := len(v.idle); n > 0 {
		s := v.idle[n-1]
		v.idle = v.idle[:n-1]
		return s, nil
	}
	box, err := prep.NewLetterbox(v.in)
	if err != nil {
		return nil, err
	}
	buffers, err := v.session.NewBuffers()
	if err != nil {
		return nil, err
	}
	return &slot{box, buffers}, nil
}

// close frees the variant; its slots must be idle.
func (v *variant) close() error {
	for _, s := range v.idle {
		s.buffers.Close()
	}
	v.idle = nil
	return v.session.Close()
}

// take returns the variant for the picture and a slot of it. The caller has a
// turn, and gives the slot back.
func (d *Detector) take(p media.Picture) (*variant, *slot, error) {
	in := d.cfg.Manifest.Input
	if !d.cfg.Whole {
		w, h := p.Size()
		in = in.Tight(w, h)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	size := [2]int{in.Width, in.Height}
	v := d.variants[size]
	if v == nil {
		v = d.whole
		if len(d.variants) < maxVariants {
			if made, err := d.load(in); err == nil {
				v = made
			}
			d.variants[size] = v // where it cannot be had, the model's own size does it
		}
	}
	s, err := v.slot()
	return v, s, err
}

func (d *Detector) giveBack(v *variant, s *slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v.idle = append(v.idle, s)
}

// try runs the model on an empty picture.
func (d *Detector) try(v *variant, s *slot) error {
	g, err := s.box.Fill(s.buffers.Input(), grey{})
	if err != nil {
		return err
	}
	out, err := v.session.Run(s.buffers)
	if err != nil {
		return err
	}
	for _, t := range out {
		for _, x := range t.Data {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("%w: %s on an empty picture", family.ErrNotFinite, t)
			}
		}
	}
	_, err = d.decode(out, g, d.params)
	return err
}
