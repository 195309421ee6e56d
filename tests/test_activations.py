"""Every activation of every engine against mpmath: values, special values, derivatives, lengths, in place."""
from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType

import mpmath as mp
import numpy as np
import pytest
import reference
from numpy.typing import NDArray

from cnn_core import Activation, engines

ENGINES = engines()
DTYPES = (np.float32, np.float64)
ULP = {np.float32: 4, np.float64: 2}
CASES = [(kind, alpha) for kind in Activation for alpha in reference.ALPHAS.get(kind.name.lower(), (0.0,))]
with mp.workdps(40):
    SELU_SCALE = mp.mpf("1.0507009873554804934193349852946")
    SELU_ALPHA = mp.mpf("1.6732632423543772848170429916717")
    SELU_BOTTOM = float(-SELU_SCALE * SELU_ALPHA)
Number = mp.mpf
Formula = Callable[[Number, Number], Number]

over_all = pytest.mark.parametrize(
    ("engine", "dtype"), [(e, d) for e in ENGINES.values() for d in DTYPES], ids=lambda v: v.__name__.split(".")[-1]
)
over_cases = pytest.mark.parametrize(("kind", "alpha"), CASES, ids=lambda v: getattr(v, "name", str(v)))


def sigmoid(z: Number) -> Number:
    return 1 / (1 + mp.exp(-z))


def softplus(z: Number) -> Number:
    return mp.log1p(mp.exp(z)) if z < 0 else z + mp.log1p(mp.exp(-z))


def gelu_tanh_gate(z: Number) -> Number:
    return sigmoid(2 * mp.sqrt(2 / mp.pi) * (z + mp.mpf("0.044715") * z**3))


def normal(z: Number) -> Number:
    """Phi(z); mpmath's erfc takes no argument whose square is no float."""
    return mp.mpf(z > 0) if abs(z) > 1e6 else mp.erfc(-z / mp.sqrt(2)) / 2


def clip(z: Number, low: int, high: int) -> Number:
    return min(max(z, mp.mpf(low)), mp.mpf(high))


def elu(z: Number, alpha: Number) -> Number:
    return z if z > 0 else alpha * mp.expm1(z)


def mish_slope(z: Number) -> Number:
    gate = mp.tanh(softplus(z))
    return gate + z * (1 - gate**2) * sigmoid(z)


def gelu_tanh_slope(z: Number) -> Number:
    gate = gelu_tanh_gate(z)
    return gate + z * gate * (1 - gate) * 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * z * z)


def squareplus(z: Number, alpha: Number) -> Number:
    root = mp.sqrt(z * z + alpha)
    return (z + root) / 2 if z > 0 else alpha / (2 * (root - z))


def inside(z: Number, low: int, high: int) -> Number:
    return mp.mpf(low < z < high)


