"""Fits among ranks on rows that are read meanwhile: each rank reads its own, or its share of a table that all can read.

In every minibatch a rank has the same share, as `divide` cuts it; only the last one takes what is left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from cnn._common.errors import StreamError
from cnn._common.images import plain
from cnn.mpi import shared
from cnn.mpi.alone import Alone
from cnn.mpi.shared import Shared
from cnn.mpi.shares import divide
from cnn.runtime import passes
from cnn.runtime.data import Data
from cnn.runtime.evaluation import Metrics
from cnn.runtime.plan import Cut, Plan
from cnn.runtime.state import NetworkState
from cnn.streams.arrays import Arrays
from cnn.streams.batches import Batches
from cnn.streams.parquet import Parquet
from cnn.streams.parts import recut, until
from cnn.streams.source import Source
from cnn.training.calls import Evaluation
from cnn.training.fit import Asked, FitOptions, ready
from cnn.training.loop import Loop
from cnn.training.position import FitIdentity
from cnn.training.shared_fit import Alike, Exchanging, asked_alike
from cnn.training.stream import StreamFit, sources, steps_of
from cnn.training.stream_loop import Block, HeldOut, StreamLoop


def prepare(net: NetworkState, X: Any, y: Any, options: FitOptions, *, ranks: Alone) -> SharedStreamFit:
    """The fit of these arguments among ranks, all of which call this; nothing is touched.

    Raises:
        ValueError: on all ranks, where they differ: the first difference is named.
        RankError: another rank can't prepare its fit.
    """
    asked = asked_alike(net, options, ranks)
    if options.class_weight == "balanced":
        raise ValueError("class_weight='balanced' counts all rows first, which ranks don't that read them by pieces")
    train, validation = sources(net, X, y, asked)
    same = _agreed(ranks, train, validation, asked)
    counts = [train.rows or 0] if same else ranks.gather(train.rows)
    rows = None if None in counts else sum(counts)
    batch, steps = steps_of(net, options.batch_size, rows, train.batches)
    among = Shared(ranks, False, counts, rows or 0)
    fit = ready(SharedStreamFit, net, train, validation, batch, asked, rows or 0, steps, among)
    fit.same = same
    return fit


def _agreed(ranks: Alone, train: Source, validation: Data | Source | None, asked: Asked) -> bool:
    """Whether all ranks have given the same table; ValueError where theirs do not go together."""
    first, options = train.first(), asked.options
    what: dict[str, Any] = {
        "the kind of rows": type(train).__name__, "the number of columns of X": plain(first.X.shape[1:]),
        "the number of dimensions of the training y": first.y.ndim,
        "whether training rows have weights": first.weights is not None,
        "whether the number of rows is known": train.rows is not None,
        "the kind of validation rows": type(validation).__name__,
    }  # fmt: skip
    if options.batch_size is None:
        what["the number of batches"] = train.batches
    shared.agree(ranks, what)
    if isinstance(train, Batches):
        if options.same_rows:
            raise ValueError("same_rows needs rows of which each rank can take a share; of batches each gives its own")
        return False
    descriptions = {"the training rows": train.description()}
    if isinstance(validation, Parquet | Arrays):
        descriptions["the validation rows"] = validation.description()
    if options.same_rows:
        shared.agree(ranks, descriptions)
        return True
    return isinstance(train, Parquet) and len(set(map(repr, ranks.gather(descriptions)))) == 1


@dataclass
class SharedStreamFit(Alike, StreamFit):
    """A `StreamFit` whose ranks begin alike and stay so; `same`: all have given one table, and share it out."""

    same: bool = False

    def _loop(self) -> Loop:
        return SharedStreamLoop(
            self.net, self.train, self.identity, self.metrics, self.about.epochs, self.n_threads, self.begun,
            self.about.steps_per_epoch, self.same,
        )  # fmt: skip

    def _held_out(self) -> Evaluation | None:
        held, ranks = self.validation, self.among.ranks
        if not isinstance(held, Source):
            return super()._held_out()
        if self.same and isinstance(held, Parquet | Arrays):
            held = held.share(*(held.rows * (ranks.rank + i) // ranks.size for i in range(2)))
        return Evaluation(HeldOut(self.net, held, self.metrics, ranks), self.n_threads)


class SharedStreamLoop(Exchanging, StreamLoop):
    """A `StreamLoop` of which each rank makes its share of every minibatch.

    The thread that reads ahead cuts blocks of this rank's rows; how many rows all have of a block is agreed on when
    its steps begin.

    Raises:
        ValueError: a rank has too few rows, of a minibatch or in all.
    """

    def __init__(
        self, net: NetworkState, source: Source, identity: FitIdentity, chosen: Metrics, last: int,
        n_threads: int | None, begun: int | None, steps_of_all: int, same: bool,
    ) -> None:  # fmt: skip
        assert identity.among is not None
        self.among, self.every = identity.among, identity.exchange_every
        self.lengths: list[int] = []
        batch, ranks = identity.batch or None, self.among.ranks
        seed = self.among.order_seed(net.seed) if identity.shuffle else None
        self.sample = source.first()
        self.shares: list[int] = []  # of the rows of a minibatch, each rank's
        if batch is not None:
            self.shares, rest = self._even(net, batch, self.among.total)
            if 0 in self.shares:
                raise ValueError(
                    f"batch_size={batch} leaves rank {self.shares.index(0)} of {ranks.size} no rows of a minibatch, "
                    f"which is cut by groups of 16: give {16 * ranks.size} or more"
                )
            if same:
                source = self._own(source, steps_of_all, rest)
            elif steps_of_all:
                self._check(self.among.counts, "")
        super().__init__(
            net, source, batch, seed, chosen, identity.position, last, n_threads, begun, steps_of_all
        )  # fmt: skip

    def _even(self, net: NetworkState, batch: int, total: int) -> tuple[list[int], list[int]]:
        """How many of the rows of a minibatch each rank has, and of the last one, where there are so many in all."""
        plan, size = net.plan.taking(self.sample.X), self.among.ranks.size
        rows = batch + (total % batch or batch)
        tables = [divide(partial(plan.cut_like, plan), rank, [rows] * size, batch, True).table for rank in range(size)]
        return [int(table["rows"][0]) for table in tables], [int(table["rows"][1]) for table in tables]

    def _own(self, source: Any, steps: int, rest: list[int]) -> Source:
        """This rank's share of a table: its rows of all minibatches, of the last one no more than of the others."""
        last = [min(n, share) for n, share in zip(rest, self.shares, strict=True)]
        for rank, share in enumerate(self.shares):
            last[rank] += min(share - last[rank], sum(rest) - sum(last))
        counts = [(steps - 1) * share + n for share, n in zip(self.shares, last, strict=True)]
        begin = sum(counts[: self.among.ranks.rank])
        own: Source = source.share(begin, begin + counts[self.among.ranks.rank])
        return own

    def _check(self, rows: list[int], where: str) -> None:
        """Refuses ranks whose rows end before the others' last minibatch."""
        shares = self.shares or rows
        steps = [-(-n // max(share, 1)) for n, share in zip(rows, shares, strict=True)]
        for rank, (n, share) in enumerate(zip(rows, shares, strict=True)):
            if n < (max(steps) - 1) * share or (not self.shares and not n):
                most = steps.index(max(steps)) if self.shares else rows.index(max(rows))
                raise StreamError(
                    f"the rows of rank {rank} end early{where}: it has {n} where rank {most} has {rows[most]}. All "
                    "must have their share of each minibatch but the last"
                )

    @property
    def most_steps(self) -> int:
        """The steps of a block."""
        assert self.rows_of_a_step is not None
        return self._whole(max(1, self.source.piece * self.among.ranks.size // self.rows_of_a_step))

    # Blocks -----------------------------------------------------------------------------------------------------------

    def _blocks(self, unwanted: threading.Event) -> Iterator[Block]:
        parts = until(unwanted, self.source.parts(self.at.epoch, self.seed))
        if self.rows_of_a_step is None:
            blocks: Iterator[Data] = (part for part in parts if len(part))
        else:
            rows = self.shares[self.among.ranks.rank] * self.most_steps
            blocks = recut(parts, rows, rows)  # what stands before an error is no block: others can't tell how long
        for block in blocks:
            yield block, self.net.plan.without_zeros(block.X), 0

    def _agreed(self, blocks: Iterator[Block]) -> Iterator[Block]:
        nothing = self.sample.rows(0, 0)
        whole, made, ended = self.rows_of_a_step, 0, list[bool]()
        while True:
            rows, X, _ = next(blocks, (nothing, nothing.X, 0))
            self.lengths = self.among.ranks.gather(len(rows))
            if not (total := sum(self.lengths)):
                return
            where = f" in epoch {self.at.epoch + 1}, after {made} minibatches"
            self._check(self.lengths, where)
            if ended:
                raise StreamError(
                    f"the rows of rank {ended.index(True)} ended early{where}: other ranks have more. All must have "
                    "their share of each minibatch but the last"
                )
            batch = total if whole is None else whole if made else min(whole, total)
            yield rows, X, batch
            made += -(-total // batch)
            if whole is not None:
                short = [n < share * self.most_steps for n, share in zip(self.lengths, self.shares, strict=True)]
                ended = short if any(short) else []

    def _rows_of_all(self, rows: Data) -> int:
        return sum(self.lengths)

    def _cut_of_block(self, plan: Plan, dense: Plan, batch: int) -> Cut:
        division = divide(partial(plan.cut_like, dense), self.among.ranks.rank, self.lengths, batch, False)
        self.table = division.table
        if self.every > 1:
            self.table["weight"] = self.table["rows"]
        return division.cut

    def _share(self, buffers: passes.Buffers) -> None:
        if self.train.weights is not None:
            self.among.weigh(self.table, self.train.weights, None, alone=self.every > 1)
        self.exchange(buffers, self.table, 0)

    def metrics(self) -> dict[str, float]:
        self.running.together(self.among.ranks.gather)
        return super().metrics()
