//go:build cgo

package ort

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/xacam/xacam/vision"
)

// maxModel bounds what is read into memory, bytes.
const maxModel = 512 << 20

// maxElements bounds one tensor: 64 Mi numbers are 256 MiB.
const maxElements = 64 << 20

// Session is one loaded model. It runs on the calling thread only: more
// throughput comes from more callers, each with its own Buffers. It is safe
// for concurrent use. Whoever loaded it closes it, after all Buffers.
type Session struct {
	rt      *Runtime
	s       *onnx.DynamicAdvancedSession
	input   Info
	outputs []Info

	mu      sync.Mutex
	closed  bool
	buffers int
}

// Load reads, checks and prepares a model with one float32 image input and
// float32 outputs. It runs the model once on an empty picture, so a model that
// loads also runs. Errors wrap ErrBadModel where the file is to blame.
func (r *Runtime) Load(cfg Config) (*Session, error) {
	data, err := read(cfg)
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", cfg.Path, err)
	}
	if err := r.hold(); err != nil {
		return nil, err
	}
	s := &Session{rt: r}
	if err := s.open(data, cfg); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("load model %s: %w", cfg.Path, err)
	}
	return s, nil
}

func read(cfg Config) ([]byte, error) {
	f, err := os.Open(cfg.Path)
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(f, maxModel+1)); err != nil {
		return nil, err
	}
	data := buf.Bytes()
	if len(data) == 0 || len(data) > maxModel {
		return nil, fmt.Errorf("%w: the file has %d bytes", ErrBadModel, len(data))
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); cfg.SHA256 != "" && got != cfg.SHA256 {
		return nil, fmt.Errorf("%w: its sha256 is %.12s…, not %.12s…", ErrBadModel, got, cfg.SHA256)
	}
	return data, nil
}

// open creates the session and learns the output sizes from one run.
func (s *Session) open(data []byte, cfg Config) error {
	ins, outs, err := onnx.GetInputOutputInfoWithONNXData(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	if err := s.describe(ins, outs, cfg); err != nil {
		return fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	opts, err := options()
	if err != nil {
		return err
	}
	defer func() { _ = opts.Destroy() }()
	names := make([]string, len(s.outputs))
	for i, o := range s.outputs {
		names[i] = o.Name
	}
	s.s, err = onnx.NewDynamicAdvancedSessionWithONNXData(data, []string{s.input.Name}, names, opts)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	return s.probe()
}

// options makes inference use the calling thread and nothing else.
func options() (*onnx.SessionOptions, error) {
	o, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetIntraOpNumThreads(1),
		o.SetInterOpNumThreads(1),
		o.SetExecutionMode(onnx.ExecutionModeSequential),
		o.SetGraphOptimizationLevel(onnx.GraphOptimizationLevelEnableAll),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
	)
	if err != nil {
		_ = o.Destroy()
		return nil, err
	}
	return o, nil
}

// describe checks that there is one image input and only float32 tensors.
func (s *Session) describe(ins, outs []onnx.InputOutputInfo, cfg Config) error {
	if len(ins) != 1 || len(outs) == 0 {
		return fmt.Errorf("it has %d inputs and %d outputs, not one input and some outputs", len(ins), len(outs))
	}
	for _, io := range slices.Concat(ins, outs) {
		if io.OrtValueType != onnx.ONNXTypeTensor || io.DataType != onnx.TensorElementDataTypeFloat {
			return fmt.Errorf("%s is not a float32 tensor", io.String())
		}
	}
	s.input = info(ins[0])
	for _, o := range outs {
		s.outputs = append(s.outputs, info(o))
	}
	in := s.input.Shape
	if len(in) != 4 {
		return fmt.Errorf("input %s is not a picture [1 3 height width]", s.input)
	}
	for i, want := range []int{1, 3, cfg.Height, cfg.Width} {
		if in[i] <= 0 {
			in[i] = want
		}
		if in[i] <= 0 || (want > 0 && in[i] != want) {
			return fmt.Errorf("input %s is not [1 3 %d %d]", info(ins[0]), cfg.Height, cfg.Width)
		}
	}
	if count(in) > maxElements {
		return fmt.Errorf("input %s is too large", s.input)
	}
	return nil
}

func info(io onnx.InputOutputInfo) Info {
	out := Info{Name: io.Name}
	for _, d := range io.Dimensions {
		out.Shape = append(out.Shape, int(d))
	}
	return out
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		if d <= 0 || n > maxElements/d {
			return maxElements + 1
		}
		n *= d
	}
	return n
}

