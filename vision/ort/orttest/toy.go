// Package orttest writes small ONNX models for tests, so that no test needs a
// trained network: a colour-blob detector with YOLOX's output layout and some
// broken relatives.
package orttest

import (
	"encoding/binary"
	"math"
)

// Size is the toy's input width and height in pixels.
const Size = 64

// Labels are the toy's classes.
func Labels() []string { return []string{"blue", "green", "red"} }

// Variant changes the toy.
type Variant uint8

// Variants.
const (
	Plain   Variant = iota
	NaN             // every output is not a number
	Dynamic         // height and width of input and output are left open
)

// Toy returns an ONNX file: input images [1 3 64 64], BGR 0–255; output
// [1 84 8], one row per cell of the strides 8, 16 and 32 with offset x, y,
// log width, log height, objectness and three classes, all after a sigmoid.
// A cell filled with pure blue, green or red is reported with a score near 1;
// grey, black and white cells with one near 0. A box is between 1 and 2.7
// strides wide.
func Toy(v Variant) []byte {
	// Rows: dx, dy, log w, log h, objectness, blue, green, red.
	const k = 0.1
	w := []float32{
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // offsets and sizes do not look at the picture
		k, k, k,
		k, -k, -k,
		-k, k, -k,
		-k, -k, k,
	}
	b := []float32{0, 0, -8, -8, -10, -12, -12, -12} // sigmoid(0) is the cell's middle; e^sigmoid(-8) is 1 stride
	if v == NaN {
		b[4] = float32(math.NaN())
		for i := range b {
			b[i] = float32(math.NaN())
		}
	}
	var g message
	for i, stride := range []int64{8, 16, 32} {
		n := string(rune('0' + i))
		g.bytes(1, node("AveragePool", []string{"images"}, "pool"+n,
			ints("kernel_shape", stride, stride), ints("strides", stride, stride)))
		g.bytes(1, node("Conv", []string{"pool" + n, "weight", "bias"}, "conv"+n))
		g.bytes(1, node("Reshape", []string{"conv" + n, "flat"}, "level"+n))
	}
	g.bytes(1, node("Concat", []string{"level0", "level1", "level2"}, "cells", integer("axis", 2)))
	g.bytes(1, node("Transpose", []string{"cells"}, "rows", ints("perm", 0, 2, 1)))
	g.bytes(1, node("Sigmoid", []string{"rows"}, "output"))
	g.bytes(2, []byte("toy"))
	g.bytes(5, floats("weight", w, 8, 3, 1, 1))
	g.bytes(5, floats("bias", b, 8))
	g.bytes(5, longs("flat", []int64{1, 8, -1}))
	side := int64(Size)
	cells := int64(84)
	if v == Dynamic {
		side, cells = 0, 0
	}
	g.bytes(11, value("images", 1, 3, side, side))
	g.bytes(12, value("output", 1, cells, 8))

	var opset, m message
	opset.varint(2, 13)
	m.varint(1, 8) // ir_version
	m.bytes(2, []byte("xacam"))
	m.bytes(7, g)
	m.bytes(8, opset)
	return m
}

// message is a protocol buffer under construction. Field numbers are those of
// onnx.proto3 in the ONNX repository.
type message []byte

func (m *message) varint(field int, v uint64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3) //nolint:gosec // small positive constants
	*m = binary.AppendUvarint(*m, v)
}

func (m *message) bytes(field int, b []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2) //nolint:gosec // small positive constants
	*m = binary.AppendUvarint(*m, uint64(len(b)))
	*m = append(*m, b...)
}

// node is a NodeProto with one output.
func node(op string, inputs []string, output string, attributes ...[]byte) []byte {
	var m message
	for _, in := range inputs {
		m.bytes(1, []byte(in))
	}
	m.bytes(2, []byte(output))
	m.bytes(4, []byte(op))
	for _, a := range attributes {
		m.bytes(5, a)
	}
	return m
}

// integer is an AttributeProto of type INT.
func integer(name string, v uint64) []byte {
	var m message
	m.bytes(1, []byte(name))
	m.varint(3, v)
	m.varint(20, 2)
	return m
}

// ints is an AttributeProto of type INTS.
func ints(name string, v ...int64) []byte {
	var m message
	m.bytes(1, []byte(name))
	for _, x := range v {
		m.varint(8, uint64(x)) //nolint:gosec // two's complement is the encoding
	}
	m.varint(20, 7)
	return m
}

// floats is a TensorProto of type FLOAT.
func floats(name string, data []float32, dims ...uint64) []byte {
	var m message
	for _, d := range dims {
		m.varint(1, d)
	}
	m.varint(2, 1)
	m.bytes(8, []byte(name))
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	m.bytes(9, raw)
	return m
}

// longs is a one-dimensional TensorProto of type INT64.
func longs(name string, data []int64) []byte {
	var m message
	m.varint(1, uint64(len(data)))
	m.varint(2, 7)
	m.bytes(8, []byte(name))
	raw := make([]byte, 0, 8*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v)) //nolint:gosec // two's complement is the encoding
	}
	m.bytes(9, raw)
	return m
}

// value is a ValueInfoProto of a float32 tensor; a dimension of 0 is open.
func value(name string, dims ...int64) []byte {
	var shape, tensor, typ, m message
	for _, d := range dims {
		var dim message
		if d > 0 {
			dim.varint(1, uint64(d))
		} else {
			dim.bytes(2, []byte("open"))
		}
		shape.bytes(1, dim)
	}
	tensor.varint(1, 1)
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	m.bytes(1, []byte(name))
	m.bytes(2, typ)
	return m
}
