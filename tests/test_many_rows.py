"""Networks on some of the rows: X is shared, and the bits are those of a fit on X[rows]."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_networks import CLASSES, RNG, Array, X, Y, alike, networks
from scipy import sparse

import cnn
from cnn.runtime import data
from cnn.runtime.compact import CompactRows

ROWS: list[Any] = [
    RNG.permutation(150)[:75], RNG.integers(0, 150, 200), Y > 0, np.arange(20, 140), np.arange(149, -1, -2), [3],
]  # fmt: skip
WEIGHTS = RNG.random(150)


def positions(rows: Any) -> Array:
    index = np.asarray(rows)
    return np.flatnonzero(index) if index.dtype == bool else index


def compact() -> CompactRows:
    """A staircase over inputs 0 .. 3 and two ordinary columns."""
    columns = np.tile(np.array([0, 4, 5], np.int32), 150)
    columns[::3] += RNG.integers(0, 4, 150).astype(np.int32)
    return CompactRows(np.arange(0, 451, 3), columns, RNG.random(450), 6, np.array([[0, 4]], np.int32))


INPUTS: dict[str, Any] = {
    "dense": X,
    "sparse": sparse.csr_array(X * (RNG.random(X.shape) < 0.4)),
    "compact": compact(),
    "with zeros": np.tile(X, 20) * (RNG.random((150, 120)) < 0.03),  # which a fit reads as sparse rows
}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("name", INPUTS)
def test_the_bits_are_those_of_the_rows_alone(name: str, batch_size: int | None, shuffle: bool) -> None:
    nets, alone, inputs = networks(), networks(), INPUTS[name]
    weights = [WEIGHTS if i % 2 else None for i in range(6)]
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "verbose": 0}
    for net, same in zip(nets, alone, strict=True):
        same.seed = net.seed
    for epochs in (3, 1):  # a further call goes on
        cnn.train_many(nets, inputs, Y, rows=ROWS, sample_weight=weights, epochs=epochs, metrics="rmse", **options)
        for net, rows, weight in zip(alone, map(positions, ROWS), weights, strict=True):
            own = None if weight is None else weight[rows]
            net.fit(inputs[rows], Y[rows], sample_weight=own, epochs=epochs, metrics="rmse", **options)
    assert alike(nets, alone)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", INPUTS)
def test_classes_activations_and_rows_held_out(name: str, dtype: Any) -> None:
    def made() -> list[cnn.Network]:
        return [cnn.Network([cnn.Dense(80, "auto" if n == 1 else "tanh"), cnn.Dense(3)], loss="cross_entropy", seed=n,
                            dtype=dtype) for n in range(5)]  # fmt: skip

    nets, alone, inputs = made(), made(), INPUTS[name]
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "verbose": 0, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}
    options |= {"metrics": ("accuracy", lambda y, p, w: float(p[3, 0]))}  # outputs stand in the order of `rows`
    cnn.train_many(nets, inputs, CLASSES, rows=ROWS[:5], validation_split=0.3, **options)
    for net, rows in zip(alone, map(positions, ROWS), strict=False):
        net.fit(inputs[rows], CLASSES[rows], validation_split=0.3, **options)
    assert alike(nets, alone)
    assert nets[1].activation_choice == alone[1].activation_choice != ""


@pytest.mark.parametrize("name", INPUTS)
def test_checkpoints_go_on_with_the_rows_alone(name: str, tmp_path: Path) -> None:
    def made() -> cnn.Network:
        return cnn.Network([cnn.Dense(20, "tanh"), cnn.Dense(1)], seed=3)

    rows, inputs = ROWS[0], INPUTS[name]
    options: dict[str, Any] = {"batch_size": 16, "verbose": 0}
    begun, resumed, whole = made(), made(), made()
    hook = cnn.Checkpoint(tmp_path, every=1, unit="steps")
    cnn.train_many([begun], inputs, Y, rows=rows, epochs=2, callbacks=[hook], **options)
    with pytest.raises(ValueError, match="training data"):
        made().fit(inputs[rows[::-1]], Y[rows[::-1]], epochs=4, resume=tmp_path, **options)
    resumed.fit(inputs[rows], Y[rows], epochs=4, resume=tmp_path, **options)  # the fingerprint is that of X[rows]
    whole.fit(inputs[rows], Y[rows], epochs=4, **options)
    assert alike([resumed], [whole])
    again = made()
    cnn.train_many([again], inputs, Y, rows=rows, epochs=4, resume=tmp_path, **options)
    assert alike([again], [whole])


def test_X_is_not_copied() -> None:
    wide = RNG.normal(size=(5000, 400)).astype(np.float32)
    y, rows = wide[:, 0], [RNG.permutation(5000)[:2500] for _ in range(50)]
    nets = [cnn.Network([cnn.Dense(2, "tanh"), cnn.Dense(1)], seed=i) for i in range(50)]
    tracemalloc.start()
    try:
        cnn.train_many(nets, wide, y, rows=rows, epochs=2, batch_size=100, verbose=0)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * wide.nbytes  # copies would take 25 times as much, buffers of networks take twice


def test_indices_are_copied_and_neighbours_are_a_view() -> None:
    everything = data.Data(X, Y[:, None], None, None, Y)
    index = np.array([5, 2, 2])
    some, near = data.subset(everything, index), data.subset(everything, np.array([7, 8, 9], np.uint8))
    index[:] = 0
    assert some.X is X
    assert some.index is not None
    assert some.index.tolist() == [5, 2, 2]
    assert len(some) == 3
    assert near.index is None
    assert isinstance(near.X, np.ndarray)
    assert np.shares_memory(near.X, X)
    assert np.array_equal(near.X, X[7:10])
    wrapped = data.subset(data.Data(np.zeros((256, 1)), None, np.zeros(256, np.int32), None, np.zeros(256)),
                          np.array([255, 0], np.uint8))  # fmt: skip
    assert wrapped.index is not None
    assert wrapped.index.tolist() == [255, 0]