# value and derivative at z; at a kink the derivative that the package promises (PyTorch's)
FORMULAS: dict[str, tuple[Formula, Formula]] = {
    "IDENTITY": (lambda z, _: z, lambda z, _: mp.mpf(1)),
    "SIGMOID": (lambda z, _: sigmoid(z), lambda z, _: sigmoid(z) * sigmoid(-z)),
    "TANH": (lambda z, _: mp.tanh(z), lambda z, _: mp.sech(z) ** 2),
    "RELU": (lambda z, _: max(z, mp.mpf(0)), lambda z, _: mp.mpf(z > 0)),
    "LEAKY_RELU": (lambda z, alpha: z if z > 0 else alpha * z, lambda z, alpha: mp.mpf(1) if z > 0 else alpha),
    "RELU6": (lambda z, _: clip(z, 0, 6), lambda z, _: inside(z, 0, 6)),
    "ELU": (elu, lambda z, alpha: mp.mpf(1) if z > 0 else alpha * mp.exp(z)),
    "SELU": (
        lambda z, _: SELU_SCALE * elu(z, SELU_ALPHA),
        lambda z, _: SELU_SCALE * (1 if z > 0 else SELU_ALPHA * mp.exp(z)),
    ),
    "CELU": (
        lambda z, alpha: z if z > 0 else alpha * mp.expm1(z / alpha),
        lambda z, alpha: mp.mpf(1) if z > 0 else mp.exp(z / alpha),
    ),
    "GELU": (lambda z, _: z * normal(z), lambda z, _: normal(z) + z * mp.npdf(z)),
    "GELU_TANH": (lambda z, _: z * gelu_tanh_gate(z), lambda z, _: gelu_tanh_slope(z)),
    "SILU": (lambda z, _: z * sigmoid(z), lambda z, _: sigmoid(z) * (1 + z * sigmoid(-z))),
    "MISH": (lambda z, _: z * mp.tanh(softplus(z)), lambda z, _: mish_slope(z)),
    "SOFTPLUS": (lambda z, _: softplus(z), lambda z, _: sigmoid(z)),
    "SOFTSIGN": (lambda z, _: z / (1 + abs(z)), lambda z, _: 1 / (1 + abs(z)) ** 2),
    "HARD_SIGMOID": (lambda z, _: clip(z + 3, 0, 6) / 6, lambda z, _: inside(z, -3, 3) / 6),
    "HARD_SWISH": (
        lambda z, _: z * clip(z + 3, 0, 6) / 6,
        lambda z, _: mp.mpf(z >= 3) if abs(z) >= 3 else (2 * z + 3) / 6,
    ),
    "HARD_TANH": (lambda z, _: clip(z, -1, 1), lambda z, _: inside(z, -1, 1)),
    "SQUAREPLUS": (squareplus, lambda z, alpha: squareplus(z, alpha) / mp.sqrt(z * z + alpha)),
}
LIMITS = {  # at -0, inf and -inf; NaN gives NaN
    "IDENTITY": (-0.0, np.inf, -np.inf), "SIGMOID": (0.5, 1.0, 0.0), "TANH": (-0.0, 1.0, -1.0),
    "RELU": (-0.0, np.inf, 0.0), "LEAKY_RELU": (-0.0, np.inf, -np.inf), "RELU6": (-0.0, 6.0, 0.0),
    "ELU": (-0.0, np.inf, -1.0), "SELU": (-0.0, np.inf, SELU_BOTTOM), "CELU": (-0.0, np.inf, -1.0),
    "GELU": (-0.0, np.inf, -0.0), "GELU_TANH": (-0.0, np.inf, -0.0), "SILU": (-0.0, np.inf, -0.0),
    "MISH": (-0.0, np.inf, -0.0), "SOFTPLUS": (float(mp.log(2)), np.inf, 0.0), "SOFTSIGN": (-0.0, 1.0, -1.0),
    "HARD_SIGMOID": (0.5, 1.0, 0.0), "HARD_SWISH": (-0.0, np.inf, -0.0), "HARD_TANH": (-0.0, 1.0, -1.0),
    "SQUAREPLUS": (1.0, np.inf, 0.0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def digits() -> object:
    """Enough digits for 1 + e^-100, and for the products of such numbers."""
    with mp.workdps(40):
        yield


@cache
def points(dtype: type) -> NDArray:
    """The whole range: near 0, the middle, the tails into subnormal results, powers of ten, the kinks, subnormals."""
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    far = 105.0 if dtype is np.float32 else 748.0
    spread = [rng.uniform(-r, r, n) for r, n in ((1, 200), (4, 400), (16, 500), (40, 150), (far, 100))]
    # the exponentials become subnormal here: of z, of z^2 / 2, of the cubic in gelu's approximation
    edges = ((-104, -87), (-14, -12.5), (-10.6, -9.5)) if dtype is np.float32 else ((-746, -708), (-38.7, -37.3),
                                                                                   (-21.2, -20.4))
    tails = [rng.uniform(low, high, 60) for low, high in edges]
    powers = 10.0 ** np.arange(np.log10(info.tiny) + 1, np.log10(info.max), 3 if dtype is np.float32 else 19)
    kinks = np.array([0.0, 1, 3, 6, 0.3465736, 0.7, 9.01, 11, 15, 22, 39], dtype)
    beside = np.concatenate([kinks, np.nextafter(kinks, dtype(100)), np.nextafter(kinks, dtype(-100))])
    small = np.array([info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny / 2, info.tiny, info.max], dtype)
    positive = np.concatenate([powers.astype(dtype), beside, small])
    return np.concatenate([np.concatenate(spread + tails).astype(dtype), positive, -positive])


@cache
def exact(kind: Activation, alpha: float, dtype: type) -> list[Number]:
    """f at the points, rounded correctly by far enough."""
    with mp.workdps(40):
        return [FORMULAS[kind.name][0](mp.mpf(float(z)), mp.mpf(float(dtype(alpha)))) for z in points(dtype)]


def forward(engine: ModuleType, kind: int, z: NDArray, alpha: float) -> NDArray:
    out = np.full_like(z, 7)
    engine.activation_forward(kind, z, out, alpha)
    return out


def ulps(got: NDArray, want: list[Number]) -> NDArray:
    """|got - want| in units of the last place; those of the smallest subnormal below the normal numbers."""
    info = np.finfo(got.dtype)
    errors = np.zeros(len(got))
    for i, (value, right) in enumerate(zip(got.tolist(), want, strict=True)):
        if abs(right) > mp.mpf(float(info.max)):
            errors[i] = 0 if value == np.inf * int(mp.sign(right)) or abs(value) == float(info.max) else np.inf
        elif not np.isfinite(value):
            errors[i] = np.inf
        else:
            # the binade is that of the exact value: one that lies just below a power of two has the smaller unit
            exponent = int(mp.floor(mp.log(abs(right), 2))) if right != 0 else info.minexp
            unit = mp.ldexp(1, max(exponent, int(info.minexp)) - int(info.nmant))
            errors[i] = float(abs(mp.mpf(value) - right) / unit)
    return errors


def test_tables_name_every_activation() -> None:
    assert set(FORMULAS) == set(LIMITS) == {kind.name for kind in Activation}


@over_all
@over_cases
def test_value(engine: ModuleType, dtype: type, kind: Activation, alpha: float) -> None:
    errors = ulps(forward(engine, kind, points(dtype), alpha), exact(kind, alpha, dtype))
    worst = int(np.argmax(errors))
    assert errors[worst] <= ULP[dtype], f"at {points(dtype)[worst]!r}"


@over_all
@pytest.mark.parametrize("kind", Activation, ids=lambda k: k.name)
def test_limits(engine: ModuleType, dtype: type, kind: Activation) -> None:
    alpha = engine.activation_default_alpha(kind)
    got = forward(engine, kind, np.array([-0.0, np.inf, -np.inf, 0.0, np.nan], dtype), alpha)
    want = np.array([*LIMITS[kind.name], abs(LIMITS[kind.name][0]), np.nan], dtype)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got[:4]), np.signbit(want[:4]))
    # the lanes of a vector and the rest of a loop are different code
    for value in (np.nan, np.inf, -np.inf):
        row = forward(engine, kind, np.full(67, value, dtype), alpha)
        np.testing.assert_array_equal(row, np.full(67, forward(engine, kind, np.array([value], dtype), alpha)[0]))


