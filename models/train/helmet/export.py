"""Writes the ONNX file: computed in 32 bits, convolutions stored in 8."""

import copy
import io

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

import augment
import data

STORED_FROM = 256  # numbers in a convolution from which they are stored in 8 bits


def fused(model):
    """A copy whose batch norms are part of the convolutions before them, and
    whose convolutions have weights that 8 bits hold: what the file computes."""
    model = copy.deepcopy(model).eval()
    for m in list(model.modules()):
        if not isinstance(m, nn.Sequential):
            continue
        for i in range(len(m) - 1):
            if isinstance(m[i], nn.Conv2d) and isinstance(m[i + 1], nn.BatchNorm2d):
                m[i] = nn.utils.fusion.fuse_conv_bn_eval(m[i], m[i + 1])
                m[i + 1] = nn.Identity()
    for m in model.modules():
        if isinstance(m, nn.Conv2d) and m.weight.numel() >= STORED_FROM:
            with torch.no_grad():
                scale = scales(m.weight.numpy())
                m.weight.copy_(torch.from_numpy(np.rint(m.weight.numpy() / scale) * scale))
    return model


def scales(w):
    """What one step of 8 bits is worth, for each output channel of a
    convolution; of a shape that divides w."""
    top = np.abs(w).max(axis=tuple(range(1, w.ndim)), keepdims=True)
    return (np.maximum(top, 1e-8) / 127).astype(np.float32)


def write(model, path):
    """Writes a fused model [1 3 64 64] → [1 labels], and prints what it answers
    to one made-up picture, for a test of other runtimes."""
    x = torch.zeros(1, 3, augment.INPUT, augment.INPUT)
    raw = io.BytesIO()
    torch.onnx.export(model, x, raw, input_names=["picture"], output_names=["probabilities"], opset_version=13)
    doc = onnx.load_from_string(raw.getvalue())
    store(doc.graph)
    doc.producer_name, doc.producer_version = "xacam models/train/helmet", ""
    meta = doc.metadata_props.add()
    meta.key, meta.value = "labels", ",".join(data.LABELS)
    onnx.checker.check_model(doc)
    onnx.save(doc, path)
    print("answer to the made-up picture:", check(model))


def store(graph):
    """Stores the weights of convolutions in 8 bits, and what to multiply them
    with; nothing is lost, see fused. With a Cast and a Mul, which ONNX Runtime
    does once, when it loads: a DequantizeLinear it would do for each picture."""
    convolutions = {n.input[1] for n in graph.node if n.op_type == "Conv"}
    for t in list(graph.initializer):
        w = numpy_helper.to_array(t)
        if t.name not in convolutions or w.size < STORED_FROM:
            continue
        scale = scales(w)
        q = np.rint(w / scale)
        if not np.allclose(q * scale, w, rtol=0, atol=1e-3 * float(scale.max())):
            raise SystemExit(f"{t.name} does not fit into 8 bits: it was not fused")
        graph.initializer.remove(t)
        graph.initializer.extend([numpy_helper.from_array(q.astype(np.int8), t.name + ".q"),
                                  numpy_helper.from_array(scale, t.name + ".s")])
        graph.node.insert(0, helper.make_node("Mul", [t.name + ".f", t.name + ".s"], [t.name]))
        graph.node.insert(0, helper.make_node("Cast", [t.name + ".q"], [t.name + ".f"], to=onnx.TensorProto.FLOAT))


def check(model):
    """Probabilities for the picture whose byte at c, y, x is (7c + 3y + 5x) mod 256."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(augment.INPUT), np.arange(augment.INPUT), indexing="ij")
    with torch.no_grad():
        p = model(torch.from_numpy(((7 * c + 3 * y + 5 * x) % 256).astype(np.float32))[None])
    return [round(float(v), 5) for v in p[0]]
