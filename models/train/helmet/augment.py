"""What a camera does to a head, at random."""

import cv2
import numpy as np

from data import CANVAS, REACH

INPUT = 64  # pixels, side of the net's input
MARGIN = 1.5  # side of the nominal crop in units of the head's longer side


WHERE = np.array([3, 3, 3, 4], np.float32)  # brings the parts of where to about 1


def nominal(canvas, margin=MARGIN, dx=0.0, dy=0.0):
    """The crop that a well placed box gives; dx, dy in units of the head."""
    unit = CANVAS / REACH
    side = margin * unit
    s = side / INPUT
    x, y = CANVAS / 2 + dx * unit - side / 2, CANVAS / 2 + dy * unit - side / 2
    m = np.array([[s, 0, x + s / 2 - 0.5], [0, s, y + s / 2 - 0.5]])
    return cv2.warpAffine(canvas, m, (INPUT, INPUT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=(114, 114, 114))


def transplant(head, place, rng):
    """The head of one canvas in the surroundings of another one, where a head
    of the same size was: what is around a head must not tell the answer. Every
    second head gets other colours than its surroundings."""
    unit = CANVAS / REACH
    if rng.random() < 0.5:
        head = colour(head, rng)
    mask = np.zeros((CANVAS, CANVAS), np.float32)
    axes = int(unit * rng.uniform(0.55, 0.8)), int(unit * rng.uniform(0.6, 0.85))
    centre = CANVAS // 2, CANVAS // 2 + int(unit * rng.uniform(-0.05, 0.08))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(1.5, 4)))[..., None]
    return (head * mask + place * (1 - mask)).astype(np.uint8)


def crown(head, face, rng):
    """The upper part of one head on the lower part of another one of the same
    size: whether there is a helmet is told by the upper part."""
    unit = CANVAS / REACH
    mask = np.zeros((CANVAS, CANVAS), np.float32)
    axes = int(unit * rng.uniform(0.5, 0.7)), int(unit * rng.uniform(0.55, 0.75))
    cv2.ellipse(mask, (CANVAS // 2, CANVAS // 2), axes, 0, 0, 360, 1.0, -1)
    mask[CANVAS // 2 + int(unit * rng.uniform(-0.05, 0.2)):] = 0
    mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(1, 3)))[..., None]
    return (head * mask + face * (1 - mask)).astype(np.uint8)


def shadow(x, rng):
    """Light that falls off to one side. x is uint8 BGR."""
    a = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, INPUT, dtype=np.float32)
    ramp = np.cos(a) * ramp[None] + np.sin(a) * ramp[:, None] + rng.uniform(-0.7, 0.7)
    if rng.random() < 0.5:  # an edge
        ramp = np.tanh(ramp * rng.uniform(2, 12))
    gain = np.exp2(rng.uniform(0.2, 0.9) * ramp)[..., None]
    return np.clip(x * gain, 0, 255).astype(np.uint8)


def geometry(canvas, rng, strength):
    """Scale, shift, turn, stretch and mirror. Returns the view, and where the
    head is in it: its centre from the middle, in half views, the logarithm of
    its size, and its turn."""
    unit = CANVAS / REACH
    spread = 0.35 + 0.65 * strength
    margin = MARGIN * np.exp(spread * rng.uniform(np.log(0.75), np.log(1.4)))
    side = margin * unit
    s = side / INPUT
    a = np.deg2rad(rng.normal(0, 9 * spread))
    stretch = np.exp(rng.normal(0, 0.07))
    sx, sy = s * stretch, s / stretch
    if rng.random() < 0.5:
        sx = -sx
    cx = CANVAS / 2 + np.clip(rng.normal(0, 0.17 * spread), -0.4, 0.4) * unit
    cy = CANVAS / 2 + np.clip(rng.normal(0.02, 0.12 * spread), -0.3, 0.3) * unit
    r = np.array([[np.cos(a) * sx, -np.sin(a) * sy], [np.sin(a) * sx, np.cos(a) * sy]])
    t = np.array([cx, cy]) - r @ np.array([INPUT / 2, INPUT / 2])
    at = np.linalg.solve(r, np.array([CANVAS / 2, CANVAS / 2]) - t) / (INPUT / 2) - 1
    where = np.array([at[0], at[1], np.log(MARGIN / margin), np.sign(sx) * a], np.float32) * WHERE
    return cv2.warpAffine(canvas, np.hstack([r, t[:, None]]), (INPUT, INPUT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_CONSTANT if rng.random() < 0.5 else cv2.BORDER_REPLICATE,
                          borderValue=(114, 114, 114)), where


def colour(x, rng):
    """Hue, saturation, light, night. x is uint8 BGR."""
    if rng.random() < 0.8:
        hsv = cv2.cvtColor(x, cv2.COLOR_BGR2HSV).astype(np.int16)
        hsv[..., 0] = (hsv[..., 0] + (rng.integers(0, 180) if rng.random() < 0.35 else int(rng.normal(0, 8)))) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.3, 1.5), 0, 255)
        x = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    if rng.random() < 0.2:
        x = cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    f = x.astype(np.float32)
    f *= rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.7:
        f = 255 * (np.clip(f, 0, 255) / 255) ** np.exp(rng.normal(0, 0.35))
    if rng.random() < 0.7:
        mean = f.mean()
        f = (f - mean) * rng.uniform(0.6, 1.4) + mean + rng.normal(0, 18)
    if rng.random() < 0.12:  # night: dark and noisy
        f *= rng.uniform(0.15, 0.5)
        f += rng.normal(0, rng.uniform(3, 12), f.shape)
    elif rng.random() < 0.3:
        f += rng.normal(0, rng.uniform(1, 8), f.shape)
    return np.clip(f, 0, 255).astype(np.uint8)