@over_all
@over_cases
def test_derivative(engine: ModuleType, dtype: type, kind: Activation, alpha: float) -> None:
    """Within a few roundings of the derivative's scale: it is taken from f(z), or is a sum of terms that cancel."""
    z = points(dtype)[np.abs(points(dtype)) < 1e6]
    saved = z if engine.activation_keeps_input(kind) else forward(engine, kind, z, alpha)
    delta = np.full_like(z, 3)
    engine.activation_backward(kind, saved, delta, alpha)
    slope, a = FORMULAS[kind.name][1], mp.mpf(float(dtype(alpha)))
    want = [3 * slope(mp.mpf(float(x)), a) for x in z]
    if kind in (Activation.RELU6, Activation.HARD_TANH, Activation.HARD_SIGMOID):
        # the derivative is taken from the rounded value, which may stand on a kink that z is only close to
        kept = np.array([not any(abs(abs(x) - k) < 1e-5 for k in (1, 3, 6)) for x in z.tolist()])
    else:
        kept = np.ones(len(z), bool)
    # a subnormal alpha z may vanish: the derivative at 0
    kept &= np.abs(z) > (0 if alpha == 0 else np.finfo(dtype).tiny)
    scale = 3 * max(1.0, float(alpha), -SELU_BOTTOM if kind == Activation.SELU else 1.0)
    errors = np.array([float(abs(mp.mpf(float(d)) - w)) for d, w in zip(delta, want, strict=True)])
    assert errors[kept].max() <= 4 * np.finfo(dtype).eps * scale, f"at {z[kept][np.argmax(errors[kept])]!r}"


