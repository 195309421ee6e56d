"""The specification: all that the compiled core computes, in plain NumPy float64, one formula after the other.

Dictionaries are keyed by the lower-case names of the core's enums. Formulas and conventions (the slope at a kink, the
place of epsilon) are PyTorch's. f is a raw output, t its target, theta a parameter, g its gradient.
"""

from __future__ import annotations

import numpy as np
import reference_images as images
from scipy.special import expit, log_softmax, ndtr, softmax

# fmt: off
# Activations: f(z) and f'(z); p is the parameter of leaky_relu, elu and celu. -----------------------------------------
SELU, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848
ROOT = np.sqrt(2 / np.pi)

def gelu_tanh_slope(z, p):
    t = np.tanh(ROOT * (z + 0.044715 * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t**2) * ROOT * (1 + 3 * 0.044715 * z**2)

def mish_slope(z, p):
    t = np.tanh(np.logaddexp(0, z))
    return t + z * (1 - t**2) * expit(z)

# Parameters worth a test, the default first; those in front of which "auto" draws by He et al.'s formula.
ALPHAS = {"leaky_relu": (0.01, 0.0, 0.5), "elu": (1.0, 0.375, 2.5), "celu": (1.0, 0.375, 2.5),
          "squareplus": (4.0, 0.375, 10.0)}
HE = {"relu", "leaky_relu", "relu6", "elu", "celu", "gelu", "gelu_tanh", "silu", "mish", "hard_swish", "softplus",
      "squareplus"}
ACTIVATIONS = {
    "identity": (lambda z, p: z, lambda z, p: z * 0 + 1),
    "sigmoid": (lambda z, p: expit(z), lambda z, p: expit(z) * expit(-z)),
    "tanh": (lambda z, p: np.tanh(z), lambda z, p: 1 - np.tanh(z) ** 2),
    "relu": (lambda z, p: np.maximum(z, 0), lambda z, p: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z, p: np.where(z > 0, z, p * z), lambda z, p: np.where(z > 0, 1.0, p)),
    "relu6": (lambda z, p: np.clip(z, 0, 6), lambda z, p: np.where((z > 0) & (z < 6), 1.0, 0.0)),
    "elu": (lambda z, p: np.where(z > 0, z, p * np.expm1(np.minimum(z, 0))),
            lambda z, p: np.where(z > 0, 1.0, p * np.exp(np.minimum(z, 0)))),
    "selu": (lambda z, p: SELU * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
             lambda z, p: SELU * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0)))),
    "celu": (lambda z, p: np.where(z > 0, z, p * np.expm1(np.minimum(z, 0) / p)),
             lambda z, p: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0) / p))),
    "gelu": (lambda z, p: z * ndtr(z), lambda z, p: ndtr(z) + z * np.exp(-z**2 / 2) / np.sqrt(2 * np.pi)),
    "gelu_tanh": (lambda z, p: z / 2 * (1 + np.tanh(ROOT * (z + 0.044715 * z**3))), gelu_tanh_slope),
    "silu": (lambda z, p: z * expit(z), lambda z, p: expit(z) * (1 + z * expit(-z))),
    "mish": (lambda z, p: z * np.tanh(np.logaddexp(0, z)), mish_slope),
    "softplus": (lambda z, p: np.logaddexp(0, z), lambda z, p: expit(z)),
    "softsign": (lambda z, p: z / (1 + np.abs(z)), lambda z, p: 1 / (1 + np.abs(z)) ** 2),
    "hard_sigmoid": (lambda z, p: np.clip(z / 6 + 0.5, 0, 1), lambda z, p: np.where(np.abs(z) < 3, 1 / 6, 0.0)),
    "hard_swish": (lambda z, p: z * np.clip(z / 6 + 0.5, 0, 1),
                   lambda z, p: np.where(z <= -3, 0.0, np.where(z >= 3, 1.0, z / 3 + 0.5))),
    "hard_tanh": (lambda z, p: np.clip(z, -1, 1), lambda z, p: np.where(np.abs(z) < 1, 1.0, 0.0)),
    "squareplus": (lambda z, p: (z + np.sqrt(z**2 + p)) / 2, lambda z, p: (1 + z / np.sqrt(z**2 + p)) / 2),
}

