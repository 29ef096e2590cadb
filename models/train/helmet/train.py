"""Trains the helmet model from scratch on processor cores.

    python3 train.py --data FOLDER --more FOLDER --out helmet.onnx

--data has images/ and annotations.json, --more the folders that heads.csv
names; see data.py. A quarter of the pictures, copies counted once, is the test:
it is used for the final figures only. The model is the mean of some nets, each
trained without another part of the rest, and kept twice: it is trained again
from where it came to, and gets somewhere else. What the two say of their own
part gives the temperature and the figures that choices are made by. Everything on the way
is kept beside --out: a run that was stopped goes on from there, and nets may be
trained at the same time (--only) and joined later. The same seeds give the same
file on the same machine and versions.
"""

import argparse
import copy
import json
import os
import random
import time

import cv2
import numpy as np
import torch
from torch import nn

import augment
import data
import evaluate
import export
import net

PARTS = 5  # of the training pictures; each net is not shown one of them
VIEWS = 600  # heads in what is called an epoch here, drawn at random


class Pools:
    """The heads to draw from, by label."""

    def __init__(self, heads, others, batch):
        self.pools = [[h for h in heads if h.label == k] for k in (data.WITH, data.WITHOUT)] + [others]
        self.heads = self.pools[data.WITH] + self.pools[data.WITHOUT]
        other = batch * 15 // 100
        self.counts = [(batch - other) // 2, batch - other - (batch - other) // 2, other]
        self.steps = round(VIEWS / (batch - other))

    def draw(self, rng, args):
        """One batch of augmented heads, evenly by label: pictures, labels, and
        where the heads are, with a column of ones; zeros where there is none."""
        xs, ys, ws = [], [], []
        for label, (pool, n) in enumerate(zip(self.pools, self.counts)):
            for i in rng.integers(0, len(pool), n):
                canvas = pool[i].canvas
                if label != data.OTHER and rng.random() < args.crown:
                    under = self.heads if label == data.WITH else pool  # a helmet's strap is none of bare hair
                    canvas = augment.crown(canvas, under[rng.integers(0, len(under))].canvas, rng)
                if label != data.OTHER and rng.random() < args.swap:
                    canvas = augment.transplant(canvas, self.heads[rng.integers(0, len(self.heads))].canvas, rng)
                view, where = augment.random_view(canvas, rng, args.strength)
                xs.append(view)
                ys.append(label)
                ws.append(np.append(where, 1) if label != data.OTHER else np.zeros(5))
        x = torch.from_numpy(augment.tensor(xs)).contiguous(memory_format=torch.channels_last)
        return x, nn.functional.one_hot(torch.tensor(ys), len(data.LABELS)).float(), torch.from_numpy(np.stack(ws)).float()


def mix(parts, rng, alpha):
    """Mixup (Zhang et al., 2018): each picture a little of another one."""
    k = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(parts[0])))
    return [k * p + (1 - k) * p[order] for p in parts]


