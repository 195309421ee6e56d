"""The specification of what reads images: convolution, pooling and Flatten in plain NumPy float64, and their ways back.

Images are (rows, height, width, channels), signals (rows, length, channels). Each sum is taken point by point of the
kernel: of all images and output pixels at once, the pixels that this point meets are a strided slice of the padded
image. A layer is its description's fields; padding is TensorFlow's for "same", and PyTorch's for integers.
"""

from __future__ import annotations

import itertools

import numpy as np

# fmt: off

def as_tuple(value, rank):
    return tuple(value) if isinstance(value, tuple | list) else (value,) * rank

class Window:
    """Which pixels of an image each point of a kernel meets."""

    def __init__(self, shape, size, stride, padding, dilation):
        self.shape, self.size, self.stride, self.dilation = shape, size, stride, dilation
        reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
        if padding == "same":
            self.out = tuple(-(-n // s) for n, s in zip(shape, stride, strict=True))
            ends = [max((o - 1) * s + r - n, 0)
                    for o, s, r, n in zip(self.out, stride, reach, shape, strict=True)]
            self.pad = [(e // 2, e - e // 2) for e in ends]
        else:
            self.pad = [(p, p) for p in (as_tuple(padding, len(shape)) if padding != "valid" else (0,) * len(shape))]
            self.out = tuple((n + sum(p) - r) // s + 1
                             for n, p, r, s in zip(shape, self.pad, reach, stride, strict=True))

    def points(self):
        """(point of the kernel, its slice of padded images) in the order of W."""
        for point in itertools.product(*map(range, self.size)):
            yield point, (slice(None), *(
                slice(p * d, p * d + (o - 1) * s + 1, s)
                for p, d, o, s in zip(point, self.dilation, self.out, self.stride, strict=True)))

    def padded(self, x, value=0.0):
        return np.pad(x, [(0, 0), *self.pad, (0, 0)], constant_values=value)

    def cut(self, padded):
        """The images without their padding."""
        return padded[(slice(None), *(slice(a, a + n) for (a, _), n in zip(self.pad, self.shape, strict=True)))]

def is_global(layer):
    return layer.get("kind", "").startswith("Global")

def window(layer, x):
    """Of a layer and what it reads."""
    rank = x.ndim - 2
    if is_global(layer):
        return Window(x.shape[1:-1], x.shape[1:-1], (1,) * rank, "valid", (1,) * rank)
    size = as_tuple(layer["kernel_size" if "kernel_size" in layer else "pool_size"], rank)
    stride = size if layer["strides"] is None else as_tuple(layer["strides"], rank)
    return Window(x.shape[1:-1], size, stride, layer["padding"], as_tuple(layer.get("dilation_rate", 1), rank))

# Convolution: z[y, f] = sum_{i, c} x[y s + i d, c] W[i, c, f], c and f of one group; b and f(z) are as of dense layers.
def by_groups(layer, a):
    """The last axis as (groups, channels of a group)."""
    return a.reshape(*a.shape[:-1], layer["groups"], -1)

def pixels(a):
    """Those of all images, one after the other."""
    return a.reshape(-1, *a.shape[-2:])

def product(layer, x):
    """z - b of a dense layer or a convolution."""
    if "kernel_size" not in layer:
        return x @ layer["W"]
    where = window(layer, x)
    padded = where.padded(x)
    return sum(np.einsum("...gc,cgf->...gf", by_groups(layer, padded[at]), by_groups(layer, layer["W"][point]))
               for point, at in where.points()).reshape(len(x), *where.out, -1)

def product_back(layer, x, delta):
    """dL/dW and dL/dx from dL/dz."""
    if "kernel_size" not in layer:
        return x.T @ delta, delta @ layer["W"].T
    where, W = window(layer, x), layer["W"]
    padded, gradient, d = where.padded(x), np.zeros_like(W), by_groups(layer, delta)
    below = np.zeros_like(padded)
    for point, at in where.points():
        read = pixels(by_groups(layer, padded[at]))
        gradient[point] = np.einsum("pgc,pgf->cgf", read, pixels(d)).reshape(W.shape[-2:])
        below[at] += np.einsum("...gf,cgf->...gc", d, by_groups(layer, W[point])).reshape(below[at].shape)
    return gradient, where.cut(below)

# Pooling: of each channel by itself; what is outside an image does not count. -----------------------------------------
def max_pool(layer, x):
    where = window(layer, x)
    padded = where.padded(x, -np.inf)
    seen = np.stack([padded[at] for _, at in where.points()])
    out = seen.max(axis=0).reshape(len(x), *where.out, -1)
    return squeezed(layer, out), (where, seen.argmax(axis=0))  # of equal ones the first

def max_pool_back(layer, kept, delta):
    where, first = kept
    below = where.padded(np.zeros((len(delta), *where.shape, delta.shape[-1])))
    for k, (_, at) in enumerate(where.points()):
        below[at] += np.where(first == k, delta.reshape(first.shape), 0)
    return where.cut(below), {}

def average_pool(layer, x):
    where = window(layer, x)
    padded, inside = where.padded(x), where.padded(np.ones_like(x))
    count = sum(inside[at] for _, at in where.points())
    return squeezed(layer, sum(padded[at] for _, at in where.points()) / count), (where, count)

def average_pool_back(layer, kept, delta):
    where, count = kept
    below = where.padded(np.zeros((len(delta), *where.shape, delta.shape[-1])))
    for _, at in where.points():
        below[at] += delta.reshape(count.shape) / count
    return where.cut(below), {}

def squeezed(layer, a):
    """Global pooling makes rows of numbers."""
    return a.reshape(len(a), -1) if is_global(layer) else a

def of_pixels(forward, back):
    """A kind of layer that takes rows of numbers, on the channels of each pixel."""
    def forward_of_pixels(layer, x):
        out, kept = forward(layer, x.reshape(-1, x.shape[-1]))
        return out.reshape(*x.shape[:-1], -1), kept

    def back_of_pixels(layer, kept, delta):
        below, gradient = back(layer, kept, delta.reshape(-1, delta.shape[-1]))
        return below.reshape(*delta.shape[:-1], -1), gradient

    return forward_of_pixels, back_of_pixels

KINDS = {
    **{f"{way}MaxPool{rank}D": (max_pool, max_pool_back) for way in ("", "Global") for rank in (1, 2)},
    **{f"{way}AvgPool{rank}D": (average_pool, average_pool_back) for way in ("", "Global") for rank in (1, 2)},
    "Flatten": (lambda layer, x: (x.reshape(len(x), -1), x.shape),
                lambda layer, shape, delta: (delta.reshape(shape), {})),
}
