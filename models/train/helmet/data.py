"""Pictures, heads and the split of the helmet data.

The data is a folder with `images/` and a COCO-style `annotations.json` whose
categories are "With Helmet" and "Without Helmet". It is not part of the
project; see models/helmet.md.
"""

import collections
import csv
import dataclasses
import json
import os
import random

import cv2
import numpy as np

WITH, WITHOUT, OTHER = 0, 1, 2
LABELS = ["with", "without", "other"]

# CANVAS is the side in pixels of the square kept around each head, and REACH
# its side in units of the head's longer side: room for every augmentation.
CANVAS, REACH = 160, 3.4


@dataclasses.dataclass
class Picture:
    """One picture and its heads, boxes as x, y, w, h in pixels."""

    name: str
    image: np.ndarray
    heads: list  # of (box, label)
    group: int = 0


def load(folder):
    """Returns all pictures in the order of their names, groups filled in."""
    with open(os.path.join(folder, "annotations.json"), encoding="utf-8") as f:
        doc = json.load(f)
    label = {}
    for c in doc["categories"]:
        label[c["id"]] = WITHOUT if "without" in c["name"].lower() else WITH
    heads = collections.defaultdict(list)
    size = {i["id"]: (i["width"], i["height"]) for i in doc["images"]}
    for a in doc["annotations"]:
        box = repair(a["bbox"], size[a["image_id"]])
        if box is not None:
            heads[a["image_id"]].append((box, label[a["category_id"]]))
    out = []
    for i in sorted(doc["images"], key=lambda i: i["file_name"]):
        image = cv2.imread(os.path.join(folder, "images", i["file_name"]))
        if image is None:
            raise SystemExit(f"{i['file_name']} cannot be read")
        out.append(Picture(i["file_name"], image, heads[i["id"]]))
    group(out)
    return out


def repair(box, size):
    """Undoes a scaling that a few boxes of the set had twice; None where that
    does not lead into the picture either."""
    x, y, w, h = box
    if x + w > 2 * size[0] or y + h > 2 * size[1]:
        x, y, w, h = x / size[0], y / size[1], w / size[0], h / size[1]
    if not (0 <= x + w / 2 < size[0] and 0 <= y + h / 2 < size[1]):
        return None
    return x, y, w, h


def correct(pictures):
    """Puts the labels right that corrections.csv lists, and leaves out boxes
    without a head. For training pictures only: the test stays as it was given.
    """
    fixes = {(r["picture"], int(r["x"]), int(r["y"])): r["label"] for r in table("corrections.csv")}
    for p in pictures:
        heads = []
        for box, label in p.heads:
            fix = fixes.pop((p.name, int(box[0]), int(box[1])), LABELS[label])
            if fix != "none":
                heads.append((box, LABELS.index(fix)))
        p.heads = heads
    if fixes:
        raise SystemExit(f"corrections.csv: no such boxes: {sorted(fixes)}")


def table(name):
    """The lines of a table beside this file."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), encoding="utf-8") as f:
        return list(csv.DictReader(f))


def more_heads(folder, name, test):
    """The heads of a table, which we boxed and labelled by eye: in heads.csv
    people whom the set does not label in its own training pictures, and others;
    in other_cameras.csv heads that no training sees. A head's name is that of
    its training picture, or empty for other sources."""
    rows = collections.defaultdict(list)
    for r in table(name):
        if os.path.basename(r["picture"]) in test:
            raise SystemExit(f"{name}: {r['picture']} is a test picture")
        rows[r["picture"], int(r["frame"] or -1)].append(r)
    out = []
    for (picture, frame), heads in rows.items():
        image = read(os.path.join(folder, picture), frame)
        name = os.path.basename(picture) if "helmet_500" in picture else ""
        for r in heads:
            x, y, side = float(r["x"]), float(r["y"]), float(r["side"])
            canvas = cut(image, x + side / 2, y + side / 2, REACH * side, CANVAS)
            out.append(Head(canvas, LABELS.index(r["label"]), side, name))
    return out


def read(path, frame):
    """A picture, or frame number frame, from 0, of a clip."""
    if frame < 0:
        image = cv2.imread(path)
    else:
        clip = cv2.VideoCapture(path)
        for _ in range(frame + 1):
            _, image = clip.read()
    if image is None:
        raise SystemExit(f"{path} cannot be read")
    return image


def dhash(image):
    """64 bits: where a 9 × 8 grey picture gets brighter to the right."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return (small[:, 1:] > small[:, :-1]).ravel()


