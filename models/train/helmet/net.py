"""The net: a small residual CNN on 64 × 64 pictures, BGR 0–255."""

import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout))
        self.way = nn.Identity() if cin == cout and stride == 1 else nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        return torch.relu(self.body(x) + self.way(x))


def even(x):
    """Each picture with mean 0 and deviation 1, all its channels together: its
    light is taken away, its colours stay."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    return x / ((x * x).mean((1, 2, 3), keepdim=True) + 64.0).sqrt()


class Net(nn.Module):
    """Logits of with, without, other."""

    def __init__(self, widths=(16, 32, 64, 128), dropout=0.3):
        super().__init__()
        layers = [nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        cin = widths[0]
        for i, w in enumerate(widths):
            layers.append(Block(cin, w, 1 if i == 0 else 2))
            cin = w
        self.features = nn.Sequential(*layers)
        # One weight for each place of each channel, not the mean: the head that
        # is asked about is in the middle, another one may be beside it.
        self.place = nn.Sequential(nn.Conv2d(cin, cin, 4, groups=cin, bias=False), nn.BatchNorm2d(cin))
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(cin, 3)
        self.where = nn.Linear(cin, 4)  # for training only: who can say where the head is has seen it

    def forward(self, x):
        return self.logits(even(x))

    def logits(self, x):
        """Takes what even gives."""
        return self.both(x)[0]

    def both(self, x):
        """Logits, and where the head is; see augment.geometry."""
        x = self.drop(self.place(self.features(x)).flatten(1))
        return self.head(x), self.where(x)


class Shipped(nn.Module):
    """What goes into the file: the mean answer of some nets, as probabilities
    at a temperature. Every second net sees the picture mirrored: that costs
    nothing, and they agree less on what is wrong."""

    def __init__(self, nets, temperature=1.0):
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.temperature = temperature

    def forward(self, x):
        x = even(x)
        views = x, torch.flip(x, [3])
        p = sum(torch.softmax(n.logits(views[i % 2]) / self.temperature, 1) for i, n in enumerate(self.nets))
        return p / len(self.nets)
