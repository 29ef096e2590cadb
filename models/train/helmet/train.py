"""Trains the helmet model from scratch on one processor core.

    python3 train.py --data FOLDER --out helmet.onnx

FOLDER has images/ and annotations.json; see data.py. A quarter of the
pictures, copies counted once, is the test: it is used for the final figures
only. The model is the mean of some nets, each trained without another part of
the rest; what a net says of its own part gives the temperature and the figures
that choices were made by. The same seeds give the same file on the same
machine and versions.
"""

import argparse
import copy
import json
import random
import time

import numpy as np
import torch
from torch import nn

import augment
import data
import evaluate
import export
import net


def draw(pools, counts, rng, strength):
    """One batch of augmented heads, evenly by label."""
    xs, ys = [], []
    for label, (pool, n) in enumerate(zip(pools, counts)):
        for i in rng.integers(0, len(pool), n):
            xs.append(augment.random_view(pool[i].canvas, rng, strength))
            ys.append(label)
    x = torch.from_numpy(augment.tensor(xs)).contiguous(memory_format=torch.channels_last)
    return x, nn.functional.one_hot(torch.tensor(ys), len(data.LABELS)).float()


def mix(x, y, rng, alpha):
    """Mixup (Zhang et al., 2018): each picture a little of another one."""
    k = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(x)))
    return k * x + (1 - k) * x[order], k * y + (1 - k) * y[order]


def follow(mean, model, step):
    """Moves the mean of the weights over time towards the model's."""
    d = min(0.998, (1 + step) / (10 + step))
    with torch.no_grad():
        for a, b in zip(mean.state_dict().values(), model.state_dict().values()):
            if a.dtype.is_floating_point:
                a.mul_(d).add_(b, alpha=1 - d)
            else:
                a.copy_(b)


def train(pictures, args, seed, begun, keep, log):
    """Returns one net, the mean of its weights over time. begun are weights to
    go on from, or None. keep is told of the net on the way."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    heads = data.heads_of(pictures)
    pools = [[h for h in heads if h.label == k] for k in (data.WITH, data.WITHOUT)]
    pools.append(data.others_of(pictures, random.Random(seed), 6))
    counts = [args.batch * 2 // 5, args.batch * 2 // 5]
    counts.append(args.batch - sum(counts))
    steps = len(heads) // sum(counts[:2]) + 1
    model = net.Net().to(memory_format=torch.channels_last)
    if begun is not None:
        model.load_state_dict(begun)
    mean = copy.deepcopy(model)
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.decay)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, args.lr, total_steps=args.epochs * steps, pct_start=0.1)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    step, begin = 0, time.process_time()
    for epoch in range(args.epochs):
        model.train()
        total, strength = 0.0, min(1.0, 0.4 + 1.2 * epoch / args.epochs) if begun is None else 1.0
        for _ in range(steps):
            x, y = mix(*draw(pools, counts, rng, strength), rng, args.mix)
            value = loss(model(x), y)
            opt.zero_grad()
            value.backward()
            opt.step()
            plan.step()
            step += 1
            total += value.item()
            follow(mean, model, step)
        if epoch % 4 == 3:
            keep(mean)
            log(f"seed {seed} epoch {epoch + 1} loss {total / steps:.3f} cpu {time.process_time() - begin:.0f} s")
    return mean.eval()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", default="helmet.onnx")
    ap.add_argument("--metrics", default="metrics.json")
    ap.add_argument("--nets", type=int, default=3)
    ap.add_argument("--only", type=int, default=-1, help="train this net alone and keep it beside --out")
    ap.add_argument("--epochs", type=int, default=24)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=2.5e-3)
    ap.add_argument("--decay", type=float, default=0.3)
    ap.add_argument("--mix", type=float, default=0.4)
    ap.add_argument("--go-on", action="store_true", help="train the nets beside --out further")
    ap.add_argument("--join", action="store_true", help="join nets that --only has trained")
    args = ap.parse_args()
    torch.set_num_threads(1)

    pictures = data.load(args.data)
    rest, test = data.split(pictures)
    parts = list(data.folds(rest, 6))[: args.nets]
    nets, held = [], []
    for k, (part, out) in enumerate(parts):
        name = f"{args.out}.{k}.pt"
        if args.join:
            model = net.Net()
            model.load_state_dict(torch.load(name))
            model.eval()
        elif args.only in (-1, k):
            def keep(m, name=name):
                torch.save(m.state_dict(), name)

            begun = torch.load(name) if args.go_on else None
            seed = 100 + k + (1000 if args.go_on else 0)
            model = train(part, args, seed, begun, keep, lambda s: print(s, flush=True))
            keep(model)
            print(f"net {k}, the heads it was not shown:", evaluate.summary(model, data.heads_of(out)), flush=True)
        else:
            continue
        nets.append(model)
        held.append((model, data.heads_of(out)))
    if len(nets) < args.nets:
        return
    temperature = evaluate.temperature(held)
    shipped = net.Shipped(nets, temperature).eval()
    export.write(shipped, args.out)
    report = {
        "pictures": len(pictures), "copies": len(pictures) - len({p.group for p in pictures}),
        "train_pictures": len(rest), "test_pictures": len(test), "temperature": temperature,
        "held_back_by_net": [evaluate.summary(m, h) for m, h in held],
        "test": evaluate.report(shipped, data.heads_of(test)),
    }
    with open(args.metrics, "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
