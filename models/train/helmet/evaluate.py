"""Figures of a model on heads it was not trained on."""

import numpy as np
import torch

import augment
import data

# VIEWS are crops as person boxes give them: the nominal one, then larger,
# smaller and beside it. Units of the head's longer side.
VIEWS = [{}, {"margin": 1.4}, {"margin": 2.1}, {"dx": 0.25}, {"dx": -0.25}, {"dy": 0.15}, {"dy": -0.12}]
SIZES = [(8, 16), (16, 24), (24, 32), (32, 48), (48, 1000)]
SURE = 0.65  # below it the answer is "unsure"


def ask(model, heads, **view):
    """What the model says of each head."""
    out = []
    with torch.no_grad():
        for i in range(0, len(heads), 64):
            x = torch.from_numpy(augment.tensor([augment.nominal(h.canvas, **view) for h in heads[i:i + 64]]))
            out.append(model(x))
    return torch.cat(out).numpy()


def without(p):
    """The probability of no helmet, given that there is a head."""
    return p[:, data.WITHOUT] / np.maximum(p[:, data.WITH] + p[:, data.WITHOUT], 1e-9)


def balanced(q, y):
    """Mean of the shares of both labels that are right."""
    return float(np.mean([np.mean((q >= 0.5)[y == k] == (k == data.WITHOUT)) for k in (data.WITH, data.WITHOUT)]))


def truth(heads):
    return np.array([h.label for h in heads])


def said(nets, heads, temperature=1.0):
    """The mean answer of some nets, as the file gives it."""
    mirrored = [data.Head(h.canvas[:, ::-1].copy(), h.label, h.size, h.name) for h in heads]
    logits = [ask(n, mirrored if i % 2 else heads) for i, n in enumerate(nets)]
    return np.mean([softmax(a / temperature) for a in logits], axis=0)


def softmax(a):
    return torch.softmax(torch.from_numpy(a), 1).numpy()


def summary(nets, heads):
    """Balanced accuracy on nominal crops."""
    return {"heads": len(heads), "balanced_accuracy": round(balanced(without(said(nets, heads)), truth(heads)), 4)}


def pooled(held):
    """Balanced accuracy of all nets on all heads they were not shown."""
    q = np.concatenate([without(said(nets, heads)) for nets, heads in held])
    y = np.concatenate([truth(heads) for _, heads in held])
    return {"heads": len(y), "balanced_accuracy": round(balanced(q, y), 4)}


def temperature(held):
    """The temperature that makes held-back heads most likely."""
    y = np.concatenate([truth(heads) for _, heads in held])

    def cost(t):
        q = np.concatenate([without(said(nets, heads, t)) for nets, heads in held])
        return nll(q, y)

    return round(float(min(np.arange(0.2, 2.01, 0.05), key=cost)), 2)


def nll(q, y):
    """How unlikely the labels are to one who gives q for no helmet."""
    return float(-np.mean(np.log(np.maximum(np.where(y == data.WITHOUT, q, 1 - q), 1e-6))))


def calibration(q, y, bins=10):
    """Expected calibration error of the likelier answer, in 10 bins."""
    conf, right = np.maximum(q, 1 - q), (q >= 0.5) == (y == data.WITHOUT)
    edges = np.linspace(0.5, 1, bins + 1)
    total = 0.0
    for a, b in zip(edges, edges[1:]):
        m = (conf >= a) & ((conf < b) | (b == 1))
        if m.any():
            total += m.mean() * abs(conf[m].mean() - right[m].mean())
    return round(float(total), 4)


def report(model, heads):
    """All figures of a Shipped model."""
    y = truth(heads)
    views = [ask(model, heads, **v) for v in VIEWS]
    p = views[0]
    q = without(p)
    right = (q >= 0.5) == (y == data.WITHOUT)
    sure = np.maximum(q, 1 - q) >= SURE
    size = np.array([h.size for h in heads])
    mirrored = ask(model, [data.Head(h.canvas[:, ::-1].copy(), h.label, h.size, h.name) for h in heads])
    several = np.mean([without(v) for v in views + [mirrored]], axis=0)
    rng = np.random.default_rng(5)
    spread = []
    for _ in range(1000):  # of heads drawn anew
        i = rng.integers(0, len(y), len(y))
        spread.append(balanced(q[i], y[i]))
    return {
        "heads": len(heads), "with": int((y == data.WITH).sum()), "without": int((y == data.WITHOUT).sum()),
        "balanced_accuracy": round(balanced(q, y), 4),
        "interval_95": [round(float(v), 4) for v in np.percentile(spread, [2.5, 97.5])],
        "recall_with": round(float(right[y == data.WITH].mean()), 4),
        "recall_without": round(float(right[y == data.WITHOUT].mean()), 4),
        "views": {str(v): round(balanced(without(a), y), 4) for v, a in zip(VIEWS, views)},
        "mean_of_views": round(balanced(several, y), 4),
        "sizes": {f"{a}-{b} px": [int(m.sum()), round(float(right[m].mean()), 4)] for a, b in SIZES
                  if (m := (size >= a) & (size < b)).any()},
        "calibration_error": calibration(q, y),
        "unsure": round(float(1 - sure.mean()), 4), "balanced_accuracy_sure": round(balanced(q[sure], y[sure]), 4),
        "taken_for_other": round(float((p[:, data.OTHER] > 0.5).mean()), 4),
    }
