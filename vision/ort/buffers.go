//go:build cgo

package ort

import (
	"fmt"
	"runtime"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/xacam/xacam/vision"
)

// Buffers are the input and output memory of one caller. They are used by one
// goroutine at a time. Whoever made them closes them.
type Buffers struct {
	s       *Session
	pin     runtime.Pinner
	ins     []*port // the picture first
	outs    []*port // nil where the size is open
	convert bool    // some port is not float32
	tensors []vision.Tensor
	binding *onnx.IoBinding // nil where a size is open
	made    []onnx.Value    // one run's outputs, where a size is open
	fed     []onnx.Value    // the tensors of ins, where a size is open
}

// NewBuffers allocates memory for one caller; Run allocates none, unless the
// size of an output depends on the picture.
func (s *Session) NewBuffers() (*Buffers, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	s.buffers++
	s.mu.Unlock()
	b := &Buffers{s: s}
	if err := b.allocate(); err != nil {
		b.Close()
		return nil, fmt.Errorf("onnx buffers: %w", err)
	}
	return b, nil
}

func (b *Buffers) allocate() (err error) {
	if b.ins, err = b.s.inputPorts(&b.pin); err != nil {
		return err
	}
	b.convert = b.ins[0].encode != nil
	for i, o := range b.s.outputs {
		t := vision.Tensor{Name: o.Name, Shape: o.Shape}
		if b.s.open[i] {
			b.outs, b.tensors = append(b.outs, nil), append(b.tensors, t)
			continue
		}
		p, err := newPort(o, b.s.quant[i], &b.pin)
		if err != nil {
			return err
		}
		t.Data = p.data
		b.convert = b.convert || p.decode != nil
		b.outs, b.tensors = append(b.outs, p), append(b.tensors, t)
	}
	if b.s.dynamic {
		b.fed, b.made = values(b.ins), make([]onnx.Value, len(b.outs))
		return nil
	}
	return b.bind()
}

// bind tells the library once where everything lies.
func (b *Buffers) bind() (err error) {
	if b.binding, err = b.s.s.CreateIoBinding(); err != nil {
		return err
	}
	if err := b.binding.BindInput(b.s.input.Name, b.ins[0].value); err != nil {
		return err
	}
	for i, e := range b.s.extra {
		if err := b.binding.BindInput(e.Name, b.ins[i+1].value); err != nil {
			return err
		}
	}
	for i, o := range b.s.outputs {
		if err := b.binding.BindOutput(o.Name, b.outs[i].value); err != nil {
			return err
		}
	}
	return nil
}

// Input returns the memory to fill before Run: [1 3 height width], width
// fastest, or [1 height width 3] as the layout says.
func (b *Buffers) Input() []float32 { return b.ins[0].data }

// Run runs the model on b's input. The result is b's own memory, valid until
// the next Run with b or its Close. It blocks for the inference's whole time
// on the calling thread.
func (s *Session) Run(b *Buffers) ([]vision.Tensor, error) {
	if len(b.ins) == 0 || b.s != s {
		return nil, fmt.Errorf("run model: %w", ErrClosed)
	}
	if !b.convert && b.binding != nil { // the usual case
		if err := s.s.RunWithBinding(b.binding); err != nil {
			return nil, fmt.Errorf("run model: %w", err)
		}
		return b.tensors, nil
	}
	if err := b.run(); err != nil {
		return nil, fmt.Errorf("run model: %w", err)
	}
	return b.tensors, nil
}

// run converts, and lets the library allocate outputs of open size.
func (b *Buffers) run() error {
	if b.ins[0].encode != nil {
		b.ins[0].encode()
	}
	if b.binding != nil {
		if err := b.s.s.RunWithBinding(b.binding); err != nil {
			return err
		}
	} else if err := b.runOpen(); err != nil {
		return err
	}
	for _, p := range b.outs {
		if p != nil && p.decode != nil {
			p.decode()
		}
	}
	return nil
}

func (b *Buffers) runOpen() error {
	for i, p := range b.outs {
		b.made[i] = nil
		if p != nil {
			b.made[i] = p.value
		}
	}
	if err := b.s.s.Run(b.fed, b.made); err != nil {
		return err
	}
	var first error
	for i, v := range b.made {
		if b.outs[i] != nil {
			continue
		}
		shape, data, err := numbers(v, b.s.quant[i])
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && len(data) > maxElements && first == nil:
			first = fmt.Errorf("output %s%v is too large", b.s.outputs[i].Name, shape)
		}
		b.tensors[i].Shape, b.tensors[i].Data = shape, data
	}
	return first
}

// Close frees the memory. It is safe to call twice.
func (b *Buffers) Close() {
	if b.s == nil {
		return
	}
	if b.binding != nil {
		_ = b.binding.Destroy()
	}
	destroy(b.ins)
	for _, p := range b.outs {
		if p != nil {
			_ = p.value.Destroy()
		}
	}
	b.pin.Unpin()
	b.s.mu.Lock()
	b.s.buffers--
	b.s.mu.Unlock()
	*b = Buffers{}
}
