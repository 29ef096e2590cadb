"""Writes the ONNX file: computed in 32 bits, stored in 16."""

import io

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

import augment
import data

STORED_FROM = 256  # numbers in a tensor from which it is stored in 16 bits


def write(model, path):
    """Writes a model [1 3 64 64] → [1 labels], and prints what it answers
    to one made-up picture, for a test of other runtimes."""
    x = torch.zeros(1, 3, augment.INPUT, augment.INPUT)
    raw = io.BytesIO()
    torch.onnx.export(model, x, raw, input_names=["picture"], output_names=["probabilities"], opset_version=13)
    doc = onnx.load_from_string(raw.getvalue())
    halve(doc.graph)
    doc.producer_name, doc.producer_version = "xacam models/train/helmet", ""
    meta = doc.metadata_props.add()
    meta.key, meta.value = "labels", ",".join(data.LABELS)
    onnx.checker.check_model(doc)
    onnx.save(doc, path)
    print("answer to the made-up picture:", check(model))


def halve(graph):
    """Stores large tensors in 16 bits, with a Cast before their use."""
    for t in list(graph.initializer):
        a = numpy_helper.to_array(t)
        if a.dtype != np.float32 or a.size < STORED_FROM:
            continue
        graph.initializer.remove(t)
        graph.initializer.append(numpy_helper.from_array(a.astype(np.float16), t.name + ".h"))
        graph.node.insert(0, helper.make_node("Cast", [t.name + ".h"], [t.name], to=onnx.TensorProto.FLOAT))


def check(model):
    """Probabilities for the picture whose byte at c, y, x is (7c + 3y + 5x) mod 256."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(augment.INPUT), np.arange(augment.INPUT), indexing="ij")
    with torch.no_grad():
        p = model(torch.from_numpy(((7 * c + 3 * y + 5 * x) % 256).astype(np.float32))[None])
    return [round(float(v), 5) for v in p[0]]