def group(pictures, limit=10):
    """Gives copies of one picture, mirrored ones too, the same group.

    About a fifth of the set are copies: a split by file would test on
    pictures that were trained on.
    """
    a = np.array([dhash(p.image) for p in pictures])
    b = np.array([dhash(cv2.flip(p.image, 1)) for p in pictures])
    near = np.minimum((a[:, None] != a[None]).sum(2), (a[:, None] != b[None]).sum(2)) <= limit
    for i, p in enumerate(pictures):
        p.group = i
        for j in range(i):
            if near[i, j]:
                old, new = p.group, pictures[j].group
                for q in pictures[: i + 1]:
                    if q.group == old:
                        q.group = new


def split(pictures, seed=20261123, share=0.25):
    """Returns training and test pictures; of a group, the test has one."""
    groups = sorted({p.group for p in pictures})
    random.Random(seed).shuffle(groups)
    test = set(groups[: round(len(groups) * share)])
    return [p for p in pictures if p.group not in test], firsts(p for p in pictures if p.group in test)


def firsts(pictures):
    """The first picture of each group."""
    out = {}
    for p in pictures:
        out.setdefault(p.group, p)
    return list(out.values())


def folds(pictures, n, seed=7):
    """Yields n pairs of training and validation pictures, whole groups each; of
    a group, the validation has one."""
    groups = sorted({p.group for p in pictures})
    random.Random(seed).shuffle(groups)
    for k in range(n):
        held = set(groups[k::n])
        yield [p for p in pictures if p.group not in held], firsts(p for p in pictures if p.group in held)


@dataclasses.dataclass
class Head:
    """A square canvas around a head; its longer side is CANVAS / REACH pixels
    of the canvas."""

    canvas: np.ndarray
    label: int
    size: float  # longer side in the picture, pixels
    name: str


def cut(image, cx, cy, side, out):
    """A square of the picture, scaled to out pixels; beyond the border, grey."""
    s = side / out
    m = np.array([[s, 0, cx - side / 2 + s / 2 - 0.5], [0, s, cy - side / 2 + s / 2 - 0.5]])
    if s > 1.3:  # average what would be skipped
        k = s / 2.2
        image = cv2.GaussianBlur(image, (0, 0), k)
    return cv2.warpAffine(image, m, (out, out), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=(114, 114, 114))


def heads_of(pictures):
    """All usable heads, as canvases."""
    out = []
    for p in pictures:
        for (x, y, w, h), label in p.heads:
            size = max(w, h)
            if size < 8:
                continue
            c = cut(p.image, x + w / 2, y + h / 2, REACH * size, CANVAS)
            out.append(Head(c, label, size, p.name))
    return out


def others_of(pictures, rng, per_picture=4):
    """Squares that are no heads: what a wrong box would show."""
    out = []
    for p in pictures:
        height, width = p.image.shape[:2]
        sizes = [max(b[2], b[3]) for b, _ in p.heads] or [32]
        for _ in range(per_picture):
            size = min(rng.choice(sizes) * rng.uniform(0.6, 1.6), min(width, height) / 2)
            cx = rng.uniform(size / 2, width - size / 2)
            cy = rng.uniform(0.45 * height, height - size / 2) if rng.random() < 0.85 else rng.uniform(0, 0.15) * height
            if any(abs(cx - b[0] - b[2] / 2) < 0.75 * max(b[2], size) and
                   abs(cy - b[1] - b[3] / 2) < 0.75 * max(b[3], size) for b, _ in p.heads):
                continue
            out.append(Head(cut(p.image, cx, cy, REACH * size, CANVAS), OTHER, size, p.name))
    return out