# Losses: value and dl/df, elementwise (n, k), or of a row (n,) for cross_entropy. p: delta, q or smoothing. -------
def log_cosh(f, t, p):
    d = np.abs(f - t)  # the first form loses its digits near 0, the second overflows far from it
    far, near = d + np.log1p(np.exp(-2 * d)) - np.log(2), np.log1p(2 * np.sinh(np.minimum(d, 1) / 2) ** 2)
    return np.where(d > 1, far, near), np.tanh(f - t)

def binary_cross_entropy(f, t, p):
    s = t * (1 - p) + p / 2
    return s * np.logaddexp(0, -f) + (1 - s) * np.logaddexp(0, f), expit(f) - s

def cross_entropy(f, t, p):
    q = t * (1 - p) + p / f.shape[1]
    return -(q * log_softmax(f, axis=1)).sum(axis=1), softmax(f, axis=1) * q.sum(axis=1, keepdims=True) - q

def hinge(f, t, p):
    sign = np.where(t > 0, 1.0, -1.0)
    return np.maximum(0, 1 - sign * f), np.where(sign * f < 1, -sign, 0.0)

def squared_hinge(f, t, p):
    value, slope = hinge(f, t, p)
    return value**2, 2 * value * slope

def gaussian_nll(f, t, p):
    mean, s = np.split(f, 2, axis=1)
    square = (mean - t) ** 2 * np.exp(-s)
    return (s + square) / 2, np.hstack([(mean - t) * np.exp(-s), (1 - square) / 2])

LOSSES = {
    "gaussian_nll": gaussian_nll,
    "squared_hinge": squared_hinge,
    "mse": lambda f, t, p: ((f - t) ** 2, 2 * (f - t)), "mae": lambda f, t, p: (np.abs(f - t), np.sign(f - t)),
    "huber": lambda f, t, p: (np.where(np.abs(f - t) <= p, (f - t) ** 2 / 2, p * (np.abs(f - t) - p / 2)),
                              np.clip(f - t, -p, p)),
    "log_cosh": log_cosh,
    "quantile": lambda f, t, p: (np.maximum(p * (t - f), (p - 1) * (t - f)),
                                 np.where(t > f, -p, np.where(t < f, 1 - p, 0.0))),
    "poisson": lambda f, t, p: (np.exp(f) - t * f, np.exp(f) - t),
    "binary_cross_entropy": binary_cross_entropy, "cross_entropy": cross_entropy, "hinge": hinge,
    "tweedie": lambda f, t, p: (t * np.exp((1 - p) * f) / (p - 1) + np.exp((2 - p) * f) / (2 - p),
                                np.exp((2 - p) * f) - t * np.exp((1 - p) * f)),
    "gamma": lambda f, t, p: (t * np.exp(-f) + f, 1 - t * np.exp(-f)),
}
# What targets are, where not any numbers; the link of the outputs; how many of these a target has; parameters, the
# default first: of huber its delta, of quantile its q, of tweedie its power, of the cross-entropies the smoothing.
TARGETS = {"poisson": "count", "binary_cross_entropy": "binary", "cross_entropy": "classes", "hinge": "sign",
           "gamma": "positive", "tweedie": "count", "squared_hinge": "sign"}
