#!/usr/bin/python3
"""Writes the tiny models of this folder that stand for families whose real models are too large to keep.

Every model looks at the four quarters of its picture: the mean of the strongest channel is the score, the channel the
class (0 blue, 1 green, 2 red for a bgr input), and the box is the quarter, drawn in by an eighth of the picture on
every side. So the right boxes are known without any decoder. Needs Debian's python3-onnx.
"""
import os

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

SIZE = 64
HERE = os.path.dirname(os.path.abspath(__file__))
# Left, up, right, down of each quarter, drawn in; relative to the picture.
QUARTERS = np.array([[x + 0.125, y + 0.125, x + 0.375, y + 0.375] for y in (0, 0.5) for x in (0, 0.5)], np.float32)


class Graph:
    """A graph under construction."""

    def __init__(self):
        self.nodes, self.consts, self.n = [], [], 0

    def const(self, value):
        self.n += 1
        name = f"c{self.n}"
        self.consts.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind, *inputs, name=None, **attributes):
        self.n += 1
        name = name or f"t{self.n}"
        self.nodes.append(h.make_node(kind, list(inputs), [name], **attributes))
        return name

    def quarters(self, picture, layout, scale):
        """Means of the channels, [4 3], in 0..1."""
        x = self.op("Cast", picture, to=T.FLOAT)
        if layout == "chw":
            x = self.op("Unsqueeze", x, self.const(np.array([0], np.int64)))
        if layout == "nhwc":
            x = self.op("Transpose", x, perm=[0, 3, 1, 2])
        half = SIZE // 2
        x = self.op("AveragePool", x, kernel_shape=[half, half], strides=[half, half])  # [1 3 2 2]
        x = self.op("Reshape", x, self.const(np.array([3, 4], np.int64)))
        x = self.op("Transpose", x, perm=[1, 0])
        mul, add = scale
        x = self.op("Add", x, self.const(np.float32(add)))
        return self.op("Mul", x, self.const(np.float32(mul)))

    def save(self, file, inputs, outputs, metadata=None):
        value = lambda v: h.make_tensor_value_info(v[0], v[1], v[2])
        g = h.make_graph(self.nodes, "tiny", [value(v) for v in inputs], [value(v) for v in outputs], self.consts)
        m = h.make_model(g, producer_name="xacam", opset_imports=[h.make_opsetid("", 13)], ir_version=8)
        if metadata:
            h.set_model_props(m, metadata)
        onnx.checker.check_model(m)
        onnx.save(m, os.path.join(HERE, file))


def best(g, means):
    """Score and class (int64) of each quarter, [4]."""
    score = g.op("ReduceMax", means, axes=[1], keepdims=0)
    return score, g.op("ArgMax", means, axis=1, keepdims=0)


def batch(g, x, name=None):
    return g.op("Unsqueeze", x, g.const(np.array([0], np.int64)), name=name)


def ssd_tf():
    """TensorFlow's detection API: uint8 nhwc, y0 x0 y1 x1 relative, classes from 1 on as floats."""
    g = Graph()
    score, cls = best(g, g.quarters("image_tensor", "nhwc", (1 / 255, 0)))
    batch(g, score, "detection_scores")
    batch(g, g.op("Add", g.op("Cast", cls, to=T.FLOAT), g.const(np.float32(1))), "detection_classes")
    g.op("Identity", g.const(QUARTERS[None][:, :, [1, 0, 3, 2]]), name="detection_boxes")
    g.op("Identity", g.const(np.array([3], np.float32)), name="num_detections")  # the fourth does not count
    g.op("Identity", g.const(np.zeros((1, 4, 7), np.float32)), name="raw_detection_scores")  # nobody asks for it
    g.save("ssd_tf.onnx", [("image_tensor", T.UINT8, [1, SIZE, SIZE, 3])],
           [("detection_boxes", T.FLOAT, [1, 4, 4]), ("detection_classes", T.FLOAT, [1, 4]),
            ("detection_scores", T.FLOAT, [1, 4]), ("num_detections", T.FLOAT, [1]),
            ("raw_detection_scores", T.FLOAT, [1, 4, 7])])


