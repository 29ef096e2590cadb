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
	input   Info        // the picture
	extra   []Info      // further inputs
	values  [][]float64 // of extra
	outputs []Info
	quant   []Quant // of outputs
	open    []bool  // outputs whose size is known only after a run
	dynamic bool    // there is one

	mu      sync.Mutex
	closed  bool
	buffers int
}

// Load reads, checks and prepares a model whose input is a picture. Further
// inputs get the values of cfg.Extra. Elements may be float32, float16 or whole
// numbers; they are float32 on our side. It runs the model once on an empty
// picture, so a model that loads also runs. Errors wrap ErrBadModel where the
// file is to blame.
func (r *Runtime) Load(cfg Config) (*Session, error) {
	data, err := read(cfg)
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", cfg.Path, err)
	}
	if cfg.Resize {
		if data, err = resize(data, cfg.Layout, cfg.Height, cfg.Width); err != nil {
			return nil, fmt.Errorf("load model %s: %w: %w", cfg.Path, ErrBadModel, err)
		}
	}
	if err := r.hold(); err != nil {
		return nil, err
	}
	s := &Session{rt: r}
	if err := s.create(data, cfg); err != nil {
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

// create makes the session and learns the output sizes from one run.
func (s *Session) create(data []byte, cfg Config) error {
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
	names := func(list []Info) []string {
		out := make([]string, len(list))
		for i := range list {
			out[i] = list[i].Name
		}
		return out
	}
	in := names(slices.Concat([]Info{s.input}, s.extra))
	s.s, err = onnx.NewDynamicAdvancedSessionWithONNXData(data, in, names(s.outputs), opts)
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
	var pin runtime.Pinner
	defer pin.Unpin()
	ins, err := s.inputPorts(&pin)
	defer destroy(ins)
	if err != nil {
		return err
	}
	outs := make([]onnx.Value, len(s.outputs))
	var own []*port
	defer func() { destroy(own) }()
	for i, o := range s.outputs {
		if o.Type != "float16" || s.open[i] {
			continue // the library allocates, but not halves
		}
		p, err := newPort(o, Quant{}, &pin)
		if err != nil {
			return err
		}
		own, outs[i] = append(own, p), p.value
	}
	if err := s.s.Run(values(ins), outs); err != nil {
		return fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	for i, v := range outs {
		if s.outputs[i].Type == "float16" && !s.open[i] {
			continue
		}
		shape, _, err := numbers(v, Quant{})
		if err != nil {
			return fmt.Errorf("%w: output %s: %w", ErrBadModel, s.outputs[i], err)
		}
		s.outputs[i].Shape = shape
		none := s.open[i] && slices.Contains(shape, 0)
		if count(shape) > maxElements && !none {
			return fmt.Errorf("%w: output %s is empty or too large", ErrBadModel, s.outputs[i])
		}
	}
	return nil
}

// inputPorts allocates the inputs in the session's order: the picture, then
// those with fixed values.
func (s *Session) inputPorts(pin *runtime.Pinner) ([]*port, error) {
	p, err := newPort(s.input, Quant{}, pin)
	if err != nil {
		return nil, err
	}
	ports := []*port{p}
	for i, e := range s.extra {
		p, err := newPort(e, Quant{}, pin)
		if err != nil {
			return ports, err
		}
		ports = append(ports, p)
		for k, v := range s.values[i] {
			p.data[k] = float32(v)
		}
		if p.encode != nil {
			p.encode()
		}
	}
	return ports, nil
}

func values(ports []*port) []onnx.Value {
	out := make([]onnx.Value, len(ports))
	for i, p := range ports {
		out[i] = p.value
	}
	return out
}

func destroy(ports []*port) {
	for _, p := range ports {
		_ = p.value.Destroy()
	}
}

func shape64(s []int) onnx.Shape {
	out := make(onnx.Shape, len(s))
	for i, d := range s {
		out[i] = int64(d)
	}
	return out
}

// Input returns name and size of the picture: [1 3 height width], or as the
// layout says.
func (s *Session) Input() Info { return s.input }

// Outputs returns names and sizes of the outputs, in the order of the
// configuration or the model. A size that depends on the picture is that of an
// empty one. The caller must not modify it.
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
