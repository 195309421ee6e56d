"""The epochs of a fit on rows that are read meanwhile: minibatches block by block, in the order of the stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

import cnn_core
from cnn import schedules
from cnn._common import threads
from cnn._common.errors import StreamError
from cnn.augment import Changes
from cnn.callbacks import Callback
from cnn.mpi.alone import ALONE, Alone
from cnn.runtime import passes
from cnn.runtime.data import Array, Data
from cnn.runtime.evaluation import Metrics
from cnn.runtime.plan import Cut, Plan
from cnn.runtime.running import Running
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState
from cnn.streams.ahead import ReadAhead
from cnn.streams.parts import alike, recut, until
from cnn.streams.source import Source
from cnn.training.calls import Calls
from cnn.training.loop import Loop
from cnn.training.position import Position
from cnn.training.step_numbers import Ahead, Factors

Block: TypeAlias = tuple[Data, Array | SparseRows, int]
"""Rows, their X as the core reads it, rows of a step."""

_SIZES = 4  # of minibatches whose memory is kept


class StreamLoop(Loop):
    """A `Loop` whose rows come in blocks of whole minibatches; each block is to the core what an epoch of arrays is.

    `batch` is None where each batch of the source is one step; `steps_of_all` are those of an epoch, 0 where the source
    does not tell, and then the schedule looks at the step alone.
    """

    one_by_one = True
    changes: Changes | None = None

    def __init__(
        self, net: NetworkState, source: Source, batch: int | None, seed: int | None, chosen: Metrics, at: Position,
        last: int, n_threads: int | None, begun: int | None, steps_of_all: int,
    ) -> None:  # fmt: skip
        self.net, self.source, self.rows_of_a_step, self.seed, self.chosen = net, source, batch, seed, chosen
        self.at, self.steps_of_all, self.asked = at, steps_of_all, n_threads
        self.before = 0 if begun is None else (at.first_epoch - begun) * steps_of_all
        self.total = self.before + (last - at.first_epoch) * steps_of_all
        self.ahead = Ahead(schedules.get(net.optimizer.learning_rate), max(steps_of_all, 1))
        self.factors = Factors(net, max(steps_of_all, 1))
        self.index: Array = np.arange(0, dtype=np.int64)
        self.step_seconds, self.per_call = 0.0, 0
        self.sums, self.running = np.zeros(3), Running(net, chosen)
        self._reader: ReadAhead[Block] | None = None
        self._memory: dict[Any, tuple[passes.Buffers, int]] = {}

    # One epoch --------------------------------------------------------------------------------------------------------

    def run(self, most: int, hooks: list[Callback]) -> Calls[None]:
        """An epoch."""
        self.first, self.made = self.at.epoch, 0
        self.sums, self.running = np.zeros(3), Running(self.net, self.chosen)
        self._reader = ReadAhead(self._blocks)
        for rows, X, batch in self._agreed(self._reader):
            yield from self._block(rows, X, batch, hooks)
        self.close()
        if not self.made:
            raise StreamError("the stream gives no rows to train on")
        if self.sums[1] == 0:
            raise StreamError("sample_weight is zero for every training row")

    def _agreed(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The blocks; among ranks the same number of them on each."""
        return blocks

    def augment(self, changes: Changes) -> None:
        self.changes = changes

    def hold_out(self, scores: Any) -> bool:
        return False

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _blocks(self, unwanted: threading.Event) -> Iterator[Block]:
        """(a block, its X as the core reads it, rows of a step); made by the thread that reads ahead."""
        parts, batch = until(unwanted, self.source.parts(self.at.epoch, self.seed)), self.rows_of_a_step
        if batch is None:
            blocks = alike(parts, self.source.piece)
        else:
            cut = recut(parts, -(-self.source.piece // batch) * batch, batch)
            # Of fewer rows than a minibatch has all are one, as in arrays.
            blocks = ((rows, batch if i else min(batch, len(rows))) for i, rows in enumerate(cut))
        for rows, n in blocks:
            yield rows, self.net.plan.without_zeros(rows.X), n

    def _block(self, rows: Data, X: Array | SparseRows, batch: int, hooks: list[Callback]) -> Calls[None]:
        """The steps of a block."""
        net, dense = self.net, self.net.plan.taking(rows.X)
        plan = net.plan.taking(X)
        buffers, self.n_threads = self._buffers(plan, dense, batch)
        self.train, self.batch, self.rows = rows, batch, self._rows_of_all(rows)
        self.steps = -(-self.rows // batch)
        self.report = np.zeros((self.steps, 3))
        self.outputs = np.zeros((len(rows), net.n_outputs) if self.chosen else (0, 0), net.dtype)
        self.training = cnn_core.engine.Training(
            buffers, X, rows, batch, self.report, outputs=self.outputs if self.chosen else None
        )
        if self.changes is not None:
            self.training.augment(*self.changes)
        if not self.per_call:
            self._expect(plan.size)
        self._share(buffers)
        self.rates = self.learning_rates(1)
        self.numbers, self.found = np.ones((self.steps, 3)), np.zeros((1, 5))
        self.numbers[:, 0] = self.rates
        self.factors.put(self.numbers, self.coming, self.total)
        yield from self._through(0, 1, hooks)
        self.made += self.steps
        self.sums = np.add.accumulate(np.vstack([self.sums, self.report]))[-1]  # one after another, as the core adds
        if self.chosen:
            self.running.add(rows, self.outputs)

    def _rows_of_all(self, rows: Data) -> int:
        """How many rows a block has, those of other ranks among them."""
        return len(rows)

    def _share(self, buffers: passes.Buffers) -> None:
        """Shares out the steps of `training` among ranks."""

    def _cut_of_block(self, plan: Plan, dense: Plan, batch: int) -> Cut:
        return plan.cut_like(dense, batch)

    def _buffers(self, plan: Plan, dense: Plan, batch: int) -> tuple[passes.Buffers, int]:
        """The core's memory for minibatches of that size, and the threads they can feed."""
        cut = self._cut_of_block(plan, dense, batch)
        key = plan is dense, batch, cut.capacity, cut.parts
        if key not in self._memory:
            if len(self._memory) >= _SIZES:
                self._memory.clear()
            n = threads.for_training(self.asked, cut.feeds)
            self._memory[key] = passes.step_buffers(self.net, plan, cut, n), n
        return self._memory[key]

    @property
    def coming(self) -> int:
        """The first step of the block to come, in the schedules."""
        return self.before + self.net.step - self.at.first_step

    # What an epoch has found ------------------------------------------------------------------------------------------

    @property
    def _of_steps(self) -> str:
        return f" of {self.steps_of_all}" if self.steps_of_all else ""

    @property
    def loss(self) -> float:
        loss, weight, penalty = self.sums.tolist()
        return float(loss / weight + penalty / self.made)

    def metrics(self) -> dict[str, float]:
        return self.running.measured()


class HeldOut:
    """Scores of rows that are read anew for each epoch."""

    def __init__(self, net: NetworkState, source: Source, chosen: Metrics, ranks: Alone = ALONE) -> None:
        self.net, self.source, self.chosen, self.ranks, self._epoch = net, source, chosen, ranks, 0

    def take(self, n_threads: int | None) -> dict[str, float]:
        """{"loss": mean loss plus penalties, metric: value, ...}, without dropout."""
        running = Running(self.net, self.chosen)
        reader = ReadAhead(lambda unwanted: until(unwanted, self.source.parts(self._epoch, None)))

        def through() -> None:
            for rows in reader:
                running.outputs(rows, n_threads)

        cnn_core.finishing(through, [reader.close])
        self._epoch += 1
        running.together(self.ranks.gather)
        if running.weight == 0:
            raise StreamError("sample_weight is zero for every validation row")
        return {"loss": running.loss(), **running.measured()}
