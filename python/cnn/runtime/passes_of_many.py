"""Rows through many networks at once: blocks of them are shared out among the threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import cnn_core
from cnn._common import checks, interrupt, threads
from cnn._common.errors import of_network
from cnn._common.images import Takes
from cnn.runtime import passes, sparse
from cnn.runtime.data import Array, Once
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState

# Where all networks together have less arithmetic than that, each is asked in turn: some 0.3 us for a row.
_FEW_FLOPS = 1e6


@checks.quiet
def predict(networks: Sequence[NetworkState], Xs: Sequence[Any], n_threads: int | None) -> list[Array]:
    """What `Network.predict` gives for each; an X that several are given is looked at once for each type."""
    if n_threads is not None:
        checks.integer("n_threads", n_threads, 1)
    once = Once()

    def features(i: int) -> Array | SparseRows:
        return once(_features, Xs[i], networks[i].dtype, networks[i].inputs)

    rows = [of_network(i, partial(features, i)) for i in range(len(networks))]
    if sum(net.plan.tiles.flops * len(X) for net, X in zip(networks, rows, strict=True)) < _FEW_FLOPS:
        alone = [partial(passes.predict_rows, net, X, None, n_threads) for net, X in zip(networks, rows, strict=True)]
        return [of_network(i, predict) for i, predict in enumerate(alone)]
    found = _side_by_side(networks, rows, lambda net, X: passes.predict_rows(net, X, None, n_threads), True, n_threads)
    pairs = zip(networks, found, strict=True)
    return [out[:, 0] if out.ndim > 1 and net.one_dimensional else out for net, out in pairs]


@checks.quiet
def outputs(networks: Sequence[NetworkState], rows: Sequence[Array | SparseRows], n_threads: int | None) -> list[Array]:
    """The raw outputs of each."""
    alone = partial(passes.outputs, link=False, n_threads=n_threads)
    return _side_by_side(networks, rows, alone, False, n_threads)


def _side_by_side(
    networks: Sequence[NetworkState], rows: Sequence[Array | SparseRows], alone: Callable[..., Array], link: bool,
    n_threads: int | None,
) -> list[Array]:  # fmt: skip
    """Outputs of each, with the loss's link or raw; `alone` makes those of a network that BLAS computes."""
    found, side_by_side = dict[int, Array](), list[int]()
    for i, (net, X) in enumerate(zip(networks, rows, strict=True)):
        if net.plan.uses_blas or len(X) == 0:
            found[i] = of_network(i, partial(alone, net, X))
        else:
            side_by_side.append(i)
            found[i] = np.empty((len(X), net.n_outputs), net.dtype)
    work = sum(networks[i].plan.tiles.flops * len(rows[i]) for i in side_by_side)
    make = partial(
        cnn_core.engine.predict_many, [_predictor(networks[i], rows[i]) for i in side_by_side],
        [rows[i] for i in side_by_side], [found[i] for i in side_by_side], link,
        threads.for_prediction(n_threads, work, 1 << 20),
    )  # fmt: skip
    for i, finite in zip(side_by_side, interrupt.promptly(work, make), strict=True):
        if not finite:
            X = rows[i]
            assert not isinstance(X, SparseRows)  # they have been looked at
            of_network(i, partial(checks.finite, "X", X))
    return [found[i] for i in range(len(networks))]


def _features(X: Any, dtype: np.dtype[Any], takes: Takes) -> Array | SparseRows:
    return sparse.features("X", X, dtype, takes, look_for_nan=False)


def _predictor(net: NetworkState, X: Array | SparseRows) -> Any:
    return passes.predictor_of(net, net.plan.taking(X))
