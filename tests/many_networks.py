"""Networks that are trained side by side, and their data."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import same_bits

import cnn
from cnn.callbacks import Callback

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(150, 6)), RNG.normal(size=150)
CLASSES = RNG.integers(0, 3, 150)


def networks() -> list[cnn.Network]:
    """Of several sizes, types, optimizers, activations, penalties and seeds."""
    return [
        cnn.Network([cnn.Dense(5, "tanh"), cnn.Dense(1)], seed=1),
        cnn.Network([cnn.Dense(9, "relu", l2=1e-3), cnn.Dropout(0.2), cnn.Dense(1)], dtype="float64", seed=2),
        cnn.Network([cnn.Dense(32, "gelu"), cnn.Dense(16, "elu"), cnn.Dense(1)], optimizer=cnn.SGD(0.01, momentum=0.9)),
        cnn.Network([cnn.Dense(3, "silu", l1=1e-3), cnn.Dense(1)], loss="mae", optimizer=cnn.RMSprop(0.01), seed=4),
        cnn.Network([cnn.Dense(300, "tanh"), cnn.Dense(300, "tanh"), cnn.Dense(1)], seed=5),  # wide layers
        cnn.Network(
            [cnn.Dense(7, "tanh"), cnn.Dense(1)], seed=6,
            optimizer=cnn.Adam(cnn.schedules.Cosine(0.05), clip_norm=1.0),
        ),
    ]  # fmt: skip


def twins() -> tuple[list[cnn.Network], list[cnn.Network]]:
    nets = networks()
    alone = networks()
    for a, b in zip(nets, alone, strict=True):
        b.seed = a.seed
    return nets, alone


def numbers(history: cnn.History) -> dict[str, list[float]]:
    return {name: values for name, values in history.to_dict().items() if name != "seconds"}


def alike(nets: list[cnn.Network], alone: list[cnn.Network]) -> bool:
    assert len(nets) == len(alone) > 0
    for a, b in zip(nets, alone, strict=True):
        assert same_bits(a, b)
        assert a.step == b.step > 0
        assert numbers(a.history) == numbers(b.history)
        assert {len(a.history[name]) for name in a.history.names} == {len(a.history)}
    return True


class Recorder(Callback):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_fit_begin(self, network: Any, run: Any) -> None:
        self.events.append("begin")

    def on_epoch_begin(self, network: Any, epoch: int) -> None:
        self.events.append((epoch, network.step))

    def on_progress(self, network: Any, epoch: int, rows: int) -> None:
        if isinstance(self.events[-1], int):  # in how many parts an epoch comes is a matter of time
            rows += self.events.pop()
        self.events.append(rows)

    def on_epoch_end(self, network: Any, epoch: int, logs: dict[str, float]) -> None:
        self.events.append((epoch, network.step, sorted(logs)))

    def on_fit_end(self, network: Any) -> None:
        self.events.append("end")