def ssd_torch():
    """torchvision: a picture without batch, as many boxes as there are, in pixels; class 0 is background."""
    g = Graph()
    score, cls = best(g, g.quarters("image", "chw", (1, 0)))
    keep = g.op("Reshape", g.op("NonZero", g.op("Greater", score, g.const(np.float32(0.4)))),
                g.const(np.array([-1], np.int64)))
    g.op("Gather", score, keep, name="scores")
    g.op("Gather", g.op("Add", cls, g.const(np.int64(1))), keep, name="labels")
    g.op("Gather", g.const(QUARTERS * SIZE), keep, name="boxes")
    g.save("ssd_torch.onnx", [("image", T.FLOAT, [3, SIZE, SIZE])],
           [("boxes", T.FLOAT, ["n", 4]), ("scores", T.FLOAT, ["n"]), ("labels", T.INT64, ["n"])])


def ssd_int8():
    """Quantised at both ends: int8 nhwc (pixel - 128); boxes uint8 of 1/128, scores int8 of 1/255 from -128 on."""
    g = Graph()
    score, cls = best(g, g.quarters("pixels", "nhwc", (1 / 255, 128)))
    boxes = g.const(QUARTERS[None])
    g.op("QuantizeLinear", boxes, g.const(np.float32(1 / 128)), g.const(np.uint8(0)), name="boxes")
    batch(g, g.op("QuantizeLinear", score, g.const(np.float32(1 / 255)), g.const(np.int8(-128))), "scores")
    batch(g, g.op("Cast", cls, to=T.INT32), "classes")
    g.op("Identity", g.const(np.array([4], np.int32)), name="count")
    g.save("ssd_int8.onnx", [("pixels", T.INT8, [1, SIZE, SIZE, 3])],
           [("boxes", T.UINT8, [1, 4, 4]), ("scores", T.INT8, [1, 4]), ("classes", T.INT32, [1, 4]),
            ("count", T.INT32, [1])])


def centres():
    b = QUARTERS
    return np.stack([(b[:, 0] + b[:, 2]) / 2, (b[:, 1] + b[:, 3]) / 2, b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]], 1)


def rtdetr():
    """Logits and boxes as centre and size: a full channel has the logit 8, an empty one -8."""
    g = Graph()
    means = g.quarters("pixel_values", "nchw", (16, -0.5))
    batch(g, means, "logits")
    g.op("Identity", g.const(centres()[None]), name="pred_boxes")
    g.save("rtdetr_logits.onnx", [("pixel_values", T.FLOAT, ["batch", 3, "height", "width"])],
           [("logits", T.FLOAT, ["batch", 4, 3]), ("pred_boxes", T.FLOAT, ["batch", 4, 4])])


def dfine():
    """labels, boxes, scores; the boxes in the units of orig_target_sizes (width, height)."""
    g = Graph()
    score, cls = best(g, g.quarters("images", "nchw", (1, 0)))
    batch(g, score, "scores")
    batch(g, cls, "labels")
    sizes = g.op("Cast", "orig_target_sizes", to=T.FLOAT)
    sizes = g.op("Unsqueeze", g.op("Concat", sizes, sizes, axis=1), g.const(np.array([1], np.int64)))
    g.op("Mul", g.const(QUARTERS[None]), sizes, name="boxes")
    g.save("dfine.onnx", [("images", T.FLOAT, ["N", 3, SIZE, SIZE]), ("orig_target_sizes", T.INT64, ["N", 2])],
           [("labels", T.INT64, ["N", 4]), ("boxes", T.FLOAT, ["N", 4, 4]), ("scores", T.FLOAT, ["N", 4])])


def yolov8_fp16():
    """[1 4+3 84] in float16 at both ends, with the names that ultralytics writes; 80 of the 84 boxes are empty."""
    g = Graph()
    means = g.quarters("images", "nchw", (1, 0))
    columns = g.op("Concat", g.const(centres() * SIZE), means, axis=1)  # [4 7]
    columns = g.op("Concat", columns, g.const(np.zeros((80, 7), np.float32)), axis=0)
    out = batch(g, g.op("Transpose", columns, perm=[1, 0]))
    g.op("Cast", out, to=T.FLOAT16, name="output0")
    g.save("yolov8_fp16.onnx", [("images", T.FLOAT16, [1, 3, SIZE, SIZE])], [("output0", T.FLOAT16, [1, 7, 84])],
           {"names": "{0: 'red', 1: \"gr'een\", 2: 'blue'}", "stride": "32", "task": "detect", "imgsz": "[64, 64]"})


if __name__ == "__main__":
    for make in (ssd_tf, ssd_torch, ssd_int8, rtdetr, dfine, yolov8_fp16):
        make()
