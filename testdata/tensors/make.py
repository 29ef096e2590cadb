#!/usr/bin/python3
"""Writes random outputs of every model family but yolox, and the boxes that are in them.

The boxes come from a second implementation, in numpy and float64, written from the families' papers and documentation
and not from vision/family. Run it in this folder; needs python3-numpy. The same numbers every time.
"""
import json
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
LABELS = ["a", "b", "c"]
NC = len(LABELS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def placed(case):
    """Scale and offset of the picture in the input, per axis."""
    w, h, sw, sh = case["width"], case["height"], case["source_width"], case["source_height"]
    if case["letterbox"] == "stretch":
        return np.array([w / sw, h / sh]), np.zeros(2)
    r = min(w / sw, h / sh)
    if case["letterbox"] == "top_left":
        return np.array([r, r]), np.zeros(2)
    inner = np.floor(np.array([sw, sh]) * r + 1e-6)
    return np.array([r, r]), (np.array([w, h]) - inner) // 2


def finish(case, boxes, scores, classes, nms=True):
    """Threshold, suppress, map to the picture, clip."""
    left = [(s, i) for i, s in enumerate(scores) if s >= case["min_score"] and s > 0
            and boxes[i][2] > boxes[i][0] and boxes[i][3] > boxes[i][1]]
    left.sort(key=lambda x: (-x[0], x[1]))
    kept = []
    for s, i in left:
        if not nms or all(classes[k] != classes[i] or iou(boxes[k], boxes[i]) <= case["nms"] for _, k in kept):
            kept.append((s, i))
    scale, offset = placed(case)
    size = np.array([case["source_width"], case["source_height"]], float)
    out = []
    for s, i in kept:
        b = np.clip((np.asarray(boxes[i]).reshape(2, 2) - offset) / scale / size, 0, 1).reshape(4)
        if b[2] > b[0] and b[3] > b[1]:
            out.append({"class": int(classes[i]), "score": float(min(s, 1)), "box": [float(v) for v in b]})
    case["boxes"] = out


def cxcywh(b):
    return np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)


def tensor(name, a):
    """Rounded to what JSON carries, as float32; the decoder under test gets exactly the same."""
    a = np.round(np.asarray(a, float), 3).astype(np.float32)
    return {"name": name, "shape": list(a.shape), "data": [float(f"{v:.3f}") for v in a.ravel()]}, a.astype(float)


def new(rng, w, h, letterbox, **params):
    sw, sh = int(rng.integers(30, 900)), int(rng.integers(30, 900))
    return {"width": w, "height": h, "source_width": sw, "source_height": sh, "letterbox": letterbox, "labels": LABELS,
            "min_score": 0.2, "nms": 0.45, "params": params}


def random_boxes(rng, n, w, h):
    """Some of them across the edges, in clusters, as cxcywh."""
    c = rng.uniform(-0.1, 1.1, (n, 2)) * [w, h]
    c[1::3] = c[0::3][:len(c[1::3])] + rng.normal(0, 2, c[1::3].shape)
    s = rng.uniform(4, 0.6 * min(w, h), (n, 2))
    s[1::3] = s[0::3][:len(s[1::3])] * rng.uniform(0.9, 1.1, s[1::3].shape)
    return np.concatenate([c, s], 1)


def yolov5(rng, case):
    n = 60
    t, a = tensor("output", np.concatenate([random_boxes(rng, n, case["width"], case["height"]),
                                            rng.uniform(0, 1, (n, 1 + NC))], 1)[None])
    case["outputs"] = [t]
    a = a[0]
    finish(case, cxcywh(a[:, :4]), a[:, 4] * a[:, 5:].max(1), a[:, 5:].argmax(1))