DRAWN = {
    "real": lambda rng, shape: rng.normal(size=shape) * 2, "count": lambda rng, shape: rng.poisson(3, shape),
    "positive": lambda rng, shape: rng.gamma(2, size=shape) + 0.01,
    "binary": lambda rng, shape: rng.uniform(size=shape), "sign": lambda rng, shape: rng.choice([-1, 0, 1], shape),
    "classes": lambda rng, shape: rng.dirichlet(np.ones(shape[1]), shape[0]),
}
LINKS = {
    "identity": lambda f: f, "exp": np.exp, "sigmoid": expit, "softmax": lambda f: softmax(f, axis=1),
    "mean_variance": lambda f: np.hstack([f[:, : f.shape[1] // 2], np.exp(f[:, f.shape[1] // 2 :])]),
}
LINK_OF = {"gaussian_nll": "mean_variance", "poisson": "exp", "gamma": "exp", "tweedie": "exp",
           "binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}
OUTPUTS = {"gaussian_nll": 2}
PARAMETERS = {"tweedie": (1.5, 1.1, 1.9),
              "huber": (1.0, 0.3, 4.0), "quantile": (0.5, 0.1, 0.95), "binary_cross_entropy": (0.0, 0.1, 0.7),
              "cross_entropy": (0.0, 0.1, 0.7)}

def row_losses(name, f, t, p=0.0):
    """Loss of each row (n,) and its derivative (n, k): the mean over the targets, or the row's cross-entropy."""
    value, slope = LOSSES[name](f, t, p)
    return (value, slope) if value.ndim == 1 else (value.mean(axis=1), slope / value.shape[1])

def draw_targets(name, rng, rows, k):
    """Legal targets (rows, k)."""
    return DRAWN[TARGETS.get(name, "real")](rng, (rows, k)).astype(float)

def n_outputs(name, k):
    """How many outputs k targets have."""
    return k * OUTPUTS.get(name, 1)

def link(name, f):
    """What `predict` makes of raw outputs."""
    return LINKS[LINK_OF.get(name, "identity")](f)

# Optimizers: u in theta -= a u, of step i (from 1). h has the fields of the core's OptimizerSpec, state a row a slot. -
def mean(state, slot, beta, x):  # a running mean
    state[slot] = beta * state[slot] + (1 - beta) * x
    return state[slot]

def sgd(h, i, g, state):
    if h["momentum"] == 0:
        return g
    state[0] = h["momentum"] * state[0] + g
    return g + h["momentum"] * state[0] if h["nesterov"] else state[0]

def rmsprop(h, i, g, state):
    u = g / (np.sqrt(mean(state, 0, h["rho"], g**2)) + h["epsilon"])
    if h["momentum"] == 0:
        return u
    state[1] = h["momentum"] * state[1] + u
    return state[1]

def adagrad(h, i, g, state):
    state[0] = state[0] + g**2
    return g / (np.sqrt(state[0]) + h["epsilon"])

def adadelta(h, i, g, state):
    u = g * np.sqrt(state[1] + h["epsilon"]) / np.sqrt(mean(state, 0, h["rho"], g**2) + h["epsilon"])
    mean(state, 1, h["rho"], u**2)
    return u

def adam(h, i, g, state):
    m, v = mean(state, 0, h["beta_1"], g), mean(state, 1, h["beta_2"], g**2)
    if h["amsgrad"]:
        v = state[2] = np.maximum(state[2], v)
    epsilon = h["epsilon"] / np.sqrt(1 - h["beta_2"] ** i) if h["epsilon_hat"] else h["epsilon"]
    return m / (1 - h["beta_1"] ** i) / (np.sqrt(v / (1 - h["beta_2"] ** i)) + epsilon)

def nadam(h, i, g, state):
    m, v = mean(state, 0, h["beta_1"], g), mean(state, 1, h["beta_2"], g**2)
    mu = h["beta_1"] * (1 - 0.5 * 0.96 ** (0.004 * np.arange(1, i + 2)))  # of steps 1 .. i + 1
    ahead = mu[-1] * m / (1 - mu.prod()) + (1 - mu[-2]) * g / (1 - mu[:-1].prod())
    return ahead / (np.sqrt(v / (1 - h["beta_2"] ** i)) + h["epsilon"])

def lion(h, i, g, state):
    u = np.sign(h["beta_1"] * state[0] + (1 - h["beta_1"]) * g)
    mean(state, 0, h["beta_2"], g)
    return u

OPTIMIZERS = {f.__name__: f for f in (sgd, rmsprop, adagrad, adadelta, adam, nadam, lion)}
SLOTS = {"sgd": lambda h: int(h["momentum"] > 0), "rmsprop": lambda h: 1 + int(h["momentum"] > 0),
         "adagrad": lambda h: 1, "adadelta": lambda h: 2, "adam": lambda h: 3 if h["amsgrad"] else 2,
         "nadam": lambda h: 2, "lion": lambda h: 1}

def update(name, h, i, rate, theta, g, state, decay_factor=1.0):
    """theta after step i at learning rate `rate`; state (slots, n) is brought up to date in place."""
    decay = h["weight_decay"] * decay_factor
    if h["decoupled"]:
        return theta * (1 - rate * decay) - rate * OPTIMIZERS[name](h, i, g, state)
    return theta - rate * OPTIMIZERS[name](h, i, g + decay * theta, state)

# Dropout: Philox4x32-10 (Salmon et al. 2011), a function of (seed, step, stream, position). ---------------------------
def philox(counter, key):
    """Four words from a counter of four words and a key of two."""
    c, k, low = [int(w) for w in counter], [int(w) for w in key], 2**32 - 1
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & low, p >> 32 ^ c[3] ^ k[1], p & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c

def dropout_mask(seed, step, stream, first, rate, n):
    """0 where a word is below rate * 2^32, else 1 / (1 - rate); element j takes word j % 4 of counter j // 4."""
    low, words = 2**32 - 1, {}
    for b in range(first // 4, (first + n + 3) // 4):
        counter = (b & low, stream ^ b >> 32 << 16 & low, step & low, step >> 32 ^ b >> 48 << 16 & low)
        words[b] = philox(counter, (seed & low, seed >> 32))
    return np.array([words[j // 4][j % 4] >= int(rate * 2**32) for j in range(first, first + n)]) / (1 - rate)

# Kinds of layers beside the dense one, dropout and the sum of a block, by class: output and what is kept, from a layer
# and its input; the delta below and the gradients, from the layer, what was kept and the delta. ---------------------
def layer_norm(layer, x):
    inverse = 1 / np.sqrt(x.var(axis=1, keepdims=True) + layer["epsilon"])
    normal = (x - x.mean(axis=1, keepdims=True)) * inverse
    return layer["weights"] * normal + layer["biases"], (normal, inverse)

def layer_norm_back(layer, kept, delta):
    (x, inverse), d = kept, delta * layer["weights"]
    below = inverse * (d - d.mean(axis=1, keepdims=True) - x * (d * x).mean(axis=1, keepdims=True))
    return below, {"weights": (delta * x).sum(axis=0), "biases": delta.sum(axis=0)}

def batch_norm(layer, x):
    of_batch = layer["momentum"] > 0 and layer.get("learning_rate_factor", 1) > 0 and len(x) > 1
    mean, variance = (x.mean(axis=0), x.var(axis=0)) if of_batch else (layer["running_mean"], layer["running_variance"])
    inverse = 1 / np.sqrt(variance + layer["epsilon"])
    normal = (x - mean) * inverse
    z = layer["weights"] * normal + layer["biases"]
    return ACTIVATIONS[layer["activation"]][0](z, layer.get("p", 0.0)), (normal, inverse, z, mean, variance, of_batch)

def batch_norm_back(layer, kept, delta):
    normal, inverse, z, mean, variance, of_batch = kept
    dz, n = delta * ACTIVATIONS[layer["activation"]][1](z, layer.get("p", 0.0)), len(delta)
    dg, db = (dz * normal).sum(axis=0), dz.sum(axis=0)
    below = dz * layer["weights"] * inverse
    steps = {"running_mean": 0 * mean, "running_variance": 0 * mean}  # what is taken off the running averages
    if of_batch:
        below = layer["weights"] * inverse * (dz - db / n - normal * dg / n)
        steps = {"running_mean": layer["momentum"] * (layer["running_mean"] - mean),
                 "running_variance": layer["momentum"] * (layer["running_variance"] - variance * n / (n - 1))}
    return below, {"weights": dg, "biases": db, **steps}

def category(layer, x):
    there = np.where((x[:, -1] >= 0) & (x[:, -1] < layer["categories"]), np.floor(x[:, -1]), -1).astype(int)
    rows = np.where(there[:, None] >= 0, layer["weights"][there], 0)
    return np.concatenate([rows, x[:, :-1]], axis=1), there

def category_back(layer, there, delta):
    table, units = np.zeros_like(layer["weights"]), layer["units"]
    np.add.at(table, there[there >= 0], delta[there >= 0, :units])
    return np.concatenate([delta[:, units:], np.zeros((len(delta), 1))], axis=1), {"weights": table}

def parametric(layer, z):
    f, slope = ACTIVATIONS[layer["activation"]]
    return z + layer["weights"] * (f(z, 0.0) - z), (z, f(z, 0.0) - z, slope(z, 0.0))

def parametric_back(layer, kept, delta):
    _, difference, slope = kept
    return delta * (1 + layer["weights"] * (slope - 1)), {"weights": (delta * difference).sum(axis=0)}

def embedding(layer, x):
    n = x.shape[1] if layer["columns"] is None else layer["columns"]
    u = 2 * np.pi * x[:, :n, None] * layer["frequencies"] + layer["phases"]
    e = np.einsum("rcm,cjm->rcj", np.cos(u), layer["weights"]) + layer["biases"]
    return np.hstack([np.concatenate([e, x[:, :n, None]], 2).reshape(len(x), -1), x[:, n:]]), (x, u, n)

def embedding_back(layer, kept, delta):
    x, u, n = kept
    of_columns = delta[:, : n * layer["size"]].reshape(len(x), n, -1)
    de = of_columns[:, :, :-1]
    du = -np.sin(u) * np.einsum("rcj,cjm->rcm", de, layer["weights"])
    dx = of_columns[:, :, -1] + 2 * np.pi * (du * layer["frequencies"]).sum(axis=2)
    return np.hstack([dx, delta[:, n * layer["size"] :]]), {
        "frequencies": 2 * np.pi * np.einsum("rcm,rc->cm", du, x[:, :n]), "phases": du.sum(axis=0),
        "weights": np.einsum("rcj,rcm->cjm", de, np.cos(u)), "biases": de.sum(axis=0)}

def bins(layer):
    low, high = layer["edges"] * 0, layer["edges"] * 0 + 1
    low[:, 0] = -1
    for c, inverse in enumerate(layer["inverses"]):
        high[c, np.flatnonzero(inverse)[-1]] = 2
    return low, high

def piecewise(layer, x):
    n = len(layer["edges"])
    t, (low, high) = (x[:, :n, None] - layer["edges"]) * layer["inverses"], bins(layer)
    z = np.clip(t, low, high)
    e = np.einsum("rcm,cjm->rcj", z, layer["weights"]) + layer["biases"]
    f = ACTIVATIONS[layer["activation"]][0](e, 0.0)
    slopes = layer["inverses"] * (t > low) * (t < high)
    return np.hstack([f.reshape(len(x), -1), x[:, n:]]), (z, e, slopes)

def piecewise_back(layer, kept, delta):
    (z, e, slopes), (n, size, _) = kept, layer["weights"].shape
    de = delta[:, : n * size].reshape(e.shape) * ACTIVATIONS[layer["activation"]][1](e, 0.0)
    dx = (np.einsum("rcj,cjm->rcm", de, layer["weights"]) * slopes).sum(axis=2)
    return np.hstack([dx, delta[:, n * size :]]), {
        "weights": np.einsum("rcj,rcm->cjm", de, z), "biases": de.sum(axis=0),
        "edges": layer["edges"] * 0, "inverses": layer["edges"] * 0}

RUNNING = ("running_mean", "running_variance")
KINDS = images.KINDS | {name: images.of_pixels(*ways) for name, ways in {
    "CategoryEmbedding": (category, category_back),
    "PiecewiseEmbedding": (piecewise, piecewise_back),
    "PReLU": (lambda layer, x: (np.maximum(x, 0) + layer["weights"] * np.minimum(x, 0), x),
              lambda layer, x, delta: (delta * np.where(x > 0, 1, layer["weights"]),
                                       {"weights": (delta * np.minimum(x, 0)).sum(axis=0)})),
    "ParametricActivation": (parametric, parametric_back),
    "NumericEmbedding": (embedding, embedding_back),
    "Scale": (lambda layer, x: (x * layer["weights"], x),
              lambda layer, x, delta: (delta * layer["weights"], {"weights": (delta * x).sum(axis=0)})),
    "LayerNorm": (layer_norm, layer_norm_back),
    "BatchNorm": (batch_norm, batch_norm_back),
}.items()}

def normal_numbers(seed, step, stream, first, n):
    """Box & Muller's, of the words of `dropout_mask`: elements 4 k, 4 k + 1 of words 0, 1 of counter k, then 2, 3."""
    low, found = 2**32 - 1, []
    for b in range(first // 4, (first + n + 3) // 4):
        counter = (b & low, stream ^ b >> 32 << 16 & low, step & low, step >> 32 ^ b >> 48 << 16 & low)
        words = philox(counter, (seed & low, seed >> 32))
        for one, two in (words[:2], words[2:]):
            radius, angle = np.sqrt(-2 * np.log((one + 0.5) / 2**32)), 2 * np.pi * two / 2**32
            found += [radius * np.cos(angle), radius * np.sin(angle)]
    return np.array(found[first % 4 : first % 4 + n])

def by_units(draw, a, seed, step, stream, *more):
    """Such numbers for all rows of each unit of a, in the order of memory."""
    return np.stack([draw(seed, step, stream, u << 34, *more, len(a)) for u in range(a[0].size)], 1).reshape(a.shape)

# The whole step. ------------------------------------------------------------------------------------------------------
# A dense layer is {"W", "b" or None, "activation", "p", "penalty": {"W": (l1, l2), "b": (l1, l2)}}, a convolution has
# its sizes too, a dropout {"rate"}, noise {"stddev"}, a sum {"span"}, another kind {"kind"}, its fields and parameters
# (one with running averages takes them, and leaves them as they are, where its "momentum" is 0);
# "factors": {"W": (on the learning rate, on the decay), "b": the same} may be left out.
def forward(layers, x, seed=0, i=1):
    """The outputs, what each layer reads, and what it keeps."""
    a, read, kept = x, [], []
    for index, layer in enumerate(layers):
        read.append(a)
        kept.append(None)
        if "rate" in layer:
            kept[-1] = by_units(dropout_mask, a, seed, i, index, layer["rate"]) if layer["rate"] else 1.0
            a = a * kept[-1]
        elif "stddev" in layer:
            a = a + layer["stddev"] * by_units(normal_numbers, a, seed, i, index) if layer["stddev"] else a
        elif "span" in layer:
            a = a + read[index - layer["span"]]
        elif "kind" in layer:
            a, kept[-1] = KINDS[layer["kind"]][0](layer, a)
        else:
            kept[-1] = images.product(layer, a) + (0 if layer["b"] is None else layer["b"])
            a = ACTIVATIONS[layer["activation"]][0](kept[-1], layer["p"])
    return a, read, kept

def loss_and_gradient(layers, loss, x, t, p=0.0, weights=None, seed=0, i=1):
    """Mean loss sum(w l) / sum(w), penalty sum(l1 |w| + l2 w^2), and the gradient of both by (layer, name)."""
    a, read, kept = forward(layers, x, seed, i)
    penalty, gradient, past = 0.0, {}, {}
    value, delta = row_losses(loss, a, t, p)
    w = np.ones(len(x)) if weights is None else weights
    delta = delta * (w / w.sum())[:, None]
    for index, layer in reversed(list(enumerate(layers))):
        if "rate" in layer:
            delta = delta * kept[index]
        elif "stddev" in layer:
            pass
        elif "span" in layer:
            past[index - layer["span"]] = past.get(index - layer["span"], 0) + delta
        elif "kind" in layer:
            delta, found = KINDS[layer["kind"]][1](layer, kept[index], delta)
            gradient |= {(index, name): g for name, g in found.items()}
        else:
            delta = delta * ACTIVATIONS[layer["activation"]][1](kept[index], layer["p"])
            gradient[index, "b"] = delta.reshape(-1, delta.shape[-1]).sum(axis=0)
            gradient[index, "W"], delta = images.product_back(layer, read[index], delta)
            for name, (l1, l2) in layer["penalty"].items():
                penalty += l1 * np.abs(layer[name]).sum() + l2 * (layer[name] ** 2).sum()
                gradient[index, name] = gradient[index, name] + l1 * np.sign(layer[name]) + 2 * l2 * layer[name]
        delta = delta + past.pop(index, 0)
    return w @ value / w.sum(), penalty, {k: g for k, g in gradient.items() if layers[k[0]][k[1]] is not None}

def train_step(layers, loss, optimizer, h, i, rate, state, x, t, decay_biases=False, **options):
    """Step i on the layers and the state {(layer, "W" or "b"): (slots, ...)} in place; (mean loss, penalty) before."""
    value, penalty, gradient = loss_and_gradient(layers, loss, x, t, i=i, **options)
    if h["clip_value"]:
        gradient = {k: g if k[1] in RUNNING else np.clip(g, -h["clip_value"], h["clip_value"])
                    for k, g in gradient.items()}
    norm = np.sqrt(sum((g**2).sum() for (_, name), g in gradient.items() if name not in RUNNING))
    shrink = min(1.0, h["clip_norm"] / norm) if h["clip_norm"] else 1.0
    for (index, name), g in gradient.items():
        layer = layers[index]
        if name in RUNNING:
            layer[name] = layer[name] - g
            continue
        faster, decay = layer.get("factors", {}).get(name, (1.0, 1.0))
        decay = decay if name not in ("b", "biases", "phases") or decay_biases else 0.0
        layer[name] = update(optimizer, h, i, rate * faster, layer[name], g * shrink, state[index, name], decay)
    return value, penalty
