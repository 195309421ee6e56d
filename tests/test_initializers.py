"""Initial weights: variance, bounds, orthogonality, what "auto" stands for; names and errors."""

from __future__ import annotations

import numpy as np
import pytest
import reference

import cnn_core
from cnn import initializers
from cnn.initializers import Initializer

INPUTS, UNITS = 300, 200
# The variance that each paper asks for, and the bound of the uniform ones.
VARIANCES = {
    "glorot_uniform": 2 / (INPUTS + UNITS), "glorot_normal": 2 / (INPUTS + UNITS), "he_uniform": 2 / INPUTS,
    "he_normal": 2 / INPUTS, "lecun_uniform": 1 / INPUTS, "lecun_normal": 1 / INPUTS,
}  # fmt: skip
BOUNDS = {
    "glorot_uniform": np.sqrt(6 / (INPUTS + UNITS)), "he_uniform": np.sqrt(6 / INPUTS),
    "lecun_uniform": np.sqrt(3 / INPUTS), "uniform": 0.05,
}  # fmt: skip


def draw(initializer: str | Initializer, shape=(INPUTS, UNITS), seed=0, **options) -> np.ndarray:
    return initializers.get(initializer).draw(shape, np.random.default_rng(seed), **options)


def test_every_name_is_tested_here():
    others = {"auto", "orthogonal", "uniform", "normal", "zeros", "ones", "constant"}
    assert set(initializers.NAMES) == set(VARIANCES) | others


def moments_agree(w: np.ndarray, variance: float, kurtosis: float) -> bool:
    """Mean and variance within 5 standard errors."""
    n = w.size
    return (
        abs(w.mean()) < 5 * np.sqrt(variance / n)
        and abs(w.var() / variance - 1) < 5 * np.sqrt((kurtosis - 1) / n)
        and abs(np.mean((w / np.sqrt(variance)) ** 4) - kurtosis) < 0.15
    )


@pytest.mark.parametrize("name", [*VARIANCES, "uniform", "normal"])
def test_distribution(name):
    w = draw(name)
    variance = VARIANCES.get(name, 0.05**2 / 3 if name == "uniform" else 0.05**2)
    assert w.dtype == np.float64
    assert w.shape == (INPUTS, UNITS)
    assert moments_agree(w, variance, 1.8 if name.endswith("uniform") else 3.0)
    if name in BOUNDS:
        assert 0.999 * BOUNDS[name] < np.abs(w).max() <= BOUNDS[name]


@pytest.mark.parametrize(("name", "variance"), [
    ("glorot_uniform", 2 / (15 * (8 + 400))), ("he_normal", 2 / (15 * 8)), ("lecun_uniform", 1 / (15 * 8)),
])  # fmt: skip
def test_kernels_of_convolutions_are_drawn_by_their_fans(name, variance):
    """Fan-in: points of the kernel times channels of a group; fan-out: points times filters (Keras)."""
    w = draw(name, (3, 5, 8, 400))
    assert w.shape == (3, 5, 8, 400)
    assert moments_agree(w, variance, 1.8 if name.endswith("uniform") else 3.0)


def test_orthogonal_kernels_are_so_as_matrices():
    w = draw("orthogonal", (3, 2, 4, 5)).reshape(24, 5)
    np.testing.assert_allclose(w.T @ w, np.eye(5), atol=1e-14)


@pytest.mark.parametrize("name", initializers.NAMES)
def test_a_seed_gives_the_same_weights(name):
    np.testing.assert_array_equal(draw(name, (30, 20), 3), draw(name, (30, 20), 3))
    constant = name in ("zeros", "ones", "constant")
    assert np.array_equal(draw(name, (30, 20), 3), draw(name, (30, 20), 4)) == constant
    for shape in [(1, 1), (1, 5), (5, 1)]:
        w = draw(name, shape)
        assert w.shape == shape
        assert np.isfinite(w).all()


@pytest.mark.parametrize("shape", [(40, 40), (60, 20), (20, 60), (1, 8), (8, 1), (1, 1)])
@pytest.mark.parametrize("scale", [None, 1.5])
def test_orthogonal(shape, scale):
    w = draw(Initializer("orthogonal", scale), shape) / (scale or 1)
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-14)


def test_orthogonal_matrices_are_drawn_uniformly():
    """By Haar's measure the trace of a random orthogonal 3 x 3 matrix has mean 0 and variance 1."""
    rng, initializer = np.random.default_rng(5), Initializer("orthogonal")
    traces = np.array([np.trace(initializer.draw((3, 3), rng)) for _ in range(4000)])
    assert abs(traces.mean()) < 5 / np.sqrt(4000)
    assert abs(traces.var() - 1) < 0.15


def test_constants_and_scales():
    assert (draw("zeros") == 0).all()
    assert (draw("ones") == 1).all()
    assert (draw("constant") == 0).all()
    assert (draw(Initializer("constant", -2.5)) == -2.5).all()
    assert moments_agree(draw(Initializer("normal", 3.0)), 9.0, 3.0)
    assert moments_agree(draw(Initializer("uniform", 3.0)), 3.0, 1.8)


def test_auto_suits_every_activation():
    for kind in cnn_core.Activation:
        activation = kind.name.lower()
        expected = "lecun_normal" if activation == "selu" else "glorot_uniform"
        expected = "he_normal" if activation in reference.HE else expected
        np.testing.assert_array_equal(draw("auto", activation=activation), draw(expected))
    np.testing.assert_array_equal(draw("auto", activation="softmax"), draw("glorot_uniform"))


def test_biases_are_drawn_from_plain_ones():
    for name in initializers.PLAIN:
        assert draw(name, (7,)).shape == (7,)


@pytest.mark.parametrize(
    ("alias", "name"),
    [("Xavier", "glorot_uniform"), ("kaiming-normal", "he_normal"), ("He", "he_normal"), ("lecun", "lecun_normal"),
     ("glorot", "glorot_uniform"), ("zero", "zeros"), ("one", "ones"), ("he uniform", "he_uniform")],
)  # fmt: skip
def test_aliases(alias, name):
    assert initializers.get(alias) == Initializer(name)


@pytest.mark.parametrize("name", initializers.NAMES)
def test_repr_reads_back(name):
    assert eval(repr(Initializer(name))) == Initializer(name)
    if name in ("uniform", "normal", "orthogonal", "constant"):
        made = Initializer(name, np.float32(0.5))
        assert repr(made) == f"Initializer(name='{name}', scale=0.5)"
        assert eval(repr(made)) == made
    else:
        with pytest.raises(ValueError, match=f"initializer '{name}' takes no scale, got 0.5"):
            Initializer(name, 0.5)


def test_errors():
    with pytest.raises(ValueError, match=r"unknown initializer 'he_normla'\. Did you mean 'he_normal'\? Known: auto"):
        initializers.get("he_normla")
    with pytest.raises(TypeError, match=r"initializer must be a name or a cnn\.Initializer, got 0"):
        initializers.get(0)
    with pytest.raises(TypeError, match="the name of an initializer must be a string, got None"):
        Initializer(None)
    with pytest.raises(ValueError, match=r"scale of normal must be in \[0, inf\), got -1"):
        Initializer("normal", -1)
    with pytest.raises(ValueError, match=r"scale of constant must be in \(-inf, inf\), got nan"):
        Initializer("constant", np.nan)
