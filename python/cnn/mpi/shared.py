"""What a fit among several ranks does beside its steps: what must be alike, who has which rows, what is gathered."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnn._common.images import plain
from cnn.callbacks import Callback, Logs
from cnn.mpi.alone import Alone
from cnn.mpi.shares import Division, divide
from cnn.runtime import passes
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Metrics, Scores
from cnn.runtime.plan import Cut
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState

_SAMPLE = 64  # rows by which ranks that have the same ones are compared
_SEEDS = 0x9E3779B97F4A7C15  # from a rank's seed for the order of its rows to the next one's


def agree(ranks: Alone, settings: Mapping[str, Any]) -> None:
    """ValueError, on all ranks, where one of the settings differs among them: the first one is named.

    >>> agree(Alone(), {"epochs": 3})
    """
    everyones = ranks.gather({name: repr(value) for name, value in settings.items()})
    for name, first in everyones[0].items():
        for rank, others in enumerate(everyones):
            if others[name] != first:
                what = f"{first} on rank 0, {others[name]} on rank {rank}"
                raise ValueError(f"the ranks of comm differ in {name}: {what}")


def sample(rows: Data) -> str:
    """A fingerprint of some rows, evenly spread."""
    some = rows.take(np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64))
    X = (*some.X.parts(), some.X.stairs) if isinstance(some.X, SparseRows) else (some.X,)
    digest = hashlib.sha256()
    for array in (*X, some.y, some.weights):
        digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()[:16]


def begin_alike(net: NetworkState, ranks: Alone) -> None:
    """Makes the network what rank 0's is: weights, optimizer, counters, history."""
    agree(ranks, {"who computes products": net.plan.layers["by_blas"].tolist()})
    names = ("flat", "state", "scalars", "counter")
    rest = ("history", "seed", "rate_factor", "activation_choice", "training_id", "one_dimensional", "stop_training")
    arrays, others = ranks.broadcast(([getattr(net, name) for name in names], [getattr(net, name) for name in rest]))
    if not ranks.first:
        for name, array in zip(names, arrays, strict=True):
            getattr(net, name)[...] = array
        vars(net).update(zip(rest, others, strict=True))


def counter(ranks: Alone, same: bool) -> Callable[[Array], Array]:
    """What makes numbers of own rows numbers of all ranks' rows."""
    return lambda counts: counts if same else sum(ranks.gather(counts))


class StayAlike(Callback):
    """After each epoch: one rank's wish to stop is everybody's, and the weights are seen to be the same on all.

    Raises:
        RuntimeError: they are not, or a callback has changed the learning rate on some ranks alone.
    """

    def __init__(self, ranks: Alone) -> None:
        self.ranks = ranks

    def on_epoch_end(self, network: NetworkState, epoch: int, logs: Logs) -> None:
        own = {"the learning rate": network.rate_factor, "the weights": zlib.crc32(network.flat.data)}
        everyones = self.ranks.gather((network.stop_training, own))
        network.stop_training = any(stop for stop, _ in everyones)
        for name, value in everyones[0][1].items():
            if others := [rank for rank, (_, found) in enumerate(everyones) if found[name] != value]:
                raise RuntimeError(f"after epoch {epoch + 1} rank {others[0]} has not {name} of rank 0")


