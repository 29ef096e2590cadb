package ort

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto (ONNX 1.12, IR version 8).
const (
	modelGraph = 7 // ModelProto.graph

	graphInit   = 5  // GraphProto.initializer
	graphInput  = 11 // GraphProto.input
	graphOutput = 12 // GraphProto.output
	graphValues = 13 // GraphProto.value_info

	tensorName = 8 // TensorProto.name

	valueName = 1 // ValueInfoProto.name
	valueType = 2 // ValueInfoProto.type

	typeTensor  = 1 // TypeProto.tensor_type
	tensorShape = 2 // TypeProto.Tensor.shape

	shapeDim = 1 // TensorShapeProto.dim
	dimValue = 1 // TensorShapeProto.Dimension.dim_value
)

var errNotONNX = errors.New("not an ONNX model")

// resize returns a copy of an ONNX model with another height and width of its
// one picture input. What the file says of the sizes inside and of the outputs
// is left out, so that they are worked out anew. It is for models that are the
// same at every size, as fully convolutional ones are; ONNX Runtime refuses
// others when they are loaded, or at the first run.
func resize(model []byte, layout string, height, width int) ([]byte, error) {
	return rewrite(model, func(num protowire.Number, v []byte) ([]byte, error) {
		if num != modelGraph {
			return v, nil
		}
		weights := make(map[string]bool)
		if _, err := rewrite(v, func(num protowire.Number, v []byte) ([]byte, error) {
			if num == graphInit {
				name, err := text(v, tensorName)
				weights[name] = true
				return v, err
			}
			return v, nil
		}); err != nil {
			return nil, err
		}
		return rewrite(v, func(num protowire.Number, v []byte) ([]byte, error) {
			if num == graphValues {
				return nil, nil
			}
			if num == graphOutput {
				return inShape(v, func([]byte) ([]byte, error) { return nil, nil })
			}
			if num != graphInput {
				return v, nil
			}
			if name, err := text(v, valueName); err != nil || weights[name] {
				return v, err
			}
			return inShape(v, func(shape []byte) ([]byte, error) { return setSides(shape, layout, height, width) })
		})
	})
}

// inShape rewrites the shape of a ValueInfoProto; nil removes it.
func inShape(value []byte, f func([]byte) ([]byte, error)) ([]byte, error) {
	return in(value, valueType, func(v []byte) ([]byte, error) {
		return in(v, typeTensor, func(v []byte) ([]byte, error) {
			return in(v, tensorShape, f)
		})
	})
}

// setSides replaces height and width in a TensorShapeProto.
func setSides(shape []byte, layout string, height, width int) ([]byte, error) {
	n := 0
	if _, err := in(shape, shapeDim, func(v []byte) ([]byte, error) { n++; return v, nil }); err != nil {
		return nil, err
	}
	_, h, w, ok := sides(make([]int, n), layout)
	if !ok {
		return nil, fmt.Errorf("%w: its input has %d dimensions", errNotONNX, n)
	}
	i := -1
	return in(shape, shapeDim, func(v []byte) ([]byte, error) {
		i++
		var size int
		switch i {
		case h:
			size = height
		case w:
			size = width
		default:
			return v, nil
		}
		return protowire.AppendVarint(protowire.AppendTag(nil, dimValue, protowire.VarintType), uint64(size)), nil //nolint:gosec // positive
	})
}

// in rewrites the fields of a message with the given number.
func in(msg []byte, field protowire.Number, f func([]byte) ([]byte, error)) ([]byte, error) {
	return rewrite(msg, func(num protowire.Number, v []byte) ([]byte, error) {
		if num == field {
			return f(v)
		}
		return v, nil
	})
}

// text returns a field of a message that is a string.
func text(msg []byte, field protowire.Number) (out string, err error) {
	_, err = in(msg, field, func(v []byte) ([]byte, error) {
		out = string(v)
		return v, nil
	})
	return out, err
}

// rewrite copies a message and lets f change its fields that have a length:
// texts, bytes and messages. A nil result leaves the field out.
func rewrite(msg []byte, f func(protowire.Number, []byte) ([]byte, error)) ([]byte, error) {
	out := make([]byte, 0, len(msg)+16)
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", errNotONNX, protowire.ParseError(n))
		}
		m := protowire.ConsumeFieldValue(num, typ, msg[n:])
		if m < 0 {
			return nil, fmt.Errorf("%w: %w", errNotONNX, protowire.ParseError(m))
		}
		if typ != protowire.BytesType {
			out = append(out, msg[:n+m]...)
			msg = msg[n+m:]
			continue
		}
		v, _ := protowire.ConsumeBytes(msg[n:])
		changed, err := f(num, v)
		if err != nil {
			return nil, err
		}
		if changed != nil {
			out = protowire.AppendBytes(protowire.AppendTag(out, num, typ), changed)
		}
		msg = msg[n+m:]
	}
	return out, nil
}