def yolov5_anchors(rng, case, separate):
    boxes, scores, classes, outs = [], [], [], []
    raw = case["params"].get("activation") == "sigmoid"
    for stride, anchors in zip(case["params"]["strides"], case["params"]["anchors"]):
        gw, gh = case["width"] // stride, case["height"] // stride
        pairs = np.array(anchors).reshape(-1, 2)
        x = rng.normal(0, 1.5, (1, len(pairs), gh, gw, 5 + NC))
        x[..., 4] -= 1.5  # few objects
        t, a = tensor(f"out{stride}", x if raw else sigmoid(x))
        outs.append(t)
        y = sigmoid(a) if raw else a
        for k, (aw, ah) in enumerate(pairs):
            for j in range(gh):
                for i in range(gw):
                    v = y[0, k, j, i]
                    boxes.append([(v[0] * 2 - 0.5 + i) * stride, (v[1] * 2 - 0.5 + j) * stride,
                                  (v[2] * 2) ** 2 * aw, (v[3] * 2) ** 2 * ah])
                    scores.append(v[4] * v[5:].max())
                    classes.append(v[5:].argmax())
    if not separate:
        data = sum((t["data"] for t in outs), [])
        outs = [{"name": "output", "shape": [1, len(data) // (5 + NC), 5 + NC], "data": data}]
    case["outputs"] = outs
    finish(case, cxcywh(np.array(boxes)), scores, classes)


def yolov8(rng, case, transposed):
    n = 61
    t, a = tensor("output0", np.concatenate([random_boxes(rng, n, case["width"], case["height"]),
                                             rng.uniform(0, 1, (n, NC)) ** 2], 1)[None])
    if not transposed:
        t, a = tensor("output0", a.transpose(0, 2, 1))
        a = a.transpose(0, 2, 1)
    case["outputs"] = [t]
    a = a[0]
    finish(case, cxcywh(a[:, :4]), a[:, 4:].max(1), a[:, 4:].argmax(1))


def yolov10(rng, case):
    n = 40
    t, a = tensor("output0", np.concatenate([cxcywh(random_boxes(rng, n, case["width"], case["height"])),
                                             rng.uniform(0, 1, (n, 1)), rng.integers(0, NC, (n, 1))], 1)[None])
    case["outputs"] = [t]
    finish(case, a[0, :, :4], a[0, :, 4], a[0, :, 5], nms=False)


def fastestdet(rng, case):
    gw, gh = case["width"] // 16, case["height"] // 16
    x = rng.normal(0, 1, (1, 5 + NC, gh, gw))
    x[:, 0] = rng.uniform(0, 1, x[:, 0].shape)
    x[:, 5:] = softmax(x[:, 5:].transpose(0, 2, 3, 1) * 2).transpose(0, 3, 1, 2)
    t, a = tensor("758", x)
    case["outputs"] = [t]
    boxes, scores, classes = [], [], []
    for j in range(gh):
        for i in range(gw):
            v = a[0, :, j, i]
            boxes.append([(i + np.tanh(v[1])) / gw * case["width"], (j + np.tanh(v[2])) / gh * case["height"],
                          sigmoid(v[3]) * case["width"], sigmoid(v[4]) * case["height"]])
            scores.append(v[0] ** 0.6 * v[5:].max() ** 0.4)
            classes.append(v[5:].argmax())
    finish(case, cxcywh(np.array(boxes)), scores, classes)


def nanodet(rng, case, strides, offset, joined):
    bins = case["params"].get("reg_max", 7) + 1
    outs, boxes, scores, classes = [], [], [], []
    for s in strides:
        gw, gh = -(-case["width"] // s), -(-case["height"] // s)
        cls, a = tensor(f"cls{s}", rng.uniform(0, 1, (1, gw * gh, NC)) ** 4)
        dis, d = tensor(f"dis{s}", rng.normal(0, 2, (1, gw * gh, 4 * bins)))
        outs += [cls, dis]
        for i in range(gw * gh):
            p = softmax(d[0, i].reshape(4, bins)) @ np.arange(bins) * s
            x, y = (i % gw + offset) * s, (i // gw + offset) * s
            boxes.append([x - p[0], y - p[1], x + p[2], y + p[3]])
            scores.append(a[0, i].max())
            classes.append(a[0, i].argmax())
    if joined:
        rows = []
        for cls, dis in zip(outs[0::2], outs[1::2]):
            for i in range(cls["shape"][1]):
                rows += cls["data"][i * NC:(i + 1) * NC] + dis["data"][i * 4 * bins:(i + 1) * 4 * bins]
        outs = [{"name": "output", "shape": [1, len(rows) // (NC + 4 * bins), NC + 4 * bins], "data": rows}]
    else:
        outs = outs[0::2] + outs[1::2]  # first every class head, then every box head
    case["outputs"] = outs
    finish(case, np.array(boxes), scores, classes)


def ssd(rng, case, flavour):
    n = 25
    w, h = case["width"], case["height"]
    b = cxcywh(random_boxes(rng, n, w, h))
    scores, s = tensor("scores", rng.uniform(0, 1, n))
    first = case["params"].get("first_class", 1)
    cls = rng.integers(0, NC + first, n)  # below first is background
    if flavour == "tf":
        boxes, a = tensor("detection_boxes", (b / [w, h, w, h])[None][:, :, [1, 0, 3, 2]])
        px = a[0][:, [1, 0, 3, 2]] * [w, h, w, h]
        scores["name"], scores["shape"] = "detection_scores", [1, n]
        classes = {"name": "detection_classes", "shape": [1, n], "data": [int(c) for c in cls]}
        count = 18
        case["outputs"] = [boxes, classes, scores, {"name": "num_detections", "shape": [1], "data": [count]}]
    elif flavour == "mmdeploy":
        boxes, px = tensor("dets", np.concatenate([b, s[:, None]], 1)[None])
        px, count = px[0, :, :4], n
        classes = {"name": "labels", "shape": [1, n], "data": [int(c) for c in cls]}
        case["outputs"] = [boxes, classes]
    else:
        boxes, px = tensor("boxes", b)
        classes, count = {"name": "labels", "shape": [n], "data": [int(c) for c in cls]}, n
        case["outputs"] = [boxes, scores, classes]
    keep = [i for i in range(count) if cls[i] >= first]
    finish(case, [px[i] for i in keep], [s[i] for i in keep], [cls[i] - first for i in keep], nms=False)


def rtdetr(rng, case, flavour):
    n = 30
    w, h = case["width"], case["height"]
    rel = random_boxes(rng, n, w, h) / [w, h, w, h]
    size = np.array([w, h, w, h])
    if flavour == "list":
        labels = rng.integers(0, NC, n)
        boxes, a = tensor("boxes", (cxcywh(rel) * size)[None])
        scores, s = tensor("scores", rng.uniform(0, 1, (1, n)))
        case["outputs"] = [{"name": "labels", "shape": [1, n], "data": [int(c) for c in labels]}, boxes, scores]
        finish(case, a[0], s[0], labels, nms=False)
        return
    softmaxed = case["params"].get("activation") == "softmax"
    logits = rng.normal(-1, 2, (1, n, NC + softmaxed))
    if flavour == "joined":
        t, a = tensor("output0", np.concatenate([rel[None], sigmoid(logits)], 2))
        case["outputs"] = [t]
        rel, p = a[0, :, :4], a[0, :, 4:]
    else:
        t, a = tensor("logits", logits)
        b, rel = tensor("pred_boxes", rel[None])
        case["outputs"] = [t, b]
        rel, p = rel[0], softmax(a[0])[:, :NC] if softmaxed else sigmoid(a[0])
    # The best pairs of a query and a class, as many as there are queries.
    pairs = sorted(((p[i, c], i, c) for i in range(n) for c in range(NC)), key=lambda x: (-x[0], x[1], x[2]))[:n]
    px = cxcywh(rel) * size
    finish(case, [px[i] for _, i, _ in pairs], [s for s, _, _ in pairs], [c for _, _, c in pairs], nms=False)


CASES = {
    "yolov5/decoded": lambda r: (new(r, 64, 96, "center"), yolov5),
    "yolov5/anchors": lambda r: (new(r, 64, 32, "stretch", strides=[8, 16], anchors=[[10, 13, 16, 30], [30, 61, 62, 45]]),
                                 lambda g, c: yolov5_anchors(g, c, False)),
    "yolov5/grids": lambda r: (new(r, 32, 64, "center", strides=[8, 16], activation="sigmoid",
                                   anchors=[[10, 13, 16, 30], [30, 61, 62, 45]]), lambda g, c: yolov5_anchors(g, c, True)),
    "yolov8/columns": lambda r: (new(r, 96, 64, "center"), lambda g, c: yolov8(g, c, False)),
    "yolov8/rows": lambda r: (new(r, 96, 64, "top_left"), lambda g, c: yolov8(g, c, True)),
    "yolov10/plain": lambda r: (new(r, 64, 64, "center"), yolov10),
    "fastestdet/plain": lambda r: (new(r, 96, 64, "stretch"), fastestdet),
    "nanodet/heads": lambda r: (new(r, 64, 64, "center"), lambda g, c: nanodet(g, c, [8, 16, 32], 0.5, False)),
    "nanodet-plus/joined": lambda r: (new(r, 80, 48, "center", reg_max=4), lambda g, c: nanodet(g, c, [8, 16, 32, 64], 0, True)),
    "ssd/tensorflow": lambda r: (new(r, 64, 48, "stretch"), lambda g, c: ssd(g, c, "tf")),
    "ssd/torchvision": lambda r: (new(r, 64, 48, "top_left", boxes="xyxy", units="pixels", first_class=1),
                                  lambda g, c: ssd(g, c, "torch")),
    "ssd/mmdeploy": lambda r: (new(r, 64, 48, "center", boxes="xyxy", units="pixels", first_class=0),
                               lambda g, c: ssd(g, c, "mmdeploy")),
    "rtdetr/list": lambda r: (new(r, 64, 64, "stretch"), lambda g, c: rtdetr(g, c, "list")),
    "rtdetr/logits": lambda r: (new(r, 96, 64, "stretch"), lambda g, c: rtdetr(g, c, "logits")),
    "rtdetr/softmax": lambda r: (new(r, 96, 64, "stretch", activation="softmax"), lambda g, c: rtdetr(g, c, "logits")),
    "rtdetr/joined": lambda r: (new(r, 64, 96, "stretch"), lambda g, c: rtdetr(g, c, "joined")),
}

if __name__ == "__main__":
    for seed, (name, make) in enumerate(sorted(CASES.items())):
        rng = np.random.default_rng(seed)
        case, fill = make(rng)
        fill(rng, case)
        assert len(case["boxes"]) >= 5, (name, len(case["boxes"]))
        path = os.path.join(HERE, name + ".json")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            json.dump(case, f, separators=(",", ":"))
            f.write("\n")