class Shared:
    """The rows of a fit among ranks: each has rows of its own, or all have the `same` and each takes a share of them.

    `counts` are the training rows that each rank has, `total` those of an epoch, where they are known.
    """

    def __init__(self, ranks: Alone, same: bool, counts: list[int], total: int) -> None:
        self.ranks, self.same, self.counts, self.total = ranks, same, counts, total

    @staticmethod
    def of(ranks: Alone, train: Data, validation: Data | None, same: bool) -> Shared:
        """That of arrays.

        Raises:
            ValueError: the ranks' rows are not of one kind, or not the same ones where they should be.
        """
        what: dict[str, Any] = {"the number of columns of X": plain(train.X.shape[1:])}
        for name, rows in {"training": train, "validation": validation}.items():
            if rows is not None:
                what[f"the number of dimensions of the {name} y"] = rows.y.ndim
                what[f"whether {name} rows have weights"] = rows.weights is not None
                if same:
                    what[f"the {name} rows"] = len(rows), sample(rows)
        agree(ranks, what)
        counts = ranks.gather(len(train))
        return Shared(ranks, same, counts, len(train) if same else sum(counts))

    def fingerprint(self, own: str) -> str:
        """Of the rows of all ranks, from that of each."""
        if self.same:
            return own
        found = self.ranks.gather(own)
        return f"{hashlib.sha256(''.join(found).encode()).hexdigest()} of {len(found)} ranks"

    def divide(self, cut_of: Callable[[int], Cut], batch: int) -> Division:
        """The minibatches of an epoch, this rank's shares of them."""
        return divide(cut_of, self.ranks.rank, self.counts, batch, self.same)

    def order_seed(self, seed: int) -> int:
        """That of the order in which this rank takes its rows; rank 0's is the network's."""
        return seed if self.same else (seed + self.ranks.rank * _SEEDS) % 2**64

    def weigh(self, table: Array, weights: Array, order: Array | None, alone: bool) -> None:
        """The sum of weights of each minibatch of an epoch, or of this rank's share alone.

        Of its rows one after the other, as one process adds.
        """
        values = (weights if order is None else weights[order]).astype(np.float64)
        rows = table["all_rows" if self.same and not alone else "rows"]
        begins = table["begin"] if alone else np.cumsum(rows) - rows

        def add(sums: Array) -> None:
            for i, (begin, n) in enumerate(zip(begins.tolist(), rows.tolist(), strict=True)):
                sums[i] = np.add.accumulate(np.concatenate((sums[i : i + 1], values[begin : begin + n])))[-1]

        sums = np.zeros(len(table))
        if self.same or alone:
            add(sums)
        else:
            self.ranks.relay(sums, add)
        table["weight"] = sums

    def average(self, net: NetworkState, report: Array, stop: Array | None) -> None:
        """Makes the networks of all ranks, which have made steps alone, their mean: parameters and optimizer state.

        `report` (steps, 3) of those steps become those of all rows: losses and weights are added.
        """
        numbers = report.reshape(-1).copy()
        self.ranks.add(net.flat, numbers, stop)
        self.ranks.add(net.state, np.zeros(1), stop)
        for array in (net.flat, net.state):
            array /= self.ranks.size
        report[...] = numbers.reshape(report.shape)
        report[:, 2] /= self.ranks.size  # the penalties

    def own_rows(self, everyones: Array) -> Array:
        """Of what all ranks have gathered (total, ...), this rank's part; of the same rows rank 0 keeps all."""
        if self.same:
            return everyones if self.ranks.first else np.zeros_like(everyones)
        begin = sum(self.counts[: self.ranks.rank])
        return everyones[begin : begin + self.counts[self.ranks.rank]]

    def gather(self, own: Array) -> Array:
        """What each rank has for its rows, for all rows; for the same rows each has zeros where others have numbers."""
        if not self.same:
            return self.ranks.rows(own, self.counts)
        out = own.copy()
        self.ranks.add(out.reshape(-1), np.zeros(1))
        return out

    def everyones(self, rows: Data) -> Data:
        """What metrics need of the rows of all ranks: all but X."""
        if self.same:
            return rows

        counts = self.ranks.gather(len(rows))

        def of_all(array: Array | None) -> Array | None:
            return None if array is None else self.ranks.rows(array, counts)

        X, y = np.empty((sum(counts), 0), rows.X.dtype), self.ranks.rows(rows.y, counts)
        return Data(X, of_all(rows.targets), of_all(rows.classes), of_all(rows.weights), y)

    def scores(self, net: NetworkState, rows: Data, chosen: Metrics) -> Scores:
        """Those of all ranks' rows, the same on each."""
        return SharedScores(net, rows, chosen, self)


class SharedScores(Scores):
    """Loss and metrics on the rows of all ranks, each of which computes the outputs of its part of them."""

    def __init__(self, net: NetworkState, rows: Data, chosen: Metrics, shared: Shared) -> None:
        super().__init__(net, shared.everyones(rows), chosen)
        self.few, self.ranks, self.own = None, shared.ranks, rows.X
        if shared.same:
            cuts = [len(rows) * rank // self.ranks.size for rank in range(self.ranks.size + 1)]
            self.counts = np.diff(cuts).tolist()
            self.own = rows.X[cuts[self.ranks.rank] : cuts[self.ranks.rank + 1]]
        else:
            self.counts = self.ranks.gather(len(rows))

    def hold_out(self, training: Any, n_threads: int | None) -> float:
        """The core has no numbers of other ranks' rows."""
        return 0.0

    def outputs(self, n_threads: int | None) -> Array:
        own = passes.outputs(self.net, self.own, link=False, n_threads=n_threads)
        return self.ranks.rows(own, self.counts)
