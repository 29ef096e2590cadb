//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	onnx "github.com/yalue/onnxruntime_go"
)

// describe finds the picture among the inputs and the wanted outputs, and checks
// that their types can be converted.
func (s *Session) describe(ins, outs []onnx.InputOutputInfo, cfg Config) error {
	var pictures []Info
	for _, io := range ins {
		i, err := describe(io)
		if err != nil {
			return err
		}
		values, ok := cfg.Extra[io.Name]
		if !ok {
			pictures = append(pictures, i)
			continue
		}
		if i.Shape, err = fit(i, len(values)); err != nil {
			return err
		}
		s.extra, s.values = append(s.extra, i), append(s.values, values)
	}
	if len(s.extra) != len(cfg.Extra) {
		return fmt.Errorf("values were given for the inputs %v, but it has %v", slices.Sorted(maps.Keys(cfg.Extra)), infos(ins))
	}
	if len(pictures) != 1 {
		return fmt.Errorf("its inputs %v are not one picture; every other input needs its values", infos(ins))
	}
	s.input = pictures[0]
	if err := s.size(cfg); err != nil {
		return err
	}
	return s.choose(outs, cfg)
}

// choose takes the wanted outputs.
func (s *Session) choose(outs []onnx.InputOutputInfo, cfg Config) error {
	wanted := outs
	if cfg.Outputs != nil {
		wanted = nil
		for _, name := range cfg.Outputs {
			k := slices.IndexFunc(outs, func(o onnx.InputOutputInfo) bool { return o.Name == name })
			if k < 0 {
				return fmt.Errorf("it has no output %q; there are %v", name, infos(outs))
			}
			wanted = append(wanted, outs[k])
		}
	}
	if len(wanted) == 0 {
		return errors.New("it has no outputs")
	}
	for _, o := range wanted {
		i, err := describe(o)
		if err != nil {
			return err
		}
		open := len(i.Shape) == 0 || slices.ContainsFunc(i.Shape, func(d int) bool { return d <= 0 })
		s.outputs, s.open, s.quant = append(s.outputs, i), append(s.open, open), append(s.quant, cfg.Quant[o.Name])
		s.dynamic = s.dynamic || open
	}
	return nil
}

// size settles the picture's dimensions.
func (s *Session) size(cfg Config) error {
	in := s.input.Shape
	was := Info{Name: s.input.Name, Shape: slices.Clone(in)}
	c, h, w, ok := sides(in, cfg.Layout)
	want := []int{1, 3, cfg.Height, cfg.Width}
	if cfg.Layout == "nhwc" {
		want = []int{1, cfg.Height, cfg.Width, 3}
	}
	if !ok {
		return fmt.Errorf("input %s is not a picture %v", was, want)
	}
	for i := range in {
		n := 1
		switch i {
		case c:
			n = 3
		case h:
			n = cfg.Height
		case w:
			n = cfg.Width
		}
		if in[i] <= 0 {
			in[i] = n
		}
		if in[i] <= 0 || (n > 0 && in[i] != n) {
			return fmt.Errorf("input %s is not %v", was, want[4-len(in):])
		}
	}
	if count(in) > maxElements {
		return fmt.Errorf("input %s is too large", s.input)
	}
	return nil
}

// fit returns a shape for n numbers: dimensions that are left open are 1.
func fit(i Info, n int) ([]int, error) {
	shape := slices.Clone(i.Shape)
	for k := range shape {
		if shape[k] <= 0 {
			shape[k] = 1
		}
	}
	if len(shape) == 0 || count(shape) != n {
		return nil, fmt.Errorf("input %s cannot take %d values", i, n)
	}
	return shape, nil
}

// describe returns an input's or output's description, or an error where its
// elements cannot be converted.
func describe(io onnx.InputOutputInfo) (Info, error) {
	i := info(io)
	if io.OrtValueType != onnx.ONNXTypeTensor || i.Type == "" {
		return i, fmt.Errorf("%s is not a tensor of numbers", io.String())
	}
	return i, nil
}

func info(io onnx.InputOutputInfo) Info {
	out := Info{Name: io.Name, Type: typeName(io.DataType)}
	for _, d := range io.Dimensions {
		out.Shape = append(out.Shape, int(d))
	}
	return out
}

func infos(list []onnx.InputOutputInfo) []Info {
	out := make([]Info, len(list))
	for i := range list {
		out[i] = info(list[i])
	}
	return out
}