def optics(x, rng):
    """Few pixels, motion, compression. x is uint8 BGR."""
    if rng.random() < 0.55:
        n = int(np.exp(rng.uniform(np.log(14), np.log(56))))
        x = cv2.resize(cv2.resize(x, (n, n), interpolation=cv2.INTER_AREA), (INPUT, INPUT),
                       interpolation=cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        n = int(rng.integers(2, 8))
        k = np.zeros((n, n), np.float32)
        k[n // 2] = 1 / n
        m = cv2.getRotationMatrix2D((n / 2 - 0.5, n / 2 - 0.5), rng.uniform(0, 180), 1)
        k = cv2.warpAffine(k, m, (n, n))
        x = cv2.filter2D(x, -1, k / max(k.sum(), 1e-3))
    if rng.random() < 0.45:
        ok, code = cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 85))])
        if ok:
            x = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return x


def erase(x, rng):
    """Something in front of it."""
    if rng.random() < 0.3:
        w, h = rng.integers(6, 26, 2)
        i, j = rng.integers(0, INPUT - h), rng.integers(0, INPUT - w)
        x[i:i + h, j:j + w] = rng.integers(0, 255, 3) if rng.random() < 0.5 else rng.integers(0, 255, (h, w, 3))
    return x


def random_view(canvas, rng, strength=1.0):
    """One augmented input, uint8 BGR, and where its head is, see geometry.
    Strength in [0,1] is how much of the geometry, and how often the rest."""
    x, where = geometry(canvas, rng, strength)
    if rng.random() < 0.25 * strength:
        x = shadow(x, rng)
    if rng.random() < strength:
        x = colour(x, rng)
    if rng.random() < strength:
        x = optics(x, rng)
    return erase(np.ascontiguousarray(x), rng), where


def tensor(batch):
    """uint8 BGR pictures as the net's input: 0–255, channels first."""
    return np.ascontiguousarray(np.stack(batch).transpose(0, 3, 1, 2), dtype=np.float32)
