//go:build cgo

package ort

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	onnx "github.com/yalue/onnxruntime_go"
)

// port is the memory of one input or output of a caller: the library's tensor,
// and the same as float32. For float32 both are the same memory.
type port struct {
	value  onnx.Value
	data   []float32
	encode func() // from data to the tensor; nil for float32
	decode func() // from the tensor to data; nil for float32
}

// typeName returns the element type as Go calls it; "" is one that cannot be
// converted.
func typeName(t onnx.TensorElementDataType) string {
	switch t {
	case onnx.TensorElementDataTypeFloat:
		return "float32"
	case onnx.TensorElementDataTypeFloat16:
		return "float16"
	case onnx.TensorElementDataTypeDouble:
		return "float64"
	case onnx.TensorElementDataTypeInt8:
		return "int8"
	case onnx.TensorElementDataTypeUint8:
		return "uint8"
	case onnx.TensorElementDataTypeInt16:
		return "int16"
	case onnx.TensorElementDataTypeUint16:
		return "uint16"
	case onnx.TensorElementDataTypeInt32:
		return "int32"
	case onnx.TensorElementDataTypeUint32:
		return "uint32"
	case onnx.TensorElementDataTypeInt64:
		return "int64"
	case onnx.TensorElementDataTypeUint64:
		return "uint64"
	}
	return ""
}

// newPort allocates Go memory and pins it, as the library keeps its address.
func newPort(i Info, q Quant, pin *runtime.Pinner) (*port, error) {
	const whole = 1 << 24 // what a float32 holds exactly
	switch i.Type {
	case "float32":
		data := make([]float32, count(i.Shape))
		pin.Pin(&data[0])
		t, err := onnx.NewTensor(shape64(i.Shape), data)
		return &port{value: t, data: data}, err
	case "float16":
		return halfPort(i, pin)
	case "float64":
		return numberPort[float64](i, q, pin, -math.MaxFloat32, math.MaxFloat32)
	case "int8":
		return numberPort[int8](i, q, pin, math.MinInt8, math.MaxInt8)
	case "uint8":
		return numberPort[uint8](i, q, pin, 0, math.MaxUint8)
	case "int16":
		return numberPort[int16](i, q, pin, math.MinInt16, math.MaxInt16)
	case "uint16":
		return numberPort[uint16](i, q, pin, 0, math.MaxUint16)
	case "int32":
		return numberPort[int32](i, q, pin, -whole, whole)
	case "uint32":
		return numberPort[uint32](i, q, pin, 0, whole)
	case "int64":
		return numberPort[int64](i, q, pin, -whole, whole)
	case "uint64":
		return numberPort[uint64](i, q, pin, 0, whole)
	}
	return nil, fmt.Errorf("%s has elements of a type that is not supported", i)
}

func numberPort[T interface {
	number
	onnx.TensorData
}](i Info, q Quant, pin *runtime.Pinner, lo, hi float32,
) (*port, error) {
	raw := make([]T, count(i.Shape))
	pin.Pin(&raw[0])
	t, err := onnx.NewTensor(shape64(i.Shape), raw)
	p := &port{value: t, data: make([]float32, len(raw))}
	p.encode = func() { toNumbers(raw, p.data, lo, hi) }
	p.decode = func() { fromNumbers(p.data, raw, q) }
	return p, err
}

func halfPort(i Info, pin *runtime.Pinner) (*port, error) {
	raw := make([]uint16, count(i.Shape))
	pin.Pin(&raw[0])
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&raw[0])), 2*len(raw))
	t, err := onnx.NewCustomDataTensor(shape64(i.Shape), bytes, onnx.TensorElementDataTypeFloat16)
	p := &port{value: t, data: make([]float32, len(raw))}
	p.encode = func() { toHalves(raw, p.data) }
	p.decode = func() { fromHalves(p.data, raw) }
	return p, err
}

// numbers returns what a tensor that the library allocated holds, and frees
// it. The result is Go's own memory.
func numbers(v onnx.Value, q Quant) (shape []int, data []float32, err error) {
	defer func() { _ = v.Destroy() }()
	for _, d := range v.GetShape() {
		shape = append(shape, int(d))
	}
	switch t := v.(type) {
	case *onnx.Tensor[float32]:
		return shape, t.GetData(), nil
	case *onnx.Tensor[float64]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[int8]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[uint8]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[int16]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[uint16]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[int32]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[uint32]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[int64]:
		data = converted(t.GetData(), q)
	case *onnx.Tensor[uint64]:
		data = converted(t.GetData(), q)
	default:
		return nil, nil, fmt.Errorf("an output of type %T of open size is not supported: export the model with fixed sizes", v)
	}
	return shape, data, nil
}

func converted[T number](raw []T, q Quant) []float32 {
	data := make([]float32, len(raw))
	fromNumbers(data, raw, q)
	return data
}
