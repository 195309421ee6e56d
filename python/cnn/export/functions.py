"""Activations and output links elsewhere: each as ONNX and as C, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnn.export.graph import Graph

_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto


@dataclass(frozen=True)
class Function:
    """An activation of z and its alpha.

    `onnx` appends its nodes to a graph: of operators that runtimes have in float32 and in float64. `c` is the body of
    `static real f(real z, real alpha)`, none where f(z) = z: F(name) is the function of math.h for the type, R(x) a
    constant of it.
    """

    onnx: Callable[[Graph, str, float], str]
    c: str


@dataclass(frozen=True)
class Link:
    """From k raw outputs to predictions: nodes of a graph; in C loops over y, with `int i` declared."""

    onnx: Callable[[Graph, str, int], str]
    c: str


def _sigmoid(g: Graph, z: str) -> str:
    return g.op("Sigmoid", z)


def _expm1(g: Graph, z: str) -> str:
    """e^z - 1 of what is negative in z, without the loss of digits near 0: 2 tanh(z / 2) / (1 - tanh(z / 2))."""
    t = g.op("Tanh", g.op("Mul", g.op("Min", z, 0.0), 0.5))
    return g.op("Div", g.op("Add", t, t), g.op("Sub", 1.0, t))


def _positive_or(g: Graph, z: str, otherwise: str) -> str:
    return g.op("Where", g.op("Greater", z, 0.0), z, otherwise)


def _softplus(g: Graph, z: str) -> str:
    tail = g.op("Log", g.op("Add", 1.0, g.op("Exp", g.op("Neg", g.op("Abs", z)))))
    return g.op("Add", g.op("Max", z, 0.0), tail)


def _selu(g: Graph, z: str) -> str:
    negative = g.op("Mul", 1.7580993408473768599, _expm1(g, z))
    return g.op("Where", g.op("Greater", z, 0.0), g.op("Mul", 1.0507009873554804935, z), negative)


def _gelu(g: Graph, z: str) -> str:
    x = g.op("Mul", z, math.sqrt(0.5))
    return g.op("Mul", g.op("Mul", z, 0.5), g.op("Add", 1.0, _erf(g, x)))


def _erf(g: Graph, x: str) -> str:
    if g.dtype == np.float32:
        return g.op("Erf", x)
    return g.op("Cast", g.op("Erf", g.op("Cast", x, to=_FLOAT)), to=_DOUBLE)  # runtimes have it in float32 only


def _gelu_tanh(g: Graph, z: str) -> str:
    inner = g.op("Add", 1.0, g.op("Mul", 0.044715, g.op("Mul", z, z)))
    return g.op("Mul", z, g.op("Sigmoid", g.op("Mul", math.sqrt(8 / math.pi), g.op("Mul", z, inner))))


def _clip(low: float, high: float) -> Callable[[Graph, str, float], str]:
    return lambda g, z, alpha: g.op("Max", g.op("Min", z, high), low)


def _gate(g: Graph, z: str) -> str:
    return g.op("Div", _clip(0, 6)(g, g.op("Add", z, 3.0), 0), 6.0)


def _squareplus(g: Graph, z: str, alpha: float) -> str:
    """As the core, without the difference of two large numbers, and without an overflow."""
    m = g.op("Abs", z)
    c = g.op("Min", m, 1e18)
    root = g.op("Sqrt", g.op("Add", g.op("Mul", c, c), alpha))
    half = g.op("Mul", 0.5, g.op("Add", m, g.op("Where", g.op("Greater", m, 1e18), m, root)))
    return g.op("Where", g.op("Greater", z, 0.0), half, g.op("Div", 0.25 * alpha, half))


def _mean_variance(g: Graph, f: str, k: int) -> str:
    """Of the second half of the outputs e^f."""
    return g.op("Where", g.array("variances", np.arange(k) >= k // 2), g.op("Exp", f), f)


ACTIVATIONS = {
    "identity": Function(lambda g, z, alpha: z, ""),
    "sigmoid": Function(lambda g, z, alpha: _sigmoid(g, z), "return R(1.0) / (R(1.0) + F(exp)(-z));"),
    "tanh": Function(lambda g, z, alpha: g.op("Tanh", z), "return F(tanh)(z);"),
    "relu": Function(lambda g, z, alpha: g.op("Relu", z), "return z < R(0.0) ? R(0.0) : z;"),
    "leaky_relu": Function(
        lambda g, z, alpha: _positive_or(g, z, g.op("Mul", z, alpha)),
        "return z > R(0.0) ? z : alpha * z;",
    ),
    "relu6": Function(_clip(0, 6), "return z < R(0.0) ? R(0.0) : (z > R(6.0) ? R(6.0) : z);"),
    "elu": Function(
        lambda g, z, alpha: _positive_or(g, z, g.op("Mul", _expm1(g, z), alpha)),
        "return z > R(0.0) ? z : alpha * F(expm1)(z);",
    ),
    "selu": Function(
        lambda g, z, alpha: _selu(g, z),
        "return z > R(0.0) ? R(1.0507009873554804934) * z : R(1.7580993408473768599) * F(expm1)(z);",
    ),
    "celu": Function(
        lambda g, z, alpha: _positive_or(g, z, g.op("Mul", _expm1(g, g.op("Div", z, alpha)), alpha)),
        "return z > R(0.0) ? z : alpha * F(expm1)(z / alpha);",
    ),
    # In double, and with the rounding of the argument made good: erfc magnifies it z^2 times.
    "gelu": Function(
        lambda g, z, alpha: _gelu(g, z),
        """double x = -(double)z * 0.70710678118654752440;
    double d = fma(-(double)z, 0.70710678118654752440, -x) + (double)z * 4.8336466567264567e-17;
    double tail = erfc(x) - 1.1283791670955125739 * exp(-x * x) * d;
    return (double)z < -40.0 ? R(-0.0) : (real)(0.5 * (double)z * tail);""",
    ),
    "gelu_tanh": Function(
        lambda g, z, alpha: _gelu_tanh(g, z),
        """double x = (double)z, t = x * x, inner = fma(0.071354816272600244, t, 1.5957691216057308);
    double d = fma(0.071354816272600244, t, 1.5957691216057308 - inner), u = x * inner;
    double s = 1.0 / (1.0 + exp(-u));
    d = fma(x, inner, -u) + x * d;
    return (double)z < -1e2 ? R(-0.0) : (real)(x * (s + s * (1.0 - s) * d));""",
    ),
    "silu": Function(
        lambda g, z, alpha: g.op("Mul", z, _sigmoid(g, z)),
        "return z < R(-1e3) ? R(-0.0) : z / (R(1.0) + F(exp)(-z));",
    ),
    # tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), e = e^z
    "mish": Function(
        lambda g, z, alpha: g.op("Mul", z, g.op("Tanh", _softplus(g, z))),
        """real e = F(exp)(z > R(20.0) ? R(20.0) : z), p = e * (e + R(2.0));
    return z < R(-1e3) ? R(-0.0) : (z > R(20.0) ? z : z * (p / (p + R(2.0))));""",
    ),
    "softplus": Function(
        lambda g, z, alpha: _softplus(g, z),
        "return (z > R(0.0) ? z : R(0.0)) + F(log1p)(F(exp)(-F(fabs)(z)));",
    ),
    "softsign": Function(
        lambda g, z, alpha: g.op("Div", z, g.op("Add", 1.0, g.op("Abs", z))),
        "return F(fabs)(z) > R(1e30) ? (z > R(0.0) ? R(1.0) : R(-1.0)) : z / (R(1.0) + F(fabs)(z));",
    ),
    "hard_sigmoid": Function(
        lambda g, z, alpha: _gate(g, z),
        """real s = z + R(3.0);
    return (s < R(0.0) ? R(0.0) : (s > R(6.0) ? R(6.0) : s)) / R(6.0);""",
    ),
    "hard_swish": Function(
        lambda g, z, alpha: g.op("Mul", z, _gate(g, z)),
        """real s = z + R(3.0);
    return (z < R(-3.0) ? R(-3.0) : z) * ((s < R(0.0) ? R(0.0) : (s > R(6.0) ? R(6.0) : s)) / R(6.0));""",
    ),
    "hard_tanh": Function(_clip(-1, 1), "return z < R(-1.0) ? R(-1.0) : (z > R(1.0) ? R(1.0) : z);"),
    "squareplus": Function(
        _squareplus,
        """real m = F(fabs)(z), c = m < R(1e18) ? m : R(1e18);
    real q = R(0.5) * m + R(0.5) * (m > R(1e18) ? m : F(sqrt)(c * c + alpha));
    return z > R(0.0) ? q : R(0.25) * alpha / q;""",
    ),
}
LINKS = {
    "identity": Link(lambda g, f, k: f, ""),
    "sigmoid": Link(lambda g, f, k: _sigmoid(g, f), """
    for (i = 0; i < {outputs}; i++)
        y[i] = R(1.0) / (R(1.0) + F(exp)(-y[i]));"""),
    "exp": Link(lambda g, f, k: g.op("Exp", f), """
    for (i = 0; i < {outputs}; i++)
        y[i] = F(exp)(y[i]);"""),
    "softmax": Link(lambda g, f, k: g.op("Softmax", f, axis=1), """
    real top = y[0], sum = R(0.0);
    for (i = 1; i < {outputs}; i++)
        top = y[i] > top ? y[i] : top;
    for (i = 0; i < {outputs}; i++) {
        y[i] = F(exp)(y[i] - top);
        sum += y[i];
    }
    for (i = 0; i < {outputs}; i++)
        y[i] /= sum;"""),
    "mean_variance": Link(_mean_variance, """
    for (i = {outputs} / 2; i < {outputs}; i++)
        y[i] = F(exp)(y[i]);"""),
}  # fmt: skip