@over_all
@pytest.mark.parametrize("kind", Activation, ids=lambda k: k.name)
def test_derivative_at_the_ends(engine: ModuleType, dtype: type, kind: Activation) -> None:
    alpha = engine.activation_default_alpha(kind)
    z = np.array([1e30, -1e30, np.inf, -np.inf, np.nan], dtype)
    saved = z if engine.activation_keeps_input(kind) else forward(engine, kind, z, alpha)
    delta = np.ones_like(z)
    engine.activation_backward(kind, saved, delta, alpha)
    flat = ("SIGMOID", "TANH", "RELU6", "SOFTSIGN", "HARD_SIGMOID", "HARD_TANH")
    right = 1.0507009873554804934 if kind.name == "SELU" else (0.0 if kind.name in flat else 1.0)
    left = {"IDENTITY": 1.0, "LEAKY_RELU": alpha}.get(kind.name, 0.0)
    np.testing.assert_allclose(delta[:4], np.array([right, left] * 2, dtype), atol=np.finfo(dtype).eps)
    pieces = ("RELU", "LEAKY_RELU", "RELU6", "HARD_SIGMOID", "HARD_SWISH", "HARD_TANH", "IDENTITY")
    assert np.isnan(delta[4]) or kind.name in pieces


@over_all
@pytest.mark.parametrize("kind", Activation, ids=lambda k: k.name)
def test_every_length_in_place(engine: ModuleType, dtype: type, kind: Activation) -> None:
    """Lengths around the blocks of the vector code: the same as one at a time, in place too, and nothing beyond."""
    alpha = engine.activation_default_alpha(kind)
    z = np.random.default_rng(2).normal(0, 3, 72).astype(dtype)
    single = np.concatenate([forward(engine, kind, z[i : i + 1], alpha) for i in range(72)])
    slopes = np.ones_like(z)
    saved = z if engine.activation_keeps_input(kind) else single
    for i in range(72):
        engine.activation_backward(kind, saved[i : i + 1], slopes[i : i + 1], alpha)
    # fused multiply-adds may differ between the vector code and the rest of a loop
    room = {"rtol": 2 * ULP[dtype] * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    for n in range(71):
        out, same, delta = np.full_like(z, 7), z.copy(), np.ones_like(z)
        engine.activation_forward(kind, z[:n], out[:n], alpha)
        np.testing.assert_allclose(out[:n], single[:n], **room)
        assert (out[n:] == 7).all()
        engine.activation_forward(kind, same[:n], same[:n], alpha)
        np.testing.assert_array_equal(same, np.concatenate([out[:n], z[n:]]))
        engine.activation_backward(kind, saved[:n], delta[:n], alpha)
        np.testing.assert_allclose(delta[:n], slopes[:n], **room)
        assert (delta[n:] == 1).all()


@over_all
def test_bounds_and_finiteness(engine: ModuleType, dtype: type) -> None:
    """Numbers from all over the range of bit patterns: finite in, finite and within the bounds out; NaN in, NaN out."""
    if dtype is np.float32:
        z = np.arange(0, 2**32, 65537, dtype=np.uint32).view(np.float32)
    else:
        z = np.arange(0, 2**64 - 1, 2**48 + 12345, dtype=np.uint64).view(np.float64)
    bounds = {"SIGMOID": (0, 1), "TANH": (-1, 1), "RELU6": (0, 6), "SOFTSIGN": (-1, 1), "HARD_SIGMOID": (0, 1),
              "HARD_TANH": (-1, 1), "ELU": (-1, np.inf), "CELU": (-1, np.inf), "RELU": (0, np.inf),
              "SOFTPLUS": (0, np.inf), "GELU": (-0.18, np.inf), "GELU_TANH": (-0.18, np.inf), "SILU": (-0.28, np.inf),
              "MISH": (-0.31, np.inf), "HARD_SWISH": (-0.376, np.inf)}  # fmt: skip
    for kind in Activation:
        out = forward(engine, kind, z, engine.activation_default_alpha(kind))
        np.testing.assert_array_equal(np.isnan(out), np.isnan(z), err_msg=kind.name)
        low, high = bounds.get(kind.name, (-np.inf, np.inf))
        number = out[~np.isnan(out)]
        assert ((number >= low) & (number <= high)).all(), kind.name
        inside = np.abs(z) < np.finfo(dtype).max / 2  # selu of the largest numbers overflows, as it should
        assert np.isfinite(out[inside]).all(), kind.name