// probe runs the model once and takes the output sizes from what came out.
func (s *Session) probe() error {
	in, err := onnx.NewEmptyTensor[float32](shape64(s.input.Shape))
	if err != nil {
		return err
	}
	defer func() { _ = in.Destroy() }()
	outs := make([]onnx.Value, len(s.outputs))
	if err := s.s.Run([]onnx.Value{in}, outs); err != nil {
		return fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	for i, v := range outs {
		defer func() { _ = v.Destroy() }()
		s.outputs[i].Shape = s.outputs[i].Shape[:0]
		for _, d := range v.GetShape() {
			s.outputs[i].Shape = append(s.outputs[i].Shape, int(d))
		}
		if count(s.outputs[i].Shape) > maxElements {
			return fmt.Errorf("%w: output %s is empty or too large", ErrBadModel, s.outputs[i])
		}
	}
	return nil
}

func shape64(s []int) onnx.Shape {
	out := make(onnx.Shape, len(s))
	for i, d := range s {
		out[i] = int64(d)
	}
	return out
}

// Input returns name and size of the input: [1 3 height width].
func (s *Session) Input() Info { return s.input }

// Outputs returns names and sizes of the outputs in the model's order. The
// caller must not modify it.
func (s *Session) Outputs() []Info { return s.outputs }

// Close frees the model. It is an error while Buffers are open. A second call
// returns ErrClosed.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.buffers > 0 {
		return fmt.Errorf("onnx session: %d buffers are still open", s.buffers)
	}
	s.closed = true
	s.rt.release()
	if s.s == nil {
		return nil
	}
	if err := s.s.Destroy(); err != nil {
		return fmt.Errorf("close onnx session: %w", err)
	}
	return nil
}

// Buffers are the input and output memory of one caller. They are used by one
// goroutine at a time. Whoever made them closes them.
type Buffers struct {
	s       *Session
	pin     runtime.Pinner
	in      *onnx.Tensor[float32]
	outs    []*onnx.Tensor[float32]
	tensors []vision.Tensor
	binding *onnx.IoBinding
}

// NewBuffers allocates memory for one caller; Run allocates none.
func (s *Session) NewBuffers() (*Buffers, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	s.buffers++
	s.mu.Unlock()
	b := &Buffers{s: s}
	if err := b.bind(); err != nil {
		b.Close()
		return nil, fmt.Errorf("onnx buffers: %w", err)
	}
	return b, nil
}

func (b *Buffers) bind() (err error) {
	if b.binding, err = b.s.s.CreateIoBinding(); err != nil {
		return err
	}
	if b.in, err = b.tensor(b.s.input); err != nil {
		return err
	}
	if err = b.binding.BindInput(b.s.input.Name, b.in); err != nil {
		return err
	}
	for _, o := range b.s.outputs {
		t, err := b.tensor(o)
		if err != nil {
			return err
		}
		b.outs = append(b.outs, t)
		b.tensors = append(b.tensors, vision.Tensor{Name: o.Name, Shape: o.Shape, Data: t.GetData()})
		if err := b.binding.BindOutput(o.Name, t); err != nil {
			return err
		}
	}
	return nil
}

// tensor allocates Go memory and pins it, as the library keeps its address.
func (b *Buffers) tensor(i Info) (*onnx.Tensor[float32], error) {
	data := make([]float32, count(i.Shape))
	b.pin.Pin(&data[0])
	return onnx.NewTensor(shape64(i.Shape), data)
}

// Input returns the memory to fill before Run: [1 3 height width], width
// fastest.
func (b *Buffers) Input() []float32 { return b.in.GetData() }

// Run runs the model on b's input. The result is b's own memory, valid until
// the next Run with b or its Close. It blocks for the inference's whole time
// on the calling thread.
func (s *Session) Run(b *Buffers) ([]vision.Tensor, error) {
	if b.binding == nil || b.s != s {
		return nil, fmt.Errorf("run model: %w", ErrClosed)
	}
	if err := s.s.RunWithBinding(b.binding); err != nil {
		return nil, fmt.Errorf("run model: %w", err)
	}
	return b.tensors, nil
}

// Close frees the memory. It is safe to call twice.
func (b *Buffers) Close() {
	if b.s == nil {
		return
	}
	if b.binding != nil {
		_ = b.binding.Destroy()
	}
	if b.in != nil {
		_ = b.in.Destroy()
	}
	for _, t := range b.outs {
		_ = t.Destroy()
	}
	b.pin.Unpin()
	b.s.mu.Lock()
	b.s.buffers--
	b.s.mu.Unlock()
	*b = Buffers{}
}
