"""What a network takes: any shape, type and layout of numbers; and it never changes them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import error, reference_gradient, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import cnn


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 70), d=st.integers(1, 70), units=st.integers(1, 70), k=st.integers(1, 5),
       seed=st.integers(0, 99), dtype=st.sampled_from(["float32", "float64"]), dropout=st.booleans())  # fmt: skip
def test_any_shape(n: int, d: int, units: int, k: int, seed: int, dtype: str, dropout: bool) -> None:
    rng = np.random.default_rng(seed)
    layers = [cnn.Dense(units, "tanh"), *([cnn.Dropout(0.3)] if dropout else []), cnn.Dense(k)]
    net = cnn.Network(layers, dtype=dtype, seed=seed).build(d)
    # A saturated tanh has few digits left in 1 - a^2, and so has a sum whose terms cancel: all rows look alike, and the
    # targets are away from the outputs.
    X = (0.3 + 0.02 * rng.normal(size=(n, d))).astype(dtype)
    y = (10 + rng.normal(size=(n, k))).astype(dtype)
    loss, gradient = net.loss_and_gradient(X, y, training=True)
    expected, expected_gradient = reference_gradient(net, X, y, training=True)
    bound = 1e-5 if dtype == "float32" else 1e-13
    assert loss == pytest.approx(expected, rel=bound)
    assert all(error(g, expected_gradient[name]) < bound for name, g in gradient.items())
    assert net.predict(X).shape == (n, k)


NAMES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", ">i2", ">f4", ">f8", "?")
TYPES = [np.dtype(name) for name in NAMES]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("own", ["float32", "float64"])
def test_any_type_of_number(dtype: np.dtype, own: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (20, 3)), rng.integers(0, 2, 20)
    net = cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], dtype=own, seed=0)
    net.fit(X.astype(dtype), y.astype(dtype), epochs=2, verbose=0, sample_weight=y.astype(dtype) + 1)
    plain = cnn.Network([cnn.Dense(4, "tanh"), cnn.Dense(1)], dtype=own, seed=0)
    plain.fit(X.astype(own), y.astype(own), epochs=2, verbose=0, sample_weight=y.astype(own) + 1)
    assert same_bits(net, plain)
    assert net.predict(X.astype(dtype)).dtype == own
    classes = cnn.Network([cnn.Dense(2)], loss="cross_entropy", dtype=own, seed=0).build(3)
    assert classes.loss_and_gradient(X, y.astype(dtype))[0] == classes.loss_and_gradient(X, y)[0]


def layouts(X: np.ndarray, folder) -> dict[str, object]:
    wide = np.zeros((2 * len(X), 2 * X.shape[1]), X.dtype)
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    np.save(folder / "x.npy", X)
    unaligned = np.frombuffer(bytearray(X.nbytes + 1), np.uint8)[1:].view(X.dtype).reshape(X.shape)
    unaligned[...] = X
    return {
        "C": X, "Fortran": np.asfortranarray(X), "strided": wide[::2, ::2], "reversed": X[::-1].copy()[::-1],
        "read-only": read_only, "memory-mapped": np.load(folder / "x.npy", mmap_mode="r"), "list": X.tolist(),
        "unaligned": unaligned, "masked without a mask": np.ma.masked_array(X),
    }  # fmt: skip


@pytest.mark.parametrize("own", ["float32", "float64"])
def test_any_layout_and_nothing_is_changed(tmp_path, own: str) -> None:
    rng = np.random.default_rng(0)
    X, y, w = (rng.normal(size=s).astype(own) for s in ((30, 4), (30, 2), 30))
    w = np.abs(w)
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    bits = set()
    for name, x in layouts(X, tmp_path / "x").items():
        target = layouts(y, tmp_path / "y")[name]
        before = np.asarray(x).tobytes(), np.asarray(target).tobytes(), w.tobytes()
        net = cnn.Network([cnn.Dense(5, "relu"), cnn.Dropout(0.2), cnn.Dense(2)], dtype=own, seed=0)
        net.fit(x, target, epochs=2, batch_size=8, validation_split=0.2, sample_weight=w, verbose=0)
        out = net.forward(x)
        net.backward(np.asfortranarray(out))
        bits.add((net.flat.tobytes(), net.predict(x).tobytes(), str(net.evaluate(x, target, w))))
        assert before == (np.asarray(x).tobytes(), np.asarray(target).tobytes(), w.tobytes())
    assert len(bits) == 1


def test_data_frames() -> None:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    a, b = (cnn.Network([cnn.Dense(1)], seed=0) for _ in range(2))
    a.fit(X, y, epochs=2, verbose=0)
    b.fit(pd.DataFrame(X, columns=list("abc")), pd.Series(y, index=range(5, 35)), epochs=2, verbose=0)
    assert same_bits(a, b)


@pytest.mark.parametrize("n_threads", [None, 1, 2, 5])
def test_few_rows(n_threads: int | None) -> None:
    net = cnn.Network([cnn.Dense(5, "tanh"), cnn.Dense(3)], seed=0).build(4)
    assert net.predict(np.zeros((0, 4)), n_threads=n_threads).shape == (0, 3)
    assert net.forward(np.zeros((0, 4)), n_threads=n_threads).shape == (0, 3)
    assert net.backward(np.zeros((0, 3))).shape == (0, 4)
    assert not any(g.any() for g in net.gradients.values())
    assert net.predict(np.zeros((1, 4)), n_threads=n_threads).shape == (1, 3)
    one = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(0.1), dtype="float64", seed=0)
    one.fit([[2.0]], [1.0], epochs=100, verbose=0, n_threads=n_threads)
    assert one.predict([[2.0]])[0] == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 15, 257, 5000])
def test_prediction_has_the_same_bits_for_every_number_of_threads(n: int) -> None:
    X = np.random.default_rng(0).normal(size=(n, 30)).astype(np.float32)
    net = cnn.Network([cnn.Dense(100, "gelu"), cnn.Dense(10)], loss="cross_entropy", seed=0).build(30)
    assert len({net.predict(X, n_threads=t).tobytes() for t in (None, 1, 2, 3, 8)}) == 1