class Run:
    """The training of one net for some epochs, which can be stopped and gone on
    with. begun is a net to begin from, or None."""

    def __init__(self, pools, args, epochs, seed, path, begun=None):
        torch.manual_seed(seed)
        self.pools, self.args, self.epochs, self.path = pools, args, epochs, path
        self.rng = np.random.default_rng(seed)
        self.model = net.Net().to(memory_format=torch.channels_last)
        if begun is not None:
            self.model.load_state_dict(begun.state_dict())
        self.mean = copy.deepcopy(self.model)
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        rest = [p for p in self.model.parameters() if p.ndim <= 1]
        self.opt = torch.optim.AdamW([{"params": weights, "weight_decay": args.decay},
                                      {"params": rest, "weight_decay": 0.0}], lr=args.lr)
        self.plan = torch.optim.lr_scheduler.OneCycleLR(self.opt, args.lr, total_steps=epochs * pools.steps, pct_start=0.1)
        self.epoch = 0
        if os.path.exists(path):
            self.load()

    def load(self):
        kept = torch.load(self.path)
        if kept["epochs"] != self.epochs:
            raise SystemExit(f"{self.path} is of a run of {kept['epochs']} epochs: remove it, or go on with as many")
        for name in ("model", "mean", "opt", "plan"):
            getattr(self, name).load_state_dict(kept[name])
        self.rng.bit_generator.state = kept["rng"]
        torch.set_rng_state(kept["torch"])
        self.epoch = kept["epoch"]

    def save(self):
        kept = {name: getattr(self, name).state_dict() for name in ("model", "mean", "opt", "plan")}
        kept |= {"rng": self.rng.bit_generator.state, "torch": torch.get_rng_state(), "epoch": self.epoch,
                 "epochs": self.epochs}
        torch.save(kept, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def follow(self, step):
        """Moves the mean of the weights over time towards the model's."""
        d = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, b in zip(self.mean.state_dict().values(), self.model.state_dict().values()):
                if a.dtype.is_floating_point:
                    a.mul_(d).add_(b, alpha=1 - d)
                else:
                    a.copy_(b)

    def one_epoch(self):
        """Returns the mean loss."""
        loss = nn.CrossEntropyLoss(label_smoothing=0.05)
        self.model.train()
        total = 0.0
        for i in range(self.pools.steps):
            x, y, w = mix(self.pools.draw(self.rng, self.args), self.rng, self.args.mix)
            said, where = self.model.both(net.even(x))
            value = loss(said, y) + self.args.where * nn.functional.smooth_l1_loss(where * w[:, 4:], w[:, :4])
            self.opt.zero_grad()
            value.backward()
            self.opt.step()
            self.plan.step()
            self.follow(self.epoch * self.pools.steps + i + 1)
            total += value.item()
        self.epoch += 1
        return total / self.pools.steps

    def finish(self, told):
        """Trains to the end and returns the mean of the weights over time."""
        begin = time.process_time()
        while self.epoch < self.epochs:
            value = self.one_epoch()
            if self.epoch % 10 == 0 or self.epoch == self.epochs:
                self.save()
                told(self, f"epoch {self.epoch} loss {value:.3f} cpu {time.process_time() - begin:.0f} s")
        return self.mean.eval()


def one_net(k, part, own, more, args):
    """Returns the net that is not shown its own pictures, twice; once where args.again is 0."""
    heads = data.heads_of(part) + [h for h in more if not h.name or h.name in {p.name for p in part}]
    pools = Pools(heads, data.others_of(part, random.Random(100 + k), 6), args.batch)
    own = data.heads_of(own)

    def told(run, line):
        if run.epoch % 50 == 0 or run.epoch == run.epochs:
            line += f", the heads it is not shown: {evaluate.summary([run.mean.eval()], own)}"
        print(f"net {k}, {len(heads)} heads: {line}", flush=True)

    first = Run(pools, args, args.epochs, 100 + k, f"{args.out}.{k}.pt").finish(told)
    if args.again == 0:
        return [first]
    second = Run(pools, args, args.again, 200 + k, f"{args.out}.{k}.again.pt", first).finish(told)
    return [first, second]


def options():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    ap.add_argument("--data", required=True)
    ap.add_argument("--more", default="", help="folder of the pictures and clips that heads.csv names")
    ap.add_argument("--out", default="helmet.onnx")
    ap.add_argument("--metrics", default="metrics.json")
    ap.add_argument("--nets", type=int, default=2, help="at most 5: each is not shown another fifth")
    ap.add_argument("--only", type=int, default=-1, help="train this net alone, to be joined later by a run without --only")
    ap.add_argument("--epochs", type=int, default=200)
    ap.add_argument("--again", type=int, default=60, help="epochs of training again; 0 keeps each net once")
    ap.add_argument("--batch", type=int, default=40)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--mix", type=float, default=0.3)
    ap.add_argument("--swap", type=float, default=0.5, help="share of heads that are put into other surroundings")
    ap.add_argument("--strength", type=float, default=0.65, help="of the changes of light, place and sharpness")
    ap.add_argument("--crown", type=float, default=0.2, help="share of heads that get the lower part of another one")
    ap.add_argument("--where", type=float, default=1.0, help="weight of knowing where the head is")
    ap.add_argument("--test", action="store_true", help="ask about the test pictures too")
    return ap.parse_args()


def main():
    args = options()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    pictures = data.load(args.data)
    rest, test = data.split(pictures)
    data.correct(rest)
    more = data.more_heads(args.more, "heads.csv", {p.name for p in test}) if args.more else []
    parts = list(data.folds(rest, PARTS))[: args.nets]
    nets = {k: one_net(k, part, own, more, args) for k, (part, own) in enumerate(parts) if args.only in (-1, k)}
    if len(nets) < args.nets:
        return
    held = [(nets[k], data.heads_of(own)) for k, (_, own) in enumerate(parts)]
    temperature = evaluate.temperature(held)
    shipped = export.fused(net.Shipped([n for k in range(args.nets) for n in nets[k]], temperature))
    export.write(shipped, args.out)
    report = {
        "pictures": len(pictures), "copies": len(pictures) - len({p.group for p in pictures}),
        "train_pictures": len(rest), "test_pictures": len(test), "temperature": temperature,
        "held_back": {name: evaluate.pooled([(ns[part], h) for ns, h in held]) for name, part in
                      [("first", slice(1)), ("again", slice(1, 2)), ("both", slice(2))] if nets[0][part]},
    }
    if args.test:
        report["test"] = evaluate.report(shipped, data.heads_of(test))
    if args.test and args.more:
        report["other_cameras"] = evaluate.report(shipped, data.more_heads(args.more, "other_cameras.csv", {}))
    with open(args.metrics, "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
